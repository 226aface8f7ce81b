// The npm package in Node, as `sse-fuzz hostile --check` wants a client to be: it takes a URL, a
// header, a method and a body, and prints each event as a line of JSON.

import { writeSync } from 'node:fs';
import { events } from 'sse-client-wasm';

const [url, header, method, body] = process.argv.slice(2);
const [name, value] = header.split(': ');

const stream = events(url, {
  method,
  body: body || undefined,
  headers: { [name]: value },
  // The suite waits for a client to notice silence, and not for ten minutes.
  idleTimeout: 3000,
  connectTimeout: 3000,
});
for await (const { type, data, lastEventId } of stream) {
  const line = JSON.stringify({ event: type, data, id: lastEventId }) + '\n';
  for (let bytes = Buffer.from(line); bytes.length; bytes = bytes.subarray(write(bytes)));
}

/** To a pipe that may be full. */
function write(bytes) {
  try {
    return writeSync(1, bytes);
  } catch (error) {
    if (error.code !== 'EAGAIN') throw error;
    return 0;
  }
}
