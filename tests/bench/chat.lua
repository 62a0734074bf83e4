-- chat.lua - what wrk asks for `tools/bench tls`: bench_load's 2 KB chat POSTs, whose prompts share their first three quarters.
--
--     wrk -s chat.lua URL -- [close]      close: a connection of its own for each request
--
-- Prints one line of key=value when it is done.
local size, marks = 2048, 0
local from = os.time() * 1000003 % 1000000007

local function text(len, seed)
  local letters = {}
  for i = 1, len do
    seed = (seed * 1103515245 + 12345) % 2147483648
    local draw = math.floor(seed / 65536)
    letters[i] = draw % 6 == 0 and ' ' or string.char(97 + draw % 26)
  end
  return table.concat(letters)
end

local head = '{"model":"bench-model","messages":[{"role":"system","content":"'
local between = '"},{"role":"user","content":"'
local tail = '"}],"temperature":0.7,"max_tokens":64,"stream":false}'
local room = size - #head - #between - #tail
local first = head .. text(math.floor(room / 2), 1) .. between .. text(math.floor(room / 4), 2)
local last = text(size - #first - 17 - #tail, 3) .. tail

function init(args)
  wrk.method = 'POST'
  wrk.headers['Content-Type'] = 'application/json'
  if args[1] == 'close' then wrk.headers['Connection'] = 'close' end
end

function request()
  marks = marks + 1
  return wrk.format(nil, '/v1/chat/completions', nil, first .. string.format(' %07x %07x ', from % 0x7ffffff, marks) .. last)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('requests=%d failed=%d rate=%.0f p50_us=%.0f p99_us=%.0f\n', summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    summary.requests / (summary.duration / 1e6), latency:percentile(50), latency:percentile(99)))
end
