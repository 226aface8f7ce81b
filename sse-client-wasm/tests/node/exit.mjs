// Prints which timers keep Node from ending after a source was closed. The source is open, or
// waits, or reads a refusal that does not end, or is an iterator that was left.

import { ReconnectingEventSource, events } from 'sse-client-wasm';

const [url, way] = process.argv.slice(2);
if (way === 'left') {
  for await (const _ of events(url)) break;
} else {
  const source = new ReconnectingEventSource(url);
  if (way === 'refused') {
    // Its body is waited for then.
    await new Promise((resolve) => setTimeout(resolve, 500));
  } else {
    await new Promise((resolve) => source.addEventListener(way === 'open' ? 'message' : 'error', resolve));
  }
  source.close();
}
// What began at the same time has ended by then.
setImmediate(() => setImmediate(() => {
  console.log('timers:', process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length);
}));
