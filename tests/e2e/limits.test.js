// What a user of the official openai SDK sees behind a router that lets one request through in three seconds.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';

const workers = process.env.WORKERS.split(' ');
let router;
let http;
let metrics;

const client = (maxRetries) => new OpenAI({ baseURL: `http://${http}/v1`, apiKey: 'unused', maxRetries });
const ask = (maxRetries) => client(maxRetries).chat.completions.create({
  model: 'mock-model', max_tokens: 1, messages: [{ role: 'user', content: 'One at a time.' }],
});
const refused = async () => {
  const text = await (await fetch(`http://${metrics}/metrics`)).text();
  return Number(/^gv_admission_requests_total\{result="refused"\} (\d+)$/m.exec(text)[1]);
};

before(async () => {
  router = spawn(`${process.env.GV_BIN}/grapevine`, [
    '--host', '127.0.0.1', '--port', '0', '--prometheus-host', '127.0.0.1', '--prometheus-port', '0',
    '--threads', '1', '--rate-limit-tokens-per-second', '0.333', '--queue-size', '0',
    '--worker-urls', ...workers,
  ], { stdio: ['ignore', 'pipe', 'ignore'] });
  const line = await new Promise((resolve) => {
    let said = '';
    router.stdout.on('data', (bytes) => {
      said += bytes;
      if (said.includes('\n')) resolve(said);
    });
  });
  http = / http=(\S+)/.exec(line)[1];
  metrics = / metrics=(\S+)/.exec(line)[1];
  const deadline = Date.now() + 60000;
  while ((await fetch(`http://${http}/readiness`)).status !== 200) {
    assert.ok(Date.now() < deadline, 'the router is not ready after 60 s');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
});

after(() => router.kill('SIGKILL'));

test('without retries a refusal is RateLimitError, and names the limit', async () => {
  let error = null;
  while (error === null) {
    const outcomes = await Promise.allSettled([ask(0), ask(0), ask(0)]);
    error = outcomes.find((outcome) => outcome.status === 'rejected')?.reason ?? null;
  }
  assert.ok(error instanceof OpenAI.RateLimitError);
  assert.equal(error.code, 'too_many_requests');
  assert.equal(error.headers['retry-after'], '1');
  assert.match(error.message, /--rate-limit-tokens-per-second/);
  assert.match(error.request_id, /^chatcmpl-/);
});

test('the SDK comes again when Retry-After says so, and is served', async () => {
  const before = await refused();
  const answers = await Promise.all([ask(30), ask(30)]);
  assert.equal(answers.length, 2);
  for (const answer of answers) assert.equal(answer.choices.length, 1);
  assert.ok(await refused() > before);
});
