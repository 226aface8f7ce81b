// What people write in Node, where the browser's types are not.

import {
  EventSource, EventsError, ReconnectingEventSource, events,
  type ServerMessageEvent, type SourceOptions, type Status,
} from 'sse-client-wasm';

const options: SourceOptions = { headers: async () => ({ Authorization: 'Bearer t' }), body: new URLSearchParams('a=b') };
const source: EventSource = new ReconnectingEventSource('http://localhost/events', options);
source.onmessage = ({ data, lastEventId }) => { const texts: string[] = [data, lastEventId]; texts; };
source.onerror = ({ status }) => { const { state, cause }: Status = status; state.trim(), cause; };
source.onevent = (event: ServerMessageEvent) => event.type + event.data;
source.addEventListener('message', function ({ data }) { this.close(), data.trim(); }, { once: true });
source.addEventListener('news', ({ data }) => JSON.parse(data));
source.addEventListener('open', { handleEvent: ({ type }) => { type.trim(); } });
source.removeEventListener('news', null);
// @ts-expect-error There is none.
source.onmessage = (event) => event.nonsense;
EventSource.fromReadableStream(new Blob(['data: a\n\n']).stream()).close();

export const read = async (): Promise<string> => {
  try {
    const fetching = (url: string, init: RequestInit) => fetch(url, { ...init, keepalive: true });
    for await (const { data } of events('http://localhost/', { headers: [['A', 'b']], fetch: fetching })) return data;
  } catch (error) {
    if (error instanceof EventsError) return error.message;
  }
  return '';
};
