// What people write with the package's types, as they would with those of `lib.dom`.

import {
  EventSource as Ours, EventsError, ReconnectingEventSource, SharedEventSource, events,
  type Policy, type Status,
} from 'sse-client-wasm';
import { EventSource as External } from 'sse-client-wasm/external';

// In place of the platform's.
const source: EventSource = new Ours('/events', { withCredentials: true });
const reconnecting: EventSource = new ReconnectingEventSource('/events', { max_retry_time: 5000, eventSourceClass: EventSource });
const shared: EventSource = new SharedEventSource(new URL('https://example.org'), { share: 'me' });
const external: Ours = new External('/events');
const make: typeof EventSource = Ours;
source.close(), reconnecting.close(), shared.close(), external.close(), make.OPEN;

// Typed events.
const ours = new ReconnectingEventSource('/events');
ours.onmessage = ({ data, lastEventId }) => { const id: string = lastEventId; JSON.parse(data), id; };
ours.onmessage = (event) => { const text: string = event.data.trim(); text; };
ours.onerror = (event) => { const type: string = event.type; type; };
ours.onerror = ({ status }) => { const { reason, code, nextRetry }: Status = status; `${reason} ${code} ${nextRetry}`.trim(); };
ours.onopen = function (event) { const state: string = event.status.state; this.close(), state; };
ours.onopen = ours.onerror = null;
const handler: typeof source.onerror = ours.onerror;
handler;
ours.addEventListener('news', (event) => { const text: string = event.data + event.origin; text; });
ours.addEventListener('message', function (event) { const own: Ours = this; own.close(), event.data.trim(); });
ours.addEventListener('error', ({ status }) => { const { state, reason }: Status = status; `${state} ${reason}`.trim(); });
ours.addEventListener('open', { handleEvent(event) { event.type; } }, { once: true });
ours.removeEventListener('news', null);
ours.onstatus = ({ nextRetry }) => { const time: number | undefined = nextRetry; time; };
// @ts-expect-error There is none.
ours.onmessage = (event) => event.nonsense;
// @ts-expect-error Nor this.
const policy: Policy = 'sometimes';
policy;

const stream = Ours.fromReadableStream(new ReadableStream<Uint8Array>(), { lastEventId: '7', url: 'https://example.org' });
const time: number = stream.reconnectionTime;
time;

export const read = async (): Promise<string[]> => {
  const found: string[] = [];
  try {
    const options = { method: 'POST', body: '{}', until: ['[DONE]', { type: 'message_stop' }], errorEvents: ['error'], firstEventTimeout: 60000 };
    for await (const { type, data } of events('/chat', options)) found.push(type + data);
    for await (const { data } of events('/mcp', { body: '{}', accepts: ['application/json'], acceptsStatus: 202, acceptsStreamAs: '' })) found.push(data);
  } catch (error) {
    if (error instanceof EventsError) found.push(`${error.status.reason} ${error.data}`);
  }
  return found;
};
