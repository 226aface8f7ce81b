// What an event source does with its connection and its clock. The session, in WebAssembly,
// decides; here it is done. What has arrived is told before the time is: a page that stood still
// must not take its own silence for the server's.

import * as is from './core';
import { type Core, makeCore } from './core';

/** Which failures are final; see the README. */
export type Policy = 'resilient' | 'strict' | 'once' | 'resume';

/** What is known when the headers of a request are made. */
export interface Attempt {
  /** The id that the request continues from, or the empty string. */
  lastEventId: string;
}

export type HeaderProvider = (attempt: Attempt) => HeadersInit | Promise<HeadersInit>;

export interface ConnectionOptions {
  /** The id to continue from, for example one that was stored. */
  lastEventId?: string;
  /** Whether cookies go to other origins. Default: false. */
  withCredentials?: boolean;
  /** Headers, or a function that makes them for each request: after a 401 it is asked once more. */
  headers?: HeadersInit | HeaderProvider;
  /** Default: GET. */
  method?: string;
  body?: BodyInit | null;
  /** Which failures are final. */
  policy?: Policy;
  /** How long the stream may be silent, in milliseconds; 0: for ever. Default: 45,000. */
  idleTimeout?: number;
  /** How long a response may take, in milliseconds. Default: 30,000. */
  connectTimeout?: number;
  /** What the random delay between tries grows to, in milliseconds. Default: 30,000. */
  max_retry_time?: number;
  /** The greatest length of an event in bytes, by default 16 MiB. Longer ones are dropped. */
  maxEventLength?: number;
  /** Replaces the browser's `fetch`. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

/** Where a source stands, and why. */
export interface Status {
  state: 'connecting' | 'open' | 'waiting' | 'closed';
  /** What ended the last try, or the source. */
  reason?: Reason;
  /** The status code, if the reason is one. */
  code?: number;
  /** The beginning of a refusal's body. */
  body?: string;
  /** When the next try is due, as `Date.now()` counts. */
  nextRetry?: number;
  /** What `fetch`, or the function that makes the headers, has thrown. */
  cause?: unknown;
}

const REASONS = [
  undefined, 'network', 'ended', 'incomplete', 'status', 'content-type', 'connect-timeout',
  'idle-timeout', 'headers', 'by-caller', 'complete', 'stream-error',
] as const;

export type Reason = NonNullable<(typeof REASONS)[number]>;

/** Reasons that are none to worry. */
export const isNormal = (reason?: Reason) =>
  reason === 'ended' || reason === 'by-caller' || reason === 'complete';

/** Who gets what comes out. */
export interface Receiver {
  row(type: string, lastEventId: string, data: string, time: number): void;
  status(status: Status): void;
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
  terminator?: string;
  /** Of a line, comments included. */
  maxLineLength?: number;
}

/** After a time limit the connection is looked at once more, in so many milliseconds. */
const LOOK = 30;
/** Of a refusal's body, how many characters are kept, and how long they are waited for. */
const BODY = 4096, BODY_WITHIN = 1000;

const scope = globalThis as any;

/** Connects, and goes on until it is closed. */
export const connect = (url: string, options: Internal, to: Receiver): Link => {
  const { headers: given, policy = 'resilient', terminator = '', body } = options;
  const { idleTimeout = 45000, maxEventLength = 1 << 24 } = options;
  const listening = new AbortController();
  let core: Core | undefined;
  let request: AbortController | undefined;
  let timer: any;
  let suspended = false;
  /** How long this connection's clock has stood still. */
  let lost = 0;
  /** By the wall clock, which goes on while the machine sleeps. */
  let lastByte = 0;
  let refusal: Pick<Status, 'body' | 'cause'> = {};

  const link = {
    closed: false,
    origin: '',
    lastEventId: options.lastEventId ?? '',
    get state() {
      return link.closed ? is.CLOSED : (core?.calls.state() ?? 0) & 3;
    },
    get reconnectionTime() {
      return core?.calls.reconnection_time() ?? NaN;
    },
    reconnect() {
      if (core && !link.closed) {
        core.calls.tell(clock(), is.RECONNECT);
        step();
      }
    },
    close() {
      if (!link.closed) {
        core?.calls.tell(0, is.CLOSE);
        end();
        to.status({ state: 'closed', reason: 'by-caller' });
      }
    },
  };

  const clock = () => performance.now() - lost;

  const start = async () => {
    try {
      const made = await makeCore();
      if (link.closed) return;
      const flags =
        ['resilient', 'strict', 'once', 'resume'].indexOf(policy) |
        (typeof given === 'function' ? is.FRESH_CREDENTIALS : 0) | (options.flags ?? 0);
      const id = made.write(link.lastEventId);
      made.calls.start(
        Math.random(), flags, options.max_retry_time ?? 30000, idleTimeout, options.connectTimeout ?? 30000,
        // A line has the name of its field, too.
        maxEventLength, options.maxLineLength ?? Math.max(maxEventLength + 8, 1 << 24), id, made.write(terminator, id),
      );
      core = made;
    } catch (cause) {
      if (link.closed) return;
      // Without WebAssembly there is nothing to try again.
      end();
      return to.status({ state: 'closed', reason: 'network', cause });
    }
    listen();
    step();
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
      ask(next & is.SEND_ID ? link.lastEventId : '', !!(next & is.BY_GET));
      next = calls.step(clock());
    }
    const until = calls.until();
    const state = calls.state();
    const why = { reason: REASONS[(state >> 2) & 63], code: state >> 8 || undefined, ...refusal };
    if (next === is.STOP) {
      end();
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
  };

  const end = () => {
    link.closed = true;
    clearTimeout(timer);
    drop();
    listening.abort();
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
    refusal = {};
    try {
      const headers = new Headers(typeof given === 'function' ? await live(given({ lastEventId: id })) : given);
      failure = is.ERROR;
      let target = url;
      if (!headers.has('Accept')) headers.set('Accept', 'text/event-stream');
      // Another origin would have to allow the header first, and most do not.
      if (id && isElsewhere()) target = withId(url, id);
      else if (id) headers.set('Last-Event-ID', String.fromCharCode(...new TextEncoder().encode(id)));
      const response = await live((options.fetch ?? fetch)(target, {
        method: byGet ? 'GET' : options.method,
        body: byGet ? null : body,
        headers,
        signal,
        cache: 'no-store',
        credentials: options.withCredentials ? 'include' : 'same-origin',
      }));
      if (response.url) link.origin = new URL(response.url).origin;
      const type = write(response.headers.get('Content-Type') ?? '');
      calls.response(clock(), response.status, retryAfter(response), type);
      if (link.state === is.OPEN) {
        lastByte = Date.now();
        to.status({ state: 'open' });
        step();
        const reader = response.body?.getReader();
        for (;;) {
          const chunk = await live(reader?.read());
          if (!chunk || chunk.done) break;
          take(chunk.value, signal);
          const drained = to.drained?.();
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
        calls.tell(clock(), is.END);
      } else {
        clearTimeout(timer);
        refusal = { body: await live(beginning(response)) };
      }
    } catch (cause) {
      if (signal.aborted) return;
      refusal = { cause };
      calls.tell(clock(), failure);
    }
    step();
  };

  const take = (bytes: Uint8Array, signal: AbortSignal) => {
    lastByte = Date.now();
    const now = clock();
    for (const rows of core!.push(now, bytes)) {
      for (let row = 0; row + 3 < rows.length; row += 3) {
        const type = rows[row + 1];
        link.lastEventId = rows[row + 2];
        if (type !== is.NOTE) to.row(type || 'message', link.lastEventId, rows[row], now);
        else if (rows[row]) console.warn('An event was longer than the limit, and dropped');
        if (link.closed) return;
      }
      // A listener has asked for a new connection: the rest comes again.
      if (signal.aborted) return;
    }
    step();
  };

  const isElsewhere = () => {
    const { origin } = scope;
    return origin && [new URL(url).origin, link.origin || origin].some((other) => other !== origin);
  };

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
      if (!suspended) return;
      suspended = false;
      core!.calls.tell(clock(), is.ERROR);
      link.reconnect();
    });
    on(scope.document, 'visibilitychange', () => {
      if (scope.document.visibilityState !== 'visible' || suspended) return;
      const stalled = link.state === is.OPEN && idleTimeout && Date.now() - lastByte > idleTimeout;
      // Hidden pages have slow timers.
      if (stalled || (!link.state && !request)) link.reconnect();
    });
  };

  start();
  return link;
};

/** The URL with the id in its query, in place of one that is there. */
export const withId = (url: string, id: string) => {
  const parsed = new URL(url);
  const named = (pair: string) => new URLSearchParams(pair).has('lastEventId');
  const pairs = parsed.search.slice(1).split('&').filter((pair) => pair && !named(pair));
  parsed.search = [...pairs, 'lastEventId=' + encodeURIComponent(id)].join('&');
  return parsed.href;
};

/** `Retry-After` in milliseconds: it is a number of seconds, or a date. */
const retryAfter = ({ headers }: Response) => {
  const value = headers.get('Retry-After') ?? '';
  return /^\d+$/.test(value) ? +value * 1000 : Math.max(Date.parse(value) - Date.now(), 0);
};

const beginning = async ({ body }: Response) => {
  const reader = body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  const read = async () => {
    let piece;
    while (text.length < BODY && (piece = (await reader?.read())?.value)) text += piece;
  };
  await Promise.race([read().catch(() => {}), new Promise((late) => setTimeout(late, BODY_WITHIN))]);
  return text.slice(0, BODY);
};
