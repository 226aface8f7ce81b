// An `EventSource` from a stream that is already there, as whatwg/html#12272 has it.

import { connect } from './connection.js';
import { EventSource, type StreamOptions } from './event-source.js';
import { members } from './request.js';

EventSource.fromReadableStream = (stream: ReadableStream, given?: StreamOptions | null) => {
  // Throws a `TypeError` if someone else reads it.
  const reader = stream.getReader();
  const { url = 'about:event-stream', ...options } = members(given);
  const internal = {
    idleTimeout: 0,
    ...options,
    policy: 'once',
    fetch: async () => {
      const headers = new Headers({ 'Content-Type': 'text/event-stream' });
      return { status: 200, headers, body: { getReader: () => reader } };
    },
  };
  const read: typeof connect = (url, options, to) => connect(url, options, {
    ...to,
    status(status) {
      // Whether it was read already or not.
      if (status.state === 'closed') reader.cancel().catch(() => {});
      to.status(status);
    },
  });
  try {
    // @ts-expect-error What is more is ours.
    return new EventSource(url, internal, read);
  } catch (error) {
    reader.releaseLock();
    throw error;
  }
};

export { EventSource };
