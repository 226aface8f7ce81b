// An event stream as an async iterator: for requests of any method, and for streams that end.

import { MUST_COMPLETE } from './core';
import { connect, isNormal, type ConnectionOptions, type Status } from './connection';

export interface ServerSentEvent {
  type: string;
  data: string;
  lastEventId: string;
}

export interface EventsOptions extends ConnectionOptions {
  /** Ends the iteration by throwing its reason. */
  signal?: AbortSignal;
  /** The data of the event that completes the stream, such as `[DONE]`. It is not delivered. */
  until?: string;
  /** Whether a stream that ends without it has failed. Default: false. */
  mustComplete?: boolean;
  onstatus?: (status: Status) => void;
}

/** Why an iteration could not go on. */
export class EventsError extends Error {
  status: Status;
  /** Of a `stream-error`, its data. */
  data?: string;

  constructor(status: Status, data?: string) {
    const { reason, code, body, cause } = status;
    super(`${[reason, code].filter(Boolean).join(' ')}${body ? ': ' + body : data ? ': ' + data : ''}`, { cause });
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
  const { signal, until, mustComplete, onstatus, method, body, policy } = options;
  signal?.throwIfAborted();
  const isRead = body == null && (!method || /^(get|head)$/i.test(method));
  const absolute = new URL(url, (globalThis as any).document?.baseURI ?? (globalThis as any).location?.href);
  let queue: ServerSentEvent[] = [];
  let wake = () => {};
  let empty: (() => void) | undefined;
  let ended: Status | undefined;
  let failure: string | undefined;
  const connection = connect(absolute.href, {
    ...options,
    policy: policy ?? (isRead ? 'resilient' : 'once'),
    method: method ?? (isRead ? 'GET' : 'POST'),
    terminator: until,
    flags: mustComplete ? MUST_COMPLETE : 0,
  }, {
    row(type, lastEventId, data) {
      if (type === 'stream-error') failure = data;
      else queue.push({ type, data, lastEventId });
    },
    status(status) {
      onstatus?.(status);
      if (status.state === 'closed') {
        ended = status;
        wake();
      }
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
