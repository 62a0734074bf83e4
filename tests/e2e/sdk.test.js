// What a user of the official openai SDK sees behind three routers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';

const routers = process.env.ROUTERS.split(' ');
const workers = process.env.WORKERS.split(' ');
const client = (n = 0, options = {}) =>
  new OpenAI({ baseURL: `${routers[n]}/v1`, apiKey: 'unused', maxRetries: 0, ...options });
const messages = [{ role: 'user', content: 'Tell me a story about a vine. '.repeat(40) }];
const stats = async () =>
  Promise.all(workers.map(async (url) => (await fetch(`${url}/_mock/stats`)).json()));
const until = async (what, condition) => {
  const deadline = Date.now() + 30000;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, `waited 30 s for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

test('a chat completion comes back whole', async () => {
  const answer = await client().chat.completions.create({ model: 'mock-model', messages, max_tokens: 5 });
  assert.equal(answer.object, 'chat.completion');
  assert.ok(answer.choices[0].message.content.length > 0);
  assert.equal(answer.usage.completion_tokens, 5);
});

test('the second router finds the prefix that the first one learnt', async () => {
  const own = [{ role: 'user', content: `A prompt of its own, ${Date.now()}. `.repeat(60) }];
  const first = await client(0).chat.completions.create({ model: 'mock-model', messages: own }).withResponse();
  const worker = first.response.headers.get('x-grapevine-worker');
  assert.ok(workers.includes(worker), `${worker} is one of ${workers}`);
  const explain = (n) =>
    fetch(`${routers[n]}/grapevine/v1/explain`, {
      method: 'POST',
      body: JSON.stringify({ model: 'mock-model', messages: own }),
    }).then((response) => response.json());
  await until('routers 2 and 3 hold the prefix', async () => {
    const seen = await Promise.all([explain(1), explain(2)]);
    return seen.every((s) => s.worker === worker && s.legs[0].depth === s.legs[0].blocks);
  });
  const again = await client(1).chat.completions.create({ model: 'mock-model', messages: own }).withResponse();
  assert.equal(again.response.headers.get('x-grapevine-worker'), worker);
  assert.ok(again.data.usage.prompt_tokens_details.cached_tokens > 0);
});

test('a stream comes token by token and ends', async () => {
  const stream = await client(1).chat.completions.create({
    model: 'mock-model', messages, max_tokens: 20, stream: true, stream_options: { include_usage: true },
  });
  let tokens = 0;
  let usage = null;
  for await (const chunk of stream) {
    tokens += chunk.choices[0]?.delta?.content ? 1 : 0;
    usage = chunk.usage ?? usage;
  }
  assert.equal(tokens, 20);
  assert.equal(usage.completion_tokens, 20);
});

test('an aborted stream reaches the engine', async () => {
  const before = (await stats()).reduce((sum, s) => sum + s.aborted, 0);
  const stream = await client(2).chat.completions.create({
    model: 'mock-model', messages, max_tokens: 4000, stream: true,
  });
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    break; // the SDK aborts the request
  }
  await until('an engine counts the abort', async () =>
    (await stats()).reduce((sum, s) => sum + s.aborted, 0) === before + 1);
});

test('an unknown path is an APIError with a code', async () => {
  const response = await fetch(`${routers[0]}/v1/nothing`, { method: 'POST', body: '{}' });
  assert.equal(response.status, 404);
  assert.equal((await response.json()).error.code, 'unknown_path');
});

test('an unknown model is NotFoundError, code model_not_found', async () => {
  await assert.rejects(
    client().chat.completions.create({ model: 'no-such-model', messages }),
    (error) => error instanceof OpenAI.NotFoundError && error.code === 'model_not_found');
});

test('a body that is not JSON is a 400 with a code', async () => {
  const response = await fetch(`${routers[0]}/v1/chat/completions`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"model": ',
  });
  assert.equal(response.status, 400);
  assert.equal((await response.json()).error.code, 'json_parse_error');
});

test('the request id is taken, passed on and echoed', async () => {
  const { response } = await client().chat.completions
    .create({ model: 'mock-model', messages, max_tokens: 1 }, { headers: { 'x-request-id': 'mine-1' } })
    .withResponse();
  assert.equal(response.headers.get('x-request-id'), 'mine-1');
  const minted = await client().chat.completions
    .create({ model: 'mock-model', messages, max_tokens: 1 }).withResponse();
  assert.match(minted.response.headers.get('x-request-id'), /^chatcmpl-/);
});

test('an engine that fails once is covered by the other', async () => {
  await Promise.all([fetch(`${workers[0]}/_mock/fault`, {
    method: 'POST', body: JSON.stringify({ kind: 'error', status: 503, count: 1 }),
  })]);
  for (let i = 0; i < 8; i++) {
    const own = [{ role: 'user', content: `attempt ${i} ${Date.now()} `.repeat(50) }];
    const answer = await client(i % 3).chat.completions.create({ model: 'mock-model', messages: own, max_tokens: 1 });
    assert.equal(answer.choices.length, 1);
  }
});

test('embeddings come back', async () => {
  const answer = await client(1).embeddings.create({ model: 'mock-model', input: 'a vine', encoding_format: 'float' });
  assert.ok(answer.data[0].embedding.length > 0);
});

test('completions come back, streamed and not', async () => {
  const whole = await client(2).completions.create({ model: 'mock-model', prompt: 'Once upon a time', max_tokens: 3 });
  assert.ok(whole.choices[0].text.length > 0);
  const stream = await client(2).completions.create({ model: 'mock-model', prompt: 'Once upon a time', max_tokens: 3, stream: true });
  let text = '';
  for await (const chunk of stream) text += chunk.choices[0]?.text ?? '';
  assert.ok(text.length > 0);
});

test('models are listed', async () => {
  const list = await client().models.list();
  assert.deepEqual(list.data.map((model) => model.id), ['mock-model']);
});

test('60 requests at once over three routers all succeed, and no load is left behind', async () => {
  const answers = await Promise.all(Array.from({ length: 60 }, (_, i) =>
    client(i % 3).chat.completions.create({
      model: 'mock-model', max_tokens: 2,
      messages: [{ role: 'user', content: `session ${i % 12} `.repeat(100) }],
    })));
  assert.equal(answers.length, 60);
  await until('nothing is in flight', async () => {
    const all = await Promise.all(routers.map(async (url) => (await fetch(`${url}/grapevine/v1/status`)).json()));
    return all.every((status) => status.in_flight === 0);
  });
});
