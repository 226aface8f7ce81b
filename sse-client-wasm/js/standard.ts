// `EventSource` as the standard has it, and from a stream that is already there.

import { SourceBase, type SourceOptions } from './event-source';

/** In place of the browser's own: any answer but an event stream is final. */
export class EventSource extends SourceBase {
  constructor(url: string | URL, options: SourceOptions = {}) {
    super(url, { policy: 'strict', ...options });
  }

  /** Reads a stream of bytes that someone else has opened. Its end is the end of the source. */
  static fromReadableStream(
    stream: ReadableStream<Uint8Array>,
    options: Pick<SourceOptions, 'lastEventId' | 'idleTimeout' | 'maxEventLength'> = {},
  ): EventSource {
    const headers = { 'Content-Type': 'text/event-stream' };
    return new EventSource('about:blank', {
      idleTimeout: 0,
      ...options,
      policy: 'once',
      fetch: async () => new Response(stream as any, { headers }),
    });
  }
}
