// What comes through each entry of the package, wherever this runs.

import * as inline from 'sse-client-wasm';
import * as external from 'sse-client-wasm/external';

const head = '200 OK\r\nContent-Type: text/event-stream';
const connections = [
  { head, body: ['id: 1\ndata: a\n\nid: 2\nda'], end: 'close' },
  { head, body: ['id: 2\ndata: b\n\n'], end: 'hang' },
];

/** Of a stream that is cut in its second event: the events, and what its requests continue from. */
const through = async ({ ReconnectingEventSource }) => {
  const name = Math.random().toString(36).slice(2);
  await fetch(`/script/${name}`, { method: 'POST', body: JSON.stringify(connections) });
  const source = new ReconnectingEventSource(`/s/${name}`, { max_retry_time: 1 });
  const events = [];
  await new Promise((resolve) => {
    source.onmessage = ({ data, lastEventId }) => events.push(lastEventId + data) === 2 && resolve();
  });
  source.close();
  const requests = await (await fetch(`/log/${name}`)).json();
  return { events, from: requests.map(({ headers }) => headers['last-event-id'] ?? null) };
};

export const found = async () => {
  // Otherwise the second has not been tried.
  if (inline.EventSource === external.EventSource) throw new Error('the two entries are one');
  return { inline: await through(inline), external: await through(external) };
};
