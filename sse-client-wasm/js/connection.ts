// What an event source does with its connection and its clock. The session, in WebAssembly,
// decides; here it is done. What has arrived is told before the time is: a page that stood still
// must not take its own silence for the server's. What the caller has handed in (functions, bodies)
// may throw at any time: that is told, and never taken for something that the server did.

import * as is from './core.js';
import { type Core, makeCore } from './core.js';
import type { BodyLike, HeadersLike } from './platform.js';
import {
  absolute, beginning, bytes, origin, readerOf, retryAfter, send, utf8, withId, withoutUserInfo,
} from './request.js';

/** Which failures are final; see the README. */
export type Policy = 'resilient' | 'strict' | 'once' | 'resume';

/** What is known when a request is made. */
export interface Attempt {
  /** The id that the request continues from, or the empty string. */
  lastEventId: string;
  /** The headers of the last answer, if there was one: it may have named a session. */
  answer?: Headers;
}

/** What a request is made of, in place of what the options say. */
export interface RequestParts {
  url?: string | URL;
  method?: string;
  headers?: HeadersLike;
  body?: BodyLike | null;
}

export type HeaderProvider = (attempt: Attempt) => HeadersLike | Promise<HeadersLike>;

export interface ConnectionOptions {
  /** The id to continue from, for example one that was stored. */
  lastEventId?: string;
  /** Whether cookies go to other origins. Default: false. */
  withCredentials?: boolean;
  /** Headers, or a function that makes them for each request: after a 401 it is asked once more. */
  headers?: HeadersLike | HeaderProvider;
  /** Default: GET, or POST with a body. */
  method?: string;
  body?: BodyLike | null;
  /**
   * Makes each request, for servers that are resumed by another one than the first. What it leaves
   * out is as the options say. The id is its own to place, if it names a URL or headers.
   */
  request?: (attempt: Attempt) => RequestParts | Promise<RequestParts>;
  /** The parameter of the query that carries the id, at every origin. */
  idParameter?: string;
  /** The header that carries the id, at every origin: other ones have to allow it. */
  idHeader?: string;
  /** Which failures are final. Default: once for a request that is no `GET`. */
  policy?: Policy;
  /**
   * How long the stream may be silent, in milliseconds; 0: for ever. Default: 45,000 where the
   * server has shown that it keeps streams alive, else, and if the request is made once, 600,000.
   */
  idleTimeout?: number;
  /**
   * How long the stream may be silent before its first event, in milliseconds; 0: for ever.
   * Default: as `idleTimeout`.
   */
  firstEventTimeout?: number;
  /**
   * How long a response may take, in milliseconds, from connecting on; 0: for ever. Default:
   * 300,000, or 600,000 if the request is made once.
   */
  connectTimeout?: number;
  /** What the random delay between tries grows to, in milliseconds. Default: 30,000. */
  max_retry_time?: number;
  /** The greatest length of an event in bytes, by default 16 MiB. Longer ones are dropped. */
  maxEventLength?: number;
  /**
   * Replaces the browser's `fetch`. What may pass it tells by a promise that is rejected with a
   * `TypeError`, as `fetch` does; what it throws ends the source.
   */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

/** Where a source stands, and why. */
export interface Status {
  state: 'connecting' | 'open' | 'waiting' | 'closed';
  /** What ended the last try, or the source. */
  reason?: Reason;
  /** The status code, if the reason is one. */
  code?: number;
  /**
   * The beginning of a refusal's body. With `events`, of a stream that ended before it was
   * complete, what its end has besides fields of events: often the error that the server had.
   */
  body?: string;
  /** When the next try is due, as `Date.now()` counts. */
  nextRetry?: number;
  /** What `fetch`, or a function of the caller's, has thrown. */
  cause?: unknown;
}

const REASONS = [
  undefined, 'network', 'ended', 'incomplete', 'status', 'content-type', 'connect-timeout',
  'idle-timeout', 'headers', 'by-caller', 'complete', 'stream-error',
] as const;

/**
 * Of those that the session does not know: `request` (it cannot be made as the caller wants it, or
 * what their `fetch` returns is no answer), `content-coding` (the body cannot be decoded; the cause
 * names the coding), `wasm` (the module is missing), `error-event` (one that the caller has named).
 */
export type Reason =
  | NonNullable<(typeof REASONS)[number]> | 'request' | 'content-coding' | 'wasm' | 'error-event';

/** Reasons that are none to worry. */
export const isNormal = (reason?: Reason) =>
  reason === 'ended' || reason === 'by-caller' || reason === 'complete';

/** Who gets what comes out. Neither may throw. */
export interface Receiver {
  row(type: string, lastEventId: string, data: string, time: number): void;
  status(status: Status): void;
  /** May put another answer in the place of the one that has come. */
  taken?(answer: Response): Response | Promise<Response>;
  /** Gets each piece of a stream before it is read. */
  piece?(bytes: Uint8Array): unknown;
  /** Waited for after each chunk. */
  drained?(): Promise<void> | undefined;
}

/** What a source has: a connection of its own, or a share in one. */
export interface Link {
  readonly state: number;
  readonly closed: boolean;
  readonly origin: string;
  readonly lastEventId: string;
  readonly reconnectionTime: number;
  reconnect(): void;
  close(): void;
}

export interface Internal extends ConnectionOptions {
  flags?: number;
  /** Of a line, comments included. */
  maxLineLength?: number;
  /** The policy for requests that only read. */
  usually?: Policy;
  /** The origin of the events, if the response does not have it. */
  origin?: string;
  /** What the reconnection time is until the stream sets it. */
  reconnectionTime?: number;
  /** What answers may be, if not event streams only. */
  accept?: string;
}

/** A link whose stream may be complete. */
export interface Connection extends Link {
  /** The row that is being delivered completes the stream. */
  complete(): void;
}

/** After a time limit the connection is looked at once more, in so many milliseconds. */
const LOOK = 30;
/** How long the end of a complete answer is waited for: its connection can be used again then. */
const DRAIN = 200;
/** In the place of a failure: it lies in what the caller has handed in. */
const LOCAL = -1;

const scope = globalThis as any;

/** Whether a request with these asks for something only, and may be repeated. */
const isReading = (method: string | undefined, body: unknown) =>
  method ? /^(get|head)$/i.test(method) : body == null;

/** A limit as the module takes it: `NaN` if the caller has set none, `Infinity` for no limit. */
export const limit = (given?: number) => (given === undefined ? NaN : given > 0 ? given : Infinity);

/** Connects, and goes on until it is closed. */
export const connect = (url: string, options: Internal, to: Receiver): Connection => {
  const { headers: given, request: make, body, fetch: own } = options;
  let { policy = isReading(options.method, body) ? options.usually ?? 'resilient' : 'once' } = options;
  const listening = new AbortController();
  let core: Core | undefined;
  let request: AbortController | undefined;
  let reader: ReturnType<typeof readerOf> | undefined;
  let timer: any;
  let suspended = false;
  /** How long this connection's clock has stood still. */
  let lost = 0;
  /** When something has come last, by this clock, and by that of the wall. */
  let heard = 0, lastByte = 0;
  let refusal: Pick<Status, 'body' | 'cause'> = {};
  let answer: Headers | undefined;

  const link = {
    closed: false,
    origin: '',
    lastEventId: `${options.lastEventId ?? ''}`,
    get state() {
      // An end that has not been told yet is none: a refusal's body is waited for. `undefined` is
      // 0.
      return link.closed ? is.CLOSED : core?.calls.state()! & 1;
    },
    get reconnectionTime() {
      const time = core?.calls.retry()!;
      return time >= 0 ? time : options.reconnectionTime ?? NaN;
    },
    reconnect() {
      tell(is.RECONNECT);
    },
    complete() {
      tell(is.COMPLETE);
    },
    close() {
      if (!link.closed) {
        core?.calls.tell(0, is.CLOSE);
        fail('by-caller');
      }
    },
  };

  const clock = () => performance.now() - lost;

  const hear = () => {
    heard = clock();
    lastByte = Date.now();
  };

  const tell = (happening: number) => {
    if (core && !link.closed) {
      core.calls.tell(clock(), happening);
      step();
    }
  };

  const start = async () => {
    let reason: Reason = 'wasm';
    try {
      const made = await makeCore();
      if (link.closed) return;
      reason = 'request';
      begin(made);
      core = made;
    } catch (cause) {
      if (link.closed) return;
      // There is nothing to try again.
      console.error('sse-client-wasm cannot start:', cause);
      return fail(reason, cause);
    }
    listen();
    step();
  };

  /** Begins a session. */
  const begin = ({ calls, write }: Core) => {
    const flags =
      ['resilient', 'strict', 'once', 'resume'].indexOf(policy) |
      (make || typeof given === 'function' ? is.FRESH_CREDENTIALS : 0) | options.flags!;
    // More the module cannot have.
    const maxEventLength = Math.min(limit(options.maxEventLength) || 1 << 24, 0x7fffffff);
    calls.start(
      Math.random(), flags, options.max_retry_time ?? 30000, limit(options.idleTimeout), limit(options.firstEventTimeout),
      // A line has the name of its field, too.
      limit(options.connectTimeout), maxEventLength, options.maxLineLength ?? Math.max(maxEventLength + 8, 1 << 24), write(link.lastEventId),
    );
  };

  /** Does what the session says. */
  const step = () => {
    clearTimeout(timer);
    if (suspended || link.closed) return;
    const { calls } = core!;
    let next = calls.step(clock());
    if ((next & 255) === is.CONNECT) {
      to.status({ state: 'connecting' });
      if (link.closed) return;
      if (link.lastEventId && !(next & is.SEND_ID)) console.warn('The last event ID cannot be sent');
      ask(next & is.SEND_ID ? link.lastEventId : '', !!(next & is.BY_GET));
      if (link.closed) return;
      next = calls.step(clock());
    }
    const until = calls.until();
    const state = calls.state();
    const reason = REASONS[(state >> 2) & 63];
    const why = { reason, code: state >> 8 || undefined, ...refusal };
    if (next === is.STOP) {
      end(reason === 'complete');
      return to.status({ state: 'closed', ...why });
    }
    wait(until, until - clock(), next === is.READ);
    if (next === is.SLEEP && request) {
      drop();
      to.status({ state: 'waiting', nextRetry: Date.now() + until - clock(), ...why });
    }
  };

  const wait = (until: number, time: number, look: boolean) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (look && clock() >= until) wait(until, LOOK, false);
      else step();
    }, Math.min(Math.max(Math.ceil(time), 0), 0x7fffffff));
  };

  const drop = () => {
    const dropped = request;
    request = undefined;
    dropped?.abort();
    // Node's fetch has forgotten the signal once it has collected garbage.
    reader?.cancel?.().catch(() => {});
  };

  const end = (gently?: boolean) => {
    link.closed = true;
    clearTimeout(timer);
    if (gently) timer = setTimeout(drop, DRAIN);
    else drop();
    listening.abort();
  };

  /** An end that the session has no part in. */
  const fail = (reason: Reason, cause?: unknown) => {
    end();
    to.status({ state: 'closed', reason, cause });
  };

  const ask = async (id: string, byGet: boolean) => {
    drop();
    const { signal } = (request = new AbortController());
    const { calls, write } = core!;
    // What comes after the request has been dropped is nobody's.
    const live = async <T>(coming: T | Promise<T>): Promise<T> => {
      const come = await coming;
      signal.throwIfAborted();
      return come;
    };
    let failure = is.UNSENT;
    /** Nothing can have been asked of a network yet. */
    let early = !!own;
    refusal = {};
    try {
      const attempt = { lastEventId: id, answer };
      const parts = (make && await live(make(attempt))) || {};
      const fresh = parts.headers ?? (typeof given === 'function' ? await live(given(attempt)) : given);
      failure = LOCAL;
      const headers = new Headers(fresh);
      let [target, basic] = withoutUserInfo(parts.url ? absolute(parts.url, url).href : url);
      const set = (name: string, value: string) => headers.has(name) || headers.set(name, value);
      if (basic) set('Authorization', basic);
      set('Accept', options.accept ?? 'text/event-stream');
      if (id && !parts.url && !parts.headers) {
        const { idHeader, idParameter } = options;
        // Another origin would have to allow the header first, and most do not.
        if (idParameter || (!idHeader && isElsewhere())) target = withId(target, id, idParameter);
        else headers.set(idHeader || 'Last-Event-ID', utf8(id));
      }
      const content = byGet ? null : 'body' in parts ? parts.body : body;
      const method = byGet ? 'GET' : parts.method ?? options.method ?? (content == null ? 'GET' : 'POST');
      if (policy !== 'once' && !options.policy && !isReading(method, content)) {
        // Only now it is known.
        policy = 'once';
        begin(core!);
        listening.abort();
        // To connect is what is being done.
        calls.step(clock());
        step();
      }
      const coming = send(target, {
        method,
        body: content,
        headers,
        signal,
        cache: 'no-store',
        credentials: options.withCredentials ? 'include' : 'same-origin',
        // A stream can be sent only so.
        duplex: 'half',
      } as RequestInit, own, options.idHeader);
      // What `fetch` cannot do now it never can.
      failure = /^https?:/.test(target) ? is.ERROR : LOCAL;
      setTimeout(() => { early = false; });
      let response = await live(coming);
      failure = LOCAL;
      link.origin = options.origin ?? new URL(response.url || target).origin;
      answer = response.headers;
      if (to.taken) {
        failure = is.ERROR;
        response = await live(to.taken(response));
        failure = LOCAL;
      }
      const type = write(response.headers.get('Content-Type') ?? '');
      calls.head(clock(), response.status, retryAfter(response), type);
      if (link.state === is.OPEN) {
        // Some have none where there is nothing in it.
        const from = (reader = own || response.body ? readerOf(response) : undefined);
        hear();
        to.status({ state: 'open' });
        step();
        while (from) {
          failure = is.ERROR;
          const chunk = await live(from.read());
          failure = LOCAL;
          if (chunk.done) break;
          take(bytes(chunk.value), signal);
          const drained = !link.closed && to.drained?.();
          if (drained) {
            // Stands still until there is room, and the clock with it.
            const since = performance.now();
            clearTimeout(timer);
            await drained;
            lost += performance.now() - since;
            step();
          }
          signal.throwIfAborted();
        }
        if (link.closed) return clearTimeout(timer);
        calls.tell(clock(), is.END);
      } else {
        clearTimeout(timer);
        refusal = { body: await live(beginning(response, signal)) };
      }
    } catch (cause) {
      if (signal.aborted || link.closed) return;
      if (failure === LOCAL || (failure === is.ERROR && isLocal(cause, early))) {
        return fail((cause as any)?.name === 'CodingError' ? 'content-coding' : 'request', cause);
      }
      refusal = { cause };
      calls.tell(clock(), failure);
    }
    step();
  };

  /** Whether a failed request is none of the network's. */
  const isLocal = (cause: any, early: boolean) =>
    !/^(Type|Network|Abort|Timeout)E/.test(cause?.name) &&
      (early || /^(Re(ference|quest|direct)|Range|Syntax|Coding)E/.test(cause?.name));

  const take = (chunk: Uint8Array, signal: AbortSignal) => {
    if (link.closed) return;
    hear();
    to.piece?.(chunk);
    for (const rows of core!.push(heard, chunk)) {
      for (let row = 0; row + 3 < rows.length; row += 3) {
        const type = rows[row + 1];
        link.lastEventId = rows[row + 2];
        if (type !== is.NOTE) to.row(type || 'message', link.lastEventId, rows[row], heard);
        else if (rows[row]) console.warn('An event was longer than the limit, and dropped');
        if (link.closed) return;
      }
      // A listener has asked for a new connection: the rest comes again.
      if (signal.aborted) return;
    }
    step();
  };

  const isElsewhere = () =>
    origin && [new URL(url).origin, link.origin || origin].some((other) => other !== origin);

  /** Pages come and go, and networks too. */
  const listen = () => {
    if (policy === 'once' || !scope.addEventListener) return;
    const on = (target: EventTarget, type: string, then: () => void) => target.addEventListener(type, then, listening);
    // What is under way belongs to the network that was.
    const anew = () => {
      if (!link.state) core!.calls.tell(clock(), is.ERROR);
      link.reconnect();
    };
    on(scope, 'online', anew);
    if (!scope.document) return;
    on(scope, 'pagehide', () => {
      suspended = true;
      clearTimeout(timer);
      drop();
    });
    on(scope, 'pageshow', () => {
      if (suspended) {
        suspended = false;
        anew();
      }
    });
    on(scope.document, 'visibilitychange', () => {
      if (scope.document.visibilityState !== 'visible' || suspended) return;
      // The clock of the wall goes on while the machine sleeps.
      const stalled = link.state === is.OPEN && Date.now() - lastByte > core!.calls.until() - heard;
      // Hidden pages have slow timers.
      if (stalled || (!link.state && !request)) link.reconnect();
    });
  };

  start();
  return link;
};
