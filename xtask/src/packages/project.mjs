// A project that uses the npm package as its users do: a server that sends an event, and two ways
// to read it.
import { createServer } from 'node:http';
import { EventSource, events } from 'sse-client-wasm';

const server = createServer((_, response) => {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  response.write('id: 1\ndata: hello\n\n');
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const url = `http://127.0.0.1:${server.address().port}/events/`;

const source = new EventSource(url);
const first = await new Promise((resolve) => { source.onmessage = resolve; });
source.close();
let second;
for await (const event of events(url)) {
  second = event;
  break;
}
server.closeAllConnections();
server.close();
for (const { data, lastEventId } of [first, second]) {
  if (data !== 'hello' || lastEventId !== '1') throw new Error(`read ${data} with the id ${lastEventId}`);
}
console.log('the npm package does what it is for');
