// framing.test.js: does anybody behind us read a request, or anybody before us an answer, in another way than we do?
//
// The router stands before real HTTP servers (node, and nginx, apache2 and lighttpd where they are installed) and gets a
// recorded set of ambiguous requests, each with a smuggled one inside where that fits. Each case is either refused with the
// connection closed, and then no server has seen anything of it; or it is one request to us and one to the server. Behind it
// on the same connection comes a plain one that says whether we still agree with ourselves. Then the other way around: a
// worker that answers ambiguously must not get words into the answer of the next client.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

const BIN = process.env.GV_BIN ?? path.resolve(import.meta.dirname ?? '.', '../../build/dev/bin');
const DEADLINE_MS = 60_000;
const CHAT = '/v1/chat/completions';
const BODY = '{"messages":[{"role":"user","content":"hello"}]}';
const SMUGGLED = 'POST /smuggled HTTP/1.1\r\nHost: x\r\nX-Case: smuggled\r\nContent-Length: 0\r\n\r\n';

const programs = [];
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'grapevine-framing-'));
after(() => {
  for (const program of programs) program.kill('SIGKILL');
  fs.rmSync(folder, { recursive: true, force: true });
});

async function until(what, condition) {
  for (const from = Date.now(); Date.now() - from < DEADLINE_MS; ) {
    const value = await condition();
    if (value) return value;
    await new Promise((done) => setTimeout(done, 10));
  }
  throw new Error(`${what}: not within ${DEADLINE_MS} ms`);
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

function accepts(port) {
  return new Promise((done) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => done(true)).once('error', () => done(false));
    socket.once('connect', () => socket.destroy());
  });
}

function start(command, args) {
  const program = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  programs.push(program);
  program.said = '';
  program.stdout.on('data', (bytes) => (program.said += bytes));
  program.stderr.on('data', (bytes) => (program.said += bytes));
  return program;
}

async function startRouter(workerUrl) {
  const router = start(path.join(BIN, 'grapevine'), [
    '--host', '127.0.0.1', '--port', '0', '--prometheus-host', '127.0.0.1', '--prometheus-port', '0', '--threads', '1',
    '--disable-retries', '--disable-circuit-breaker', '--decision-headers', '--worker-urls', workerUrl,
  ]);
  const http = await until('the router listens', () => /node\.listening .*?http=(\S+)/.exec(router.said)?.[1]);
  const port = Number(http.split(':').at(-1));
  await until('the router is ready', async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/readiness`).catch(() => null);
    return answer?.status === 200;
  });
  return port;
}

// Send `raw` and collect what comes until the connection ends.
function exchange(port, raw) {
  return new Promise((done, fail) => {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const parts = [];
    const timer = setTimeout(() => {
      socket.destroy();
      fail(new Error(`no end of the connection; so far: ${Buffer.concat(parts).toString('latin1')}`));
    }, DEADLINE_MS);
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      done(Buffer.concat(parts).toString('latin1'));
    };
    socket.on('data', (bytes) => parts.push(bytes));
    socket.on('end', finish).on('error', finish);
    socket.on('connect', () => socket.write(Buffer.from(raw, 'latin1')));
  });
}

// Read answers by their own framing; anything left over is an error.
function answersIn(text) {
  const answers = [];
  while (text.length > 0) {
    const head = /^HTTP\/1\.1 (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n/.exec(text);
    assert.ok(head, `not an answer: ${JSON.stringify(text.slice(0, 200))}`);
    text = text.slice(head[0].length);
    const status = Number(head[1]);
    let body = '';
    const length = /^content-length: (\d+)\r$/im.exec(head[2]);
    if (/^transfer-encoding: chunked\r$/im.test(head[2])) {
      for (;;) {
        const line = /^([0-9a-f]+)\r\n/.exec(text);
        assert.ok(line, 'a chunk is cut');
        const size = parseInt(line[1], 16);
        body += text.substr(line[0].length, size);
        text = text.slice(line[0].length + size + 2);
        if (size === 0) break;
      }
    } else if (length) {
      body = text.slice(0, Number(length[1]));
      assert.equal(body.length, Number(length[1]), 'a body is cut');
      text = text.slice(body.length);
    }
    if (status !== 100) answers.push({ status, head: head[2], body });
  }
  return answers;
}

// ---- the recorded requests ------------------------------------------------------------------------------------------------

const chunked = (body) => `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
const post = (lines, body, { target = CHAT, version = 'HTTP/1.1', host = 'Host: x\r\n' } = {}) => (id) =>
  `POST ${target} ${version}\r\n${host}X-Case: ${id}\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n${body}`;
const CL = `Content-Length: ${BODY.length}`;
const TE = 'Transfer-Encoding: chunked';
const refused = (name, raw) => ({ name, raw, wanted: 'refused' });
const one = (name, raw, more = {}) => ({ name, raw, wanted: 'one', ...more });

const cases = [
  // both lengths
  refused('CL, then TE', post([CL, TE], `0\r\n\r\n${SMUGGLED}`)),
  refused('TE, then CL', post([TE, 'Content-Length: 4'], `${chunked(BODY)}${SMUGGLED}`)),
  refused('CL and a TE that is not chunked', post([CL, 'Transfer-Encoding: identity'], BODY)),
  // Content-Length
  ...['0', '5'].map((other) => refused(`CL twice, second ${other}`, post([CL, `Content-Length: ${other}`], BODY + SMUGGLED))),
  refused('CL twice, the same', post([CL, CL], BODY)),
  ...['48, 48', '48,0', '+48', '-1', '0x30', '4_8', '4 8', '048', '', '48;', '48.0', '\t48', '48\t', '48\x0b', '٤٨',
    '-0', '9223372036854775808', '18446744073709551616', '9999999999999999999999']
    .map((value) => refused(`CL '${JSON.stringify(value)}'`, post([`Content-Length: ${value}`], BODY + SMUGGLED))),
  refused('CL with a blank before the colon', post([`Content-Length : ${BODY.length}`], BODY)),
  refused('Content_Length', post([`Content_Length: ${BODY.length}`], BODY)),
  refused('CL folded', post(['Content-Length:', ` ${BODY.length}`], BODY)),
  // Transfer-Encoding
  ...['xchunked', 'chunkedx', 'chunked, identity', 'identity, chunked', 'gzip, chunked', 'chunked, chunked', '"chunked"',
    'chunked;q=1', '', ',chunked', 'chunked,', '\x0bchunked', 'chunked\x0c', '\tchunked', 'chunked\t', '\xa0chunked',
    'chunked\x00', 'cow', 'identity']
    .map((value) => refused(`TE ${JSON.stringify(value)}`, post([`Transfer-Encoding: ${value}`], chunked(BODY)))),
  refused('TE twice', post([TE, TE], chunked(BODY))),
  refused('TE twice, one unknown', post([TE, 'Transfer-Encoding: cow'], chunked(BODY))),
  refused('TE with a blank before the colon', post(['Transfer-Encoding : chunked'], chunked(BODY))),
  refused('TE folded', post(['Transfer-Encoding:', ' chunked'], chunked(BODY))),
  refused('TE in the fold of another', post(['X-A: b', ` ${TE}`, CL], BODY)),
  refused('Transfer_Encoding', post(['Transfer_Encoding: chunked', CL], BODY)),
  refused('TE behind a bare CR', post([`X-A: b\r${TE}`, CL], BODY)),
  refused('TE behind a bare LF', post([`X-A: b\n${TE}`, CL], BODY)),
  refused('TE behind a NUL', post([`X-A: b\x00${TE}`, CL], BODY)),
  refused('TE in HTTP/1.0', post([TE], chunked(BODY), { version: 'HTTP/1.0' })),
  one('TE in odd letters', post(['tRANSFER-eNCODING: ChUnKeD'], chunked(BODY))),
  // chunks
  ...[['0x size', `0x${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`], ['+ size', `+30\r\n${BODY}\r\n0\r\n\r\n`],
    ['- size', `-30\r\n${BODY}\r\n0\r\n\r\n`], ['blank before the size', ` 30\r\n${BODY}\r\n0\r\n\r\n`],
    ['blank behind the size', `30 \r\n${BODY}\r\n0\r\n\r\n`], ['tab behind the size', `30\t\r\n${BODY}\r\n0\r\n\r\n`],
    ['17 digits', `00000000000000030\r\n${BODY}\r\n0\r\n\r\n`], ['2^64', `10000000000000030\r\n${BODY}\r\n0\r\n\r\n`],
    ['bare LF behind the size', `30\n${BODY}\r\n0\r\n\r\n`], ['bare CR behind the size', `30\r${BODY}\r\n0\r\n\r\n`],
    ['bare LF behind the data', `30\r\n${BODY}\n0\r\n\r\n`], ['no end of the data', `30\r\n${BODY}0\r\n\r\n`],
    ['data longer than its size', `4\r\n${BODY}\r\n0\r\n\r\n`], ['LF in an extension', `30;a\nb\r\n${BODY}\r\n0\r\n\r\n`],
    ['CR in an extension', `30;a\rb\r\n${BODY}\r\n0\r\n\r\n`], ['NUL in an extension', `30;a\x00\r\n${BODY}\r\n0\r\n\r\n`],
    ['empty size', `\r\n${BODY}\r\n0\r\n\r\n`], ['size without digits', `;a\r\n${BODY}\r\n0\r\n\r\n`],
    ['last chunk with a bare LF', `30\r\n${BODY}\r\n0\n\n${SMUGGLED}`],
    ['trailers that end with LF', `30\r\n${BODY}\r\n0\r\nA: b\n\r\n`], ['a trailer without colon', `30\r\n${BODY}\r\n0\r\nab\r\n\r\n`],
    ['_ behind the size', `30_\r\n${BODY}\r\n0\r\n\r\n`], ['a line end in a quoted extension', `30;a="\r\n"\r\n${BODY}\r\n0\r\n\r\n`],
    ['a request in the place of trailers', `30\r\n${BODY}\r\n0\r\n${SMUGGLED}`],
    ['an extension of 1 MiB', `30;${'a'.repeat(1 << 20)}\r\n${BODY}\r\n0\r\n\r\n`],
    ['a folded trailer', `30\r\n${BODY}\r\n0\r\nA: b\r\n c\r\n\r\n`]]
    .map(([name, body]) => refused(`chunks: ${name}`, post([TE], body))),
  one('chunks: of one byte', post([TE], [...BODY].map((byte) => `1\r\n${byte}\r\n`).join('') + '0\r\n\r\n')),
  one('chunks: with an extension', post([TE], `30;a="b;c"\r\n${BODY}\r\n0;x\r\n\r\n`)),
  one('chunks: with leading zeros', post([TE], `0000000000000030\r\n${BODY}\r\n0000\r\n\r\n`)),
  one('chunks: with trailers that would frame', post([TE], `30\r\n${BODY}\r\n0\r\nContent-Length: 500\r\n${TE}\r\nHost: y\r\n\r\n`)),
  // header lines
  refused('a folded header', post(['X-A: b', ' c', CL], BODY)),
  refused('a first header that begins with a blank', (id) => `POST ${CHAT} HTTP/1.1\r\n Host: x\r\nX-Case: ${id}\r\n${CL}\r\n\r\n${BODY}`),
  refused('a header without colon', post(['X-A', CL], BODY)),
  refused('a header without name', post([': b', CL], BODY)),
  refused('a name with a blank', post(['X A: b', CL], BODY)),
  refused('a name with a NUL', post(['X\x00A: b', CL], BODY)),
  refused('a name with 8 bits', post(['X\xe4: b', CL], BODY)),
  refused('the end of the head in bare LF', (id) => `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nX-Case: ${id}\r\n${CL}\n\n${BODY}`),
  refused('the end of the head cut by another byte', (id) => `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nX-Case: ${id}\r\n${CL}\r\n\rX${BODY}`),
  // Connection
  one('Connection names Content-Length', post(['Connection: content-length', CL], BODY)),
  one('Connection names Transfer-Encoding', post(['Connection: transfer-encoding, keep-alive', TE], chunked(BODY))),
  one('Connection names Host', post(['Connection: host', CL], BODY)),
  one('Connection names the id', post(['Connection: x-request-id', 'X-Request-Id: mine', CL], BODY)),
  one('Upgrade to h2c', post(['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__', CL], BODY)),
  one('Upgrade to websocket', post(['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13', CL], BODY)),
  // targets and Host
  one('absolute form', post([CL], BODY, { target: `http://x${CHAT}` })),
  refused('absolute form of another host', post([CL], BODY, { target: `http://y${CHAT}` })),
  refused('absolute form with user', post([CL], BODY, { target: `http://u@x${CHAT}` })),
  refused('authority form', post([CL], BODY, { target: 'x:80' })),
  refused('a star', post([CL], BODY, { target: '*' })),
  refused('dots', post([CL], BODY, { target: `${CHAT}/../../../smuggled` })),
  refused('written dots', post([CL], BODY, { target: `${CHAT}/%2e%2e/%2E./smuggled` })),
  refused('a fragment', post([CL], BODY, { target: `${CHAT}#a` })),
  refused('a NUL in the target', post([CL], BODY, { target: `${CHAT}?a=%00` })),
  refused('a raw byte in the target', post([CL], BODY, { target: `${CHAT}?a=\xe4` })),
  one('a written line end in the query', post([CL], BODY, { target: `${CHAT}?a=%0d%0aX-Injected:%201` })),
  refused('two Hosts', post([CL], BODY, { host: 'Host: x\r\nHost: y\r\n' })),
  refused('no Host', post([CL], BODY, { host: '' })),
  ...['', 'u@x', 'x/y', 'x, y', 'x y', 'x:0', 'x:99999', '[::1', 'x\x00', '[fe80::1%25eth0]']
    .map((value) => refused(`Host ${JSON.stringify(value)}`, post([CL], BODY, { host: `Host: ${value}\r\n` }))),
  // request lines
  ...[`POST  ${CHAT} HTTP/1.1`, `POST ${CHAT}  HTTP/1.1`, `POST\t${CHAT}\tHTTP/1.1`, `POST ${CHAT} HTTP/1.1 `, ` POST ${CHAT} HTTP/1.1`,
    `POST ${CHAT}`, `POST ${CHAT} HTTP/0.9`, `POST ${CHAT} HTTP/1.2`, `POST ${CHAT} HTTP/2.0`, `POST ${CHAT} http/1.1`,
    `POST ${CHAT} HTTP/1.1x`, `POST ${CHAT} HTTP/01.1`, `POST ${CHAT} HTTP /1.1`, `post ${CHAT} HTTP/1.1`, `GET ${CHAT} HTTP/1.1`,
    `PRI * HTTP/2.0`, `CONNECT x:80 HTTP/1.1`, `TRACE ${CHAT} HTTP/1.1`, `P\x00ST ${CHAT} HTTP/1.1`, `(){} ${CHAT} HTTP/1.1`]
    .map((line) => refused(`line ${JSON.stringify(line)}`, (id) => `${line}\r\nHost: x\r\nX-Case: ${id}\r\n${CL}\r\n\r\n${BODY}`)),
  refused('a PROXY line first', (id) => `PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n${post([CL], BODY)(id)}`),
  refused('a ClientHello first', (id) => `\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03${post([CL], BODY)(id)}`),
  one('an empty line first', (id) => `\r\n${post([CL], BODY)(id)}`),
  refused('two empty lines first', (id) => `\r\n\r\n${post([CL], BODY)(id)}`),
  refused('a bare LF first', (id) => `\n${post([CL], BODY)(id)}`),
  // the rest
  one('Expect: 100-continue with the body at once', post(['Expect: 100-continue', CL], BODY)),
  refused('Expect: something', post(['Expect: 200-ok', CL], BODY)),
  one('a body that is a request', post(['Content-Length: ' + (BODY.length + SMUGGLED.length)], BODY + SMUGGLED), { bad: true }),
  one('a body that looks like one', (() => {
    const body = JSON.stringify({ messages: [{ role: 'user', content: SMUGGLED }] });
    return post([`Content-Length: ${body.length}`], body);
  })()),
  one('a model with line ends', (() => {
    const body = JSON.stringify({ model: 'm\r\nX-Injected: 1\r\n\r\n', messages: [] });
    return post([`Content-Length: ${body.length}`], body);
  })(), { maybe: true }),
  one('an id with blanks, tabs and 8 bits', post(['X-Request-Id: a\tb \xe4\xff', CL], BODY)),
  refused('an id with a bare CR', post(['X-Request-Id: a\rX-Injected: 1', CL], BODY)),
];

// ---- the servers behind us ------------------------------------------------------------------------------------------------

// Each says where it listens and, later, what it saw: [{method, target, id}] in no order that matters.
async function nodeOrigin() {
  const seen = [];
  const server = http.createServer((request, response) => {
    const parts = [];
    request.on('data', (bytes) => parts.push(bytes));
    request.on('end', () => {
      seen.push({ method: request.method, target: request.url, id: request.headers['x-case'] ?? '',
        injected: 'x-injected' in request.headers, body: Buffer.concat(parts).toString('latin1') });
      response.setHeader('Content-Type', 'application/json');
      response.end('{}');
    });
  });
  server.keepAliveTimeout = DEADLINE_MS;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: server.address().port, seen: () => seen, close: () => server.close() };
}

function fromLog(file) {
  return () => fs.existsSync(file)
    ? fs.readFileSync(file, 'latin1').split('\n').filter(Boolean).map((line) => {
      const [method, target, id] = line.split(' ');
      return { method, target, id: id === '-' ? '' : id, injected: false };
    })
    : [];
}

function files(name) {
  const root = path.join(folder, name);
  for (const file of ['health', 'v1/models', 'v1/chat/completions']) {
    fs.mkdirSync(path.dirname(path.join(root, 'root', file)), { recursive: true });
    fs.writeFileSync(path.join(root, 'root', file), '{}');
  }
  return root;
}

async function configured(name, command, config, args) {
  const root = files(name);
  const port = await freePort();
  const log = path.join(root, 'seen');
  const file = path.join(root, 'conf');
  fs.writeFileSync(file, config({ root, port, log }));
  const program = start(command, args(file));
  await until(`${name} listens`, async () => {
    assert.equal(program.exitCode, null, `${name} ended: ${program.said}`);
    return accepts(port);
  });
  return { port, seen: fromLog(log), flush: () => name === 'lighttpd' && program.kill('SIGHUP'), close: () => program.kill() };
}

const nginx = (command) => configured('nginx', command, ({ root, port, log }) => `
daemon off; worker_processes 1; pid ${root}/pid; error_log ${root}/errors; events {}
http {
  log_format seen '$request_method $request_uri $http_x_case'; access_log ${log} seen;
  client_body_temp_path ${root}/t1; proxy_temp_path ${root}/t2; fastcgi_temp_path ${root}/t3; uwsgi_temp_path ${root}/t4;
  scgi_temp_path ${root}/t5; keepalive_requests 100000;
  server { listen 127.0.0.1:${port}; location / { return 200 "{}"; } }
}`, (file) => ['-c', file]);

const MODULES = '/usr/lib/apache2/modules';
const apache = (command) => configured('apache2', command, ({ root, port, log }) => `
LoadModule mpm_event_module ${MODULES}/mod_mpm_event.so
LoadModule authz_core_module ${MODULES}/mod_authz_core.so
ServerRoot ${root}
ServerName x
Listen 127.0.0.1:${port}
PidFile ${root}/pid
ErrorLog ${root}/errors
DocumentRoot ${root}/root
MaxKeepAliveRequests 0
LogFormat "%m %U%q %{X-Case}i" seen
CustomLog ${log} seen
<Directory ${root}/root>
Require all granted
</Directory>
`, (file) => ['-f', file, '-D', 'FOREGROUND']);

const lighttpd = (command) => configured('lighttpd', command, ({ root, port, log }) => `
server.modules = ("mod_accesslog")
server.document-root = "${root}/root"
server.bind = "127.0.0.1"
server.port = ${port}
server.max-keep-alive-requests = 65535
server.errorlog = "${root}/errors"
accesslog.filename = "${log}"
accesslog.format = "%m %U%q %{X-Case}i"
`, (file) => ['-D', '-f', file]);

const origins = [{ name: 'node', open: nodeOrigin }];
for (const [name, open] of [['nginx', nginx], ['apache2', apache], ['lighttpd', lighttpd]]) {
  const command = [`/usr/sbin/${name}`, `/usr/bin/${name}`].find((file) => fs.existsSync(file)) ??
    spawnSync('sh', ['-c', `command -v ${name}`]).stdout.toString().trim();
  if (command) origins.push({ name, open: () => open(command) });
}

const isProbe = (request) => request.method === 'GET' && request.id === '';

for (const origin of origins) {
  describe(`before ${origin.name}`, () => {
    let server;
    let router;
    before(async () => {
      server = await origin.open();
      router = await startRouter(`http://127.0.0.1:${server.port}`);
    });
    after(() => server?.close());

    test(`${cases.length} requests are each refused or one`, async () => {
      const wrong = [];
      const expected = new Map();
      const run = async ({ name, raw, wanted, maybe, bad }, at) => {
        const id = `c${at}`;
        const tail = `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nX-Case: ${id}-tail\r\nConnection: close\r\n${CL}\r\n\r\n${BODY}`;
        try {
          const text = await exchange(router, raw(id) + tail);
          const answers = answersIn(text);
          assert.ok(!/^x-injected:/im.test(text), 'a header was injected into an answer');
          if (wanted === 'refused') {
            assert.equal(answers.length, 1, `${answers.length} answers`);
            assert.ok(answers[0].status >= 400, `status ${answers[0].status}`);
            assert.match(answers[0].head, /^connection: close\r$/im);
          } else {
            assert.equal(answers.length, 2, `${answers.length} answers: ${answers.map((answer) => answer.status)}`);
            if (bad) {
              assert.equal(answers[0].status, 400);
            } else if (!maybe || answers[0].status < 400) {
              expected.set(id, answers[0].status);
            }
            expected.set(`${id}-tail`, answers[1].status);
          }
        } catch (error) {
          wrong.push(`${name}: ${error.message}`);
        }
      };
      await Promise.all(cases.map(run)); // at once: after a refusal we linger for half a second
      const last = `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nX-Case: last\r\nConnection: close\r\n${CL}\r\n\r\n${BODY}`;
      await exchange(router, last);
      expected.set('last', 0);
      server.flush?.();
      const seen = await until(`${origin.name} tells what it saw`, () => {
        const all = server.seen();
        return all.some((request) => request.id === 'last') && all;
      });
      for (const request of seen.filter((request) => !isProbe(request))) {
        if (!expected.delete(request.id) || request.method !== 'POST' || !request.target.startsWith(CHAT) || request.injected) {
          wrong.push(`${origin.name} saw ${JSON.stringify(request)} (${cases[parseInt(request.id.slice(1), 10)]?.name})`);
        }
      }
      for (const id of expected.keys()) wrong.push(`${origin.name} did not see ${id} (${cases[parseInt(id.slice(1), 10)]?.name})`);
      assert.deepEqual(wrong, []);
    });
  });
}

// ---- a worker that answers ambiguously --------------------------------------------------------------------------------------

const POISON = 'HTTP/1.1 200 OK\r\nX-Poison: 1\r\nContent-Length: 6\r\n\r\npoison';
const answers = [
  ['CL and TE', `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n${TE}\r\n\r\n0\r\n\r\n${POISON}`, 502],
  ['TE and CL', `HTTP/1.1 200 OK\r\n${TE}\r\nContent-Length: 0\r\n\r\n5\r\nhello\r\n0\r\n\r\n${POISON}`, 502],
  ['two CLs', `HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n${POISON}`, 502],
  ['CL with a sign', `HTTP/1.1 200 OK\r\nContent-Length: +0\r\n\r\n${POISON}`, 502],
  ['an unknown coding', `HTTP/1.1 200 OK\r\nTransfer-Encoding: cow\r\n\r\n${POISON}`, 502],
  ['a folded header', `HTTP/1.1 200 OK\r\nX-A: b\r\n Content-Length: 0\r\n\r\n${POISON}`, 502],
  ['a bare CR', `HTTP/1.1 200 OK\r\nX-A: b\rContent-Length: 0\r\n\r\n${POISON}`, 502],
  ['a bare LF', `HTTP/1.1 200 OK\nContent-Length: 0\n\n${POISON}`, 502],
  ['a NUL', `HTTP/1.1 200 OK\r\nX-A: b\x00\r\nContent-Length: 0\r\n\r\n${POISON}`, 502],
  ['HTTP/0.9', 'hello\r\n', 502],
  ['HTTP/2.0', 'HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n', 502],
  ['101 unasked', `HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n${POISON}`, 502],
  ['a storm of 1xx', `${'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(100)}${POISON}`, 502],
  ['204 with a body', `HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello${POISON}`, 502],
  ['a status of four digits', `HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n${POISON}`, 502],
  ['a chunk size with a sign', `HTTP/1.1 200 OK\r\n${TE}\r\n\r\n+5\r\nhello\r\n0\r\n\r\n${POISON}`, 502],
  ['bytes behind CL', `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello${POISON}`, 200],
  ['bytes behind the last chunk', `HTTP/1.1 200 OK\r\n${TE}\r\n\r\n5\r\nhello\r\n0\r\n\r\n${POISON}`, 200],
  ['trailers that would frame', `HTTP/1.1 200 OK\r\n${TE}\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n${POISON}`, 200],
  ['304 with a length', `HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n${POISON}`, 304],
  ['two answers after hints', `HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello${POISON}`, 200],
];

describe('behind a worker that answers ambiguously', () => {
  let server;
  let router;
  before(async () => {
    server = net.createServer((socket) => {
      let text = '';
      socket.on('error', () => {});
      socket.on('data', (bytes) => {
        text += bytes.toString('latin1');
        for (;;) {
          const head = /^[^]*?\r\n\r\n/.exec(text)?.[0];
          const length = Number(/content-length: (\d+)/i.exec(head ?? '')?.[1] ?? 0);
          if (!head || text.length < head.length + length) return;
          text = text.slice(head.length + length);
          const id = /x-case: (\S+)/i.exec(head)?.[1];
          const bad = /^bad(\d+)$/.exec(id ?? '');
          const body = id ?? '{}';
          socket.write(Buffer.from(bad ? answers[Number(bad[1])][1]
            : `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`, 'latin1'));
        }
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    router = await startRouter(`http://127.0.0.1:${server.address().port}`);
  });
  after(() => server?.close());

  test(`${answers.length} answers spoil nobody else's`, async () => {
    const wrong = [];
    const ask = (id) => exchange(router,
      `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nX-Case: ${id}\r\nConnection: close\r\n${CL}\r\n\r\n${BODY}`);
    for (const [at, [name, , status]] of answers.entries()) {
      try {
        const first = answersIn(await ask(`bad${at}`));
        assert.equal(first.length, 1);
        assert.equal(first[0].status, status);
        assert.ok(!/poison/i.test(first[0].head + first[0].body), 'poison in its own answer');
        for (const id of [`good${at}a`, `good${at}b`]) {
          const next = answersIn(await ask(id));
          assert.equal(next.length, 1);
          assert.equal(next[0].body, id);
        }
      } catch (error) {
        wrong.push(`${name}: ${error.message}`);
      }
    }
    assert.deepEqual(wrong, []);
  });
});
