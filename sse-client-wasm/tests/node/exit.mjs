// Prints what keeps Node from ending after a source was closed. The source is open, or
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
let rounds = 0;
const look = () => {
  // Its own output is none of the source's.
  const left = process.getActiveResourcesInfo().filter((kind) => kind !== 'PipeWrap');
  // What began at the same time has ended by the second round; a socket is closed some rounds
  // after it was given up.
  if (rounds++ < 2 || (left.join() === 'TCPSocketWrap' && rounds < 1000)) setImmediate(look);
  else console.log('left:', left.join());
};
look();
