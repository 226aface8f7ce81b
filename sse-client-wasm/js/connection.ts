// What an event source does with its connection and its clock. The session, in WebAssembly, decides;
// here it is done. What has arrived is told before the time is: a page that stood still must not take
// its own silence for the server's.

import * as core from './core';
import { Core } from './core';

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
  /** Headers, or a function that makes them for each request: then a 401 is answered with one more. */
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
  row(kind: number, type: string, lastEventId: string, data: string, time: number): void;
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
}

/** A longer chunk is decoded piece by piece. */
const PIECE = 1 << 16;
/** When a time limit has passed, the connection is looked at once more after so many milliseconds. */
const LOOK = 30;
/** Of a refusal's body, how many characters are kept, and how long they are waited for. */
const BODY = 4096, BODY_WITHIN = 1000;

const scope = globalThis as any;

export class Connection implements Link {
  url: string;
  lastEventId: string;
  /** Of the last response, after redirects. */
  origin = '';
  closed = false;
  #options: Internal;
  #to: Receiver;
  #core?: Core;
  #request?: AbortController;
  #timer?: any;
  #suspended = false;
  /** How long this connection's clock has stood still, and since when. */
  #lost = 0;
  /** By the wall clock, which goes on while the machine sleeps. */
  #lastByte = 0;
  #refusal: Pick<Status, 'body' | 'cause'> = {};
  #unlisten: (() => void)[] = [];

  constructor(url: string, options: Internal, to: Receiver) {
    this.url = url;
    this.lastEventId = options.lastEventId ?? '';
    this.#options = options;
    this.#to = to;
    this.#start();
  }

  get state(): number {
    return this.closed ? core.CLOSED : (this.#core?.calls.state() ?? 0);
  }

  get reconnectionTime(): number {
    return this.#core?.calls.reconnection_time() ?? NaN;
  }

  /** Connects anew, now. */
  reconnect() {
    if (this.#core && !this.closed) {
      this.#core.calls.reconnect(this.#now());
      this.#step();
    }
  }

  /** Ends it. Nothing is delivered after this. */
  close() {
    if (!this.closed) {
      this.#core?.calls.close();
      this.#end();
      this.#to.status({ state: 'closed', reason: 'by-caller' });
    }
  }

  #now() {
    return performance.now() - this.#lost;
  }

  async #start() {
    const { headers, policy, lastEventId, terminator = '', ...options } = this.#options;
    try {
      const made = await Core.make();
      if (this.closed) return;
      const flags =
        ['resilient', 'strict', 'once', 'resume'].indexOf(policy ?? 'resilient') |
        (typeof headers === 'function' ? core.FRESH_CREDENTIALS : 0) | (options.flags ?? 0);
      const id = lastEventId ? new TextEncoder().encode(lastEventId).length : -1;
      const length = made.write((lastEventId ?? '') + terminator);
      const { max_retry_time = 30000, idleTimeout = 45000, connectTimeout = 30000 } = options;
      made.calls.start(Math.random(), flags, max_retry_time, idleTimeout, connectTimeout, id, length - Math.max(id, 0));
      this.#core = made;
    } catch (cause) {
      if (this.closed) return;
      // Without WebAssembly there is nothing to try again.
      this.#end();
      return this.#to.status({ state: 'closed', reason: 'network', cause });
    }
    this.#listen();
    this.#step();
  }

  /** Does what the session says. */
  #step() {
    clearTimeout(this.#timer);
    if (this.#suspended || this.closed) return;
    const { calls } = this.#core!;
    let step = calls.step(this.#now());
    if ((step & 255) === core.CONNECT) {
      const [id] = this.#core!.read();
      this.#to.status({ state: 'connecting' });
      if (this.closed) return;
      this.#connect(id, !!(step & core.BY_GET));
      step = calls.step(this.#now());
    }
    const until = calls.until();
    const reason = calls.reason();
    const why = { reason: REASONS[reason & 255], code: reason >> 8 || undefined, ...this.#refusal };
    if (step === core.STOP) {
      this.#end();
      return this.#to.status({ state: 'closed', ...why });
    }
    if (until < Infinity) this.#wait(step, until, until - this.#now());
    if (step === core.SLEEP && this.#request) {
      this.#drop();
      this.#to.status({ state: 'waiting', nextRetry: Date.now() + until - this.#now(), ...why });
    }
  }

  #wait(step: number, until: number, time: number, look = step === core.READ) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (look && this.#now() >= until) this.#wait(step, until, LOOK, false);
      else this.#step();
    }, Math.min(Math.max(Math.ceil(time), 0), 0x7fffffff));
  }

  #drop() {
    const request = this.#request;
    this.#request = undefined;
    request?.abort();
  }

  #end() {
    this.closed = true;
    clearTimeout(this.#timer);
    this.#drop();
    for (const unlisten of this.#unlisten.splice(0)) unlisten();
  }

  async #connect(id: string, byGet: boolean) {
    this.#drop();
    const request = (this.#request = new AbortController());
    const { signal } = request;
    const { headers: given, method, body, withCredentials } = this.#options;
    const { calls } = this.#core!;
    this.#refusal = {};
    try {
      let headers: Headers;
      try {
        const attempt = { lastEventId: id };
        headers = new Headers(typeof given === 'function' ? await given(attempt) : given);
      } catch (cause) {
        if (signal.aborted) return;
        this.#refusal = { cause };
        calls.unsent(this.#now());
        return this.#step();
      }
      if (signal.aborted) return;
      let { url } = this;
      if (!headers.has('Accept')) headers.set('Accept', 'text/event-stream');
      // Another origin would have to allow the header first, and most do not.
      if (id && this.#isElsewhere()) url = withId(url, id);
      else if (id) headers.set('Last-Event-ID', String.fromCharCode(...new TextEncoder().encode(id)));
      const response = await (this.#options.fetch ?? fetch)(url, {
        method: byGet ? 'GET' : method,
        body: byGet ? null : body,
        headers,
        signal,
        cache: 'no-store',
        credentials: withCredentials ? 'include' : 'same-origin',
      });
      if (signal.aborted) return;
      if (response.url) this.origin = new URL(response.url).origin;
      const type = response.headers.get('Content-Type');
      const length = type === null ? -1 : this.#core!.write(type);
      calls.response(this.#now(), response.status, retryAfter(response), length);
      if (calls.state() === core.OPEN) {
        this.#lastByte = Date.now();
        this.#to.status({ state: 'open' });
        this.#step();
        const reader = response.body?.getReader();
        for (;;) {
          const chunk = await reader?.read();
          if (signal.aborted) return;
          if (!chunk || chunk.done) break;
          this.#chunk(chunk.value, signal);
          const drained = this.#to.drained?.();
          if (drained) await this.#stand(drained);
          if (signal.aborted) return;
        }
        calls.end(this.#now());
      } else {
        clearTimeout(this.#timer);
        this.#refusal = { body: await beginning(response) };
        if (signal.aborted) return;
      }
    } catch (cause) {
      if (signal.aborted) return;
      this.#refusal = { cause };
      calls.error(this.#now());
    }
    this.#step();
  }

  /** Stands still until there is room, and the clock with it. */
  async #stand(drained: Promise<void>) {
    const since = performance.now();
    clearTimeout(this.#timer);
    await drained;
    this.#lost += performance.now() - since;
    this.#step();
  }

  #chunk(bytes: Uint8Array, signal: AbortSignal) {
    this.#lastByte = Date.now();
    const made = this.#core!;
    const now = this.#now();
    for (let at = 0; at < bytes.length; at += PIECE) {
      made.calls.push(now, made.write(bytes.subarray(at, at + PIECE)));
      const [text, table] = made.read();
      const { length } = table;
      let start = 0;
      for (let row = 0; row + 4 <= length; row += 4) {
        const kind = table[row], type = table[row + 1], id = table[row + 2], data = table[row + 3];
        if (kind !== core.COMMENT && kind !== core.TOO_LONG) this.lastEventId = text.slice(type, id);
        this.#to.row(kind, text.slice(start, type), this.lastEventId, text.slice(id, data), now);
        start = data;
        if (this.closed) return;
      }
      this.lastEventId = text.slice(start);
      // A listener has asked for a new connection: the rest comes again.
      if (signal.aborted) return;
    }
    this.#step();
  }

  #isElsewhere() {
    const { origin } = scope;
    const target = this.origin || new URL(this.url).origin;
    return origin !== undefined && (target !== origin || new URL(this.url).origin !== origin);
  }

  /** Pages come and go, and networks too. */
  #listen() {
    if (this.#options.policy === 'once' || !scope.addEventListener) return;
    const on = (target: EventTarget, type: string, then: () => void) => {
      target.addEventListener(type, then);
      this.#unlisten.push(() => target.removeEventListener(type, then));
    };
    const anew = () => {
      // What is under way belongs to the network that was.
      if (!this.state) this.#core!.calls.error(this.#now());
      this.reconnect();
    };
    on(scope, 'online', anew);
    if (!scope.document) return;
    on(scope, 'pagehide', () => {
      this.#suspended = true;
      clearTimeout(this.#timer);
      this.#drop();
    });
    on(scope, 'pageshow', () => {
      if (!this.#suspended) return;
      this.#suspended = false;
      this.#core!.calls.error(this.#now());
      this.reconnect();
    });
    on(scope.document, 'visibilitychange', () => {
      if (scope.document.visibilityState !== 'visible' || this.#suspended) return;
      const { idleTimeout = 45000 } = this.#options;
      const stalled = this.state === core.OPEN && idleTimeout && Date.now() - this.#lastByte > idleTimeout;
      // Hidden pages have slow timers.
      if (stalled || (!this.state && !this.#request)) this.reconnect();
    });
  }
}

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

const beginning = async (response: Response) => {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = '';
  const read = async () => {
    while (text.length < BODY) {
      const { done, value } = (await reader?.read()) ?? { done: true };
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
  };
  const late = new Promise((resolve) => setTimeout(resolve, BODY_WITHIN));
  await Promise.race([read().catch(() => {}), late]);
  return text.slice(0, BODY);
};
