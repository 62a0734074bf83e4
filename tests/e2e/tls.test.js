// What changes for a user of the openai SDK when the routers speak HTTPS with a certificate of a private authority
// (NODE_EXTRA_CA_CERTS); sdk.test.js runs over it as it is.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { connect } from 'node:tls';
import OpenAI from 'openai';

const routers = process.env.ROUTERS.split(' ');
const [, host, port] = routers[0].match(/^https:\/\/(.*):(\d+)$/);
const messages = [{ role: 'user', content: 'Tell me a story about a vine. '.repeat(40) }];

// node HERE, without our authority: what it writes.
const untrusting = (script, env) =>
  new Promise((resolve) => {
    const child = { ...process.env, ...env };
    delete child.NODE_EXTRA_CA_CERTS;
    delete child.NODE_TEST_CONTEXT;
    execFile(process.execPath, ['--input-type=module', '-e', script],
      { env: child }, (error, out, err) => resolve(`${out}${err}`));
  });

test('an SDK that does not know the authority gets no answer, and says why', async () => {
  const said = await untrusting(`
    import OpenAI from 'openai';
    const client = new OpenAI({ baseURL: process.env.BASE, apiKey: 'unused', maxRetries: 0 });
    try {
      await client.models.list();
      console.log('answered');
    } catch (error) {
      console.log(error.constructor.name, error.cause?.cause?.code ?? error.cause?.code);
    }`, { BASE: `${routers[0]}/v1` });
  assert.match(said, /APIConnectionError (UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_GET_ISSUER_CERT_LOCALLY)/);
});

test('what is spoken is TLS 1.3', async () => {
  const socket = connect({ host, port: Number(port) });
  await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
  assert.equal(socket.getProtocol(), 'TLSv1.3');
  assert.ok(socket.authorized);
  socket.destroy();
});

test('an SDK that speaks plain HTTP to that port is refused, and those who do not still are served', async () => {
  const plain = new OpenAI({ baseURL: `http://${host}:${port}/v1`, apiKey: 'unused', maxRetries: 0 });
  await assert.rejects(plain.models.list(), (error) => error instanceof OpenAI.APIError);
  const secure = new OpenAI({ baseURL: `${routers[0]}/v1`, apiKey: 'unused', maxRetries: 0 });
  assert.equal((await secure.models.list()).data.length, 1);
});

test('sixteen long streams at once over TLS come whole', async () => {
  const streams = await Promise.all(Array.from({ length: 16 }, async (_, i) => {
    const client = new OpenAI({ baseURL: `${routers[i % routers.length]}/v1`, apiKey: 'unused', maxRetries: 0 });
    const stream = await client.chat.completions.create({ model: 'mock-model', messages, max_tokens: 300, stream: true });
    let tokens = 0;
    for await (const chunk of stream) tokens += chunk.choices[0]?.delta?.content ? 1 : 0;
    return tokens;
  }));
  assert.deepEqual(streams, Array(16).fill(300));
});
