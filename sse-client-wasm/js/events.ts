// An event stream as an async iterator: for requests of any method, and for streams that end.

import { MUST_COMPLETE } from './core.js';
import { connect, isNormal, type Connection, type ConnectionOptions, type Status } from './connection.js';
import { run } from './event-source.js';

export interface ServerSentEvent {
  type: string;
  data: string;
  lastEventId: string;
}

/** The data of an event, such as `[DONE]`, or its type. */
export type Terminator = string | { data: string } | { type: string };

export interface EventsOptions extends ConnectionOptions {
  /** Ends the iteration by throwing its reason. */
  signal?: AbortSignal;
  /**
   * The event that completes the stream, or several. One that is named by its data is a mark, and
   * not delivered; one that is named by its type is delivered, as the last one.
   */
  until?: Terminator | readonly Terminator[];
  /** Whether a stream that ends without it has failed. Default: false. */
  mustComplete?: boolean;
  /** Types of events that tell errors: one ends the iteration with an `EventsError`. */
  errorEvents?: readonly string[];
  onstatus?: (status: Status) => void;
}

/** Why an iteration could not go on. */
export class EventsError extends Error {
  status: Status;
  /** Of a `stream-error`, or one of `errorEvents`, its data. */
  data?: string;

  constructor(status: Status, data?: string) {
    const { reason, code, body, cause } = status;
    const detail = body || data || (cause as any)?.message;
    super(`${[reason, code].filter(Boolean).join(' ')}${detail ? ': ' + detail : ''}`, { cause });
    this.name = 'EventsError';
    this.status = status;
    this.data = data;
  }
}

/**
 * The events of a stream. It connects again as `EventSource` does; a request that is no `GET` is
 * made only once, unless a `policy` says otherwise.
 */
export async function* events(
  url: string | URL,
  options: EventsOptions = {},
): AsyncGenerator<ServerSentEvent, void, void> {
  const { signal, until = [], mustComplete, errorEvents = [], onstatus } = options;
  signal?.throwIfAborted();
  const absolute = new URL(url, (globalThis as any).document?.baseURI ?? (globalThis as any).location?.href);
  const ends = (Array.isArray(until) ? until : [until]).filter(Boolean) as Terminator[];
  const marks = ends.map((end: any) => end.data ?? (end.type ? undefined : end));
  const lastTypes = ends.map((end: any) => end.type);
  let queue: ServerSentEvent[] = [];
  let wake = () => {};
  let empty: (() => void) | undefined;
  let ended: Status | undefined;
  let failure: string | undefined;
  const connection: Connection = connect(absolute.href, { ...options, flags: mustComplete ? MUST_COMPLETE : 0 }, {
    row(type, lastEventId, data) {
      if (type === 'stream-error') failure = data;
      else if (errorEvents.includes(type)) {
        failure = data;
        ended = { state: 'closed', reason: 'error-event' };
        connection.complete();
      } else if (marks.includes(data)) connection.complete();
      else {
        queue.push({ type, data, lastEventId });
        if (lastTypes.includes(type)) connection.complete();
      }
    },
    status(status) {
      if (status.state === 'closed') {
        ended ??= status;
        wake();
      }
      run(() => onstatus?.(ended ?? status));
    },
    // Not more is read than is taken.
    drained() {
      wake();
      if (queue.length) return new Promise((resolve) => (empty = resolve));
    },
  });
  const abort = () => connection.close();
  signal?.addEventListener('abort', abort);
  try {
    for (;;) {
      for (const event of queue) {
        yield event;
        signal?.throwIfAborted();
      }
      queue = [];
      empty?.();
      empty = undefined;
      signal?.throwIfAborted();
      if (ended && !queue.length) {
        if (isNormal(ended.reason)) return;
        throw new EventsError(ended, failure);
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (ended || queue.length) resolve();
      });
    }
  } finally {
    signal?.removeEventListener('abort', abort);
    connection.close();
    empty?.();
  }
}
