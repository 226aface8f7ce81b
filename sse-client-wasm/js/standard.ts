// An `EventSource` from a stream that is already there, as whatwg/html#12272 has it.

import { EventSource, type StreamOptions } from './event-source.js';

EventSource.fromReadableStream = (stream: ReadableStream, given: StreamOptions = {}) => {
  // Throws a `TypeError` if someone else reads it.
  const reader = stream.getReader();
  const { url = 'about:event-stream', ...options } = given;
  const internal = {
    idleTimeout: 0,
    ...options,
    policy: 'once',
    fetch: async (_: string, { signal }: RequestInit) => {
      signal!.addEventListener('abort', () => reader.cancel().catch(() => {}));
      const headers = new Headers({ 'Content-Type': 'text/event-stream' });
      return { status: 200, headers, body: { getReader: () => reader } };
    },
  };
  return new EventSource(url, internal as any);
};

export { EventSource };
