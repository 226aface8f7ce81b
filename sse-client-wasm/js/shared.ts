// One connection for all pages of an origin that ask for the same: browsers allow six to a host
// over HTTP/1.1, and each tab takes one. A worker has it that all pages share, if there is one.
// Otherwise a page has it, the one with the lock: it connects, and tells the others what comes.
// When it goes, the next one gets the lock, and continues from what it has seen.

import { connect, type Internal, type Link, type Receiver, type Status } from './connection.js';
import { ReconnectingEventSource, type SourceOptions } from './event-source.js';
import { Hub, type Ask, type Row, type Tell } from './hub.js';
import { origin, utf8 } from './request.js';

const scope = globalThis as any;

/** What a new leader waits for, in milliseconds: that what the last one has said has arrived. */
const SETTLED = 100;
/** How long the worker may take to answer. */
const PATIENCE = 5000;

const STATES = ['connecting', 'open', 'closed'];

let workerFile: URL | undefined;

/** Says where the worker is: the package's entry does so, if it has one. */
export const provideWorker = (url: URL) => {
  workerFile = url;
};

export interface SharedOptions extends SourceOptions {
  /**
   * Whose stream it is, such as a user's name: only those that say the same share a connection.
   * With headers that a function makes, with a body or a `fetch` of your own, nothing is shared
   * without.
   */
  share?: string;
  /** Where `shared-worker.js` of the package is; false: let a page have the connection. */
  worker?: string | URL | false;
}

/** What two requests have to agree in. Nothing, if that cannot be known. */
const request = (url: string, { lastEventId, share, worker, eventSourceClass, ...options }: Internal & SharedOptions) => {
  const { headers, fetch, request, body, ...plain } = options;
  const isMade = typeof headers === 'function' || fetch || request || body != null;
  if (isMade && share == null) return;
  return JSON.stringify([url, share, isMade ? [] : headers, Object.entries(plain).filter(([, value]) => value != null).sort()]);
};

/** A name for it that tells nobody what is in it. */
const digest = async (text: string) => {
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', Uint8Array.from(utf8(text), (byte) => byte.charCodeAt(0))));
  return btoa(String.fromCharCode(...bytes));
};

/** A way to those that have the connection, or a part in it. */
interface Channel {
  say(message: Ask | Tell): void;
  close(): void;
}

class Share implements Link {
  closed = false;
  origin = '';
  lastEventId: string;
  reconnectionTime = NaN;
  #url: string;
  #options: Internal & SharedOptions;
  #key: string;
  #to: Receiver;
  #status: Status = { state: 'connecting' };
  #me = Math.random().toString(36);
  /** Of the visit to this page; another one after it was kept aside. */
  #visit!: AbortController;
  #channel?: Channel;
  /** It takes part: what comes is for it. */
  #isIn = false;
  #hub?: Hub;
  /** A connection of its own, because the others' has left its position behind. */
  #alone?: Link;
  #worker: string | URL | false | undefined;
  #hide = () => this.#leave();
  #show = ({ persisted }: PageTransitionEvent) => persisted && this.#join();

  constructor(url: string, { worker = workerFile, ...options }: Internal & SharedOptions, key: string, to: Receiver) {
    this.#url = url;
    this.#options = options;
    this.#key = key;
    this.#to = to;
    // It can be handed no functions.
    const isPlain = !options.fetch && !options.request && typeof options.headers !== 'function' && options.body == null;
    this.#worker = scope.SharedWorker && isPlain && worker;
    this.lastEventId = `${options.lastEventId ?? ''}`;
    scope.addEventListener('pagehide', this.#hide);
    scope.addEventListener('pageshow', this.#show);
    this.#join();
  }

  get state(): number {
    return this.closed ? 2 : Math.max(STATES.indexOf(this.#status.state), 0);
  }

  reconnect() {
    const own = this.#alone ?? this.#hub?.connection;
    if (own) own.reconnect();
    else this.#channel?.say({ ask: 'reconnect' });
  }

  close() {
    if (this.closed) return;
    this.#end();
    this.#to.status({ state: 'closed', reason: 'by-caller' });
  }

  #end() {
    this.closed = true;
    this.#leave();
    scope.removeEventListener('pagehide', this.#hide);
    scope.removeEventListener('pageshow', this.#show);
  }

  /** Lets another lead. */
  #leave() {
    const { connection } = this.#hub ?? {};
    this.#hub = undefined;
    connection?.close();
    const alone = this.#alone;
    this.#alone = undefined;
    alone?.close();
    this.#visit.abort();
    this.#channel?.close();
    this.#channel = undefined;
    this.#isIn = false;
  }

  async #join() {
    const { signal } = (this.#visit = new AbortController());
    const name = 'sse-client ' + (await digest(this.#key));
    if (signal.aborted) return;
    if (this.#worker) this.#joinWorker(name, signal);
    else this.#joinPages(name, signal);
  }

  #joinWorker(name: string, signal: AbortSignal) {
    let port: MessagePort;
    const giveUp = () => {
      if (this.#isIn || this.#alone || signal.aborted) return;
      this.#worker = false;
      port?.close();
      this.#joinPages(name, signal);
    };
    try {
      const worker = new SharedWorker(this.#worker as string, 'sse-client');
      worker.onerror = giveUp;
      port = worker.port;
    } catch {
      return giveUp();
    }
    this.#channel = {
      say: (message) => port.postMessage(message),
      close: () => {
        port.postMessage({ leave: true });
        port.close();
      },
    };
    port.onmessage = ({ data }) => this.#hear(data);
    const { share, ...options } = this.#options;
    const plain = { ...options, lastEventId: this.lastEventId };
    port.postMessage({ open: name, url: this.#url, options: plain });
    this.#ask();
    setTimeout(giveUp, PATIENCE);
  }

  #joinPages(name: string, signal: AbortSignal) {
    const channel = new BroadcastChannel(name);
    channel.onmessage = ({ data }) => this.#hear(data);
    this.#channel = { say: (message) => channel.postMessage(message), close: () => channel.close() };
    this.#ask();
    const lead = async () => {
      await new Promise((resolve) => setTimeout(resolve, SETTLED));
      if (signal.aborted || this.#alone) return;
      this.#lead();
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    };
    // It is rejected when the wish is taken back.
    scope.navigator.locks.request(name, { signal }, lead).catch(() => {});
  }

  #ask() {
    this.#channel!.say({ join: this.#me, since: this.lastEventId });
  }

  #lead() {
    this.#isIn = true;
    this.#channel!.say({ lead: true });
    const hub: Hub = new Hub(this.#url, { ...this.#options, lastEventId: this.lastEventId }, (message) => {
      // Its own end is not that of the others.
      if (this.#hub !== hub && hub) return;
      this.#channel?.say(message);
      this.#hear(message);
    });
    this.#hub = hub;
  }

  #hear(message: Ask | Tell) {
    if (this.closed || this.#alone) return;
    if ('join' in message) {
      if (this.#hub) this.#channel?.say(this.#hub.welcome(message.join, message.since));
    } else if ('ask' in message) this.#hub?.connection.reconnect();
    else if ('lead' in message) {
      if (!this.#isIn) this.#ask();
    } else if ('welcome' in message) {
      if (message.welcome !== this.#me || this.#isIn) return;
      if (message.alone) return this.#goAlone();
      this.#isIn = true;
      this.#change(message.status, message.reconnectionTime);
      for (const row of message.rows) this.#take(row, message.origin, row[1]);
    } else if (!this.#isIn) {
      // It comes again with the welcome.
    } else if ('row' in message) this.#take(message.row, message.origin, message.lastEventId);
    else {
      this.#change(message.status, message.reconnectionTime);
    }
  }

  /** What this page has missed the others' connection cannot give. */
  #goAlone() {
    this.#visit.abort();
    this.#channel?.close();
    const alone = (this.#alone = connect(this.#url, { ...this.#options, lastEventId: this.lastEventId }, {
      row: (...row) => this.#take(row, alone.origin, alone.lastEventId),
      status: (status) => {
        if (this.#alone) this.#change(status, this.#alone.reconnectionTime);
      },
    }));
  }

  #take(row: Row, origin: string, lastEventId: string) {
    if (this.closed) return;
    this.origin = origin;
    this.lastEventId = lastEventId;
    this.#to.row(...row);
  }

  #change(status: Status, reconnectionTime: number) {
    this.reconnectionTime = reconnectionTime;
    if (status.state === this.#status.state && status.nextRetry === this.#status.nextRetry) return;
    this.#status = status;
    if (status.state === 'closed') this.#end();
    this.#to.status(status);
  }
}

/**
 * A `ReconnectingEventSource` that shares its connection with all pages of its origin that have one
 * for the same request. In insecure contexts, and outside browsers, each has its own.
 */
export class SharedEventSource extends ReconnectingEventSource {
  constructor(url: string | URL, options?: SharedOptions | null) {
    // Deno has all but an origin.
    const isPossible =
      origin && scope.navigator?.locks && scope.BroadcastChannel && scope.addEventListener && scope.crypto?.subtle;
    super(url, options, isPossible && ((url: string, given: Internal, to: Receiver): Link => {
      const { headers } = given;
      // They are a part of the key: what the caller changes later must not change them.
      const internal = typeof headers === 'function' ? given : { ...given, headers: [...new Headers(headers)] };
      const key = request(url, internal);
      return key ? new Share(url, internal, key, to) : connect(url, internal, to);
    }) || undefined);
  }

  static name = 'SharedEventSource';
  get [Symbol.toStringTag]() { return 'SharedEventSource'; }
}

