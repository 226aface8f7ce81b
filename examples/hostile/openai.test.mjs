// OpenAI's client for JavaScript, and a server that misbehaves: `vitest` with sse-fuzz installed.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';

let server;
let well;

beforeAll(async () => {
  server = spawn('sse-fuzz', ['hostile', '--dialect', 'openai']);
  const [text] = await once(server.stdout, 'data');
  [well] = String(text).split('\n');
});
afterAll(() => server.kill());

async function answer(trouble) {
  const baseURL = well.replace('openai.well', `openai.${trouble}`);
  const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 3 });
  const messages = [{ role: 'user', content: 'Hi' }];
  const stream = await client.chat.completions.create({ model: 'double', messages, stream: true });
  let text = '';
  for await (const chunk of stream) text += chunk.choices[0].delta.content ?? '';
  return text;
}

test.each(['well', 'bytes', 'slow', 'odd', 'gzip', 'limited', 'down'])('%s: the whole answer comes', async (trouble) => {
  expect(await answer(trouble)).toBe('Hello, wörld');
}, 20_000);

test.each(['cut', 'reset', 'error'])('%s: an answer that breaks off is an error', async (trouble) => {
  await expect(answer(trouble)).rejects.toThrow();
}, 20_000);
