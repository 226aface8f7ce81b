// The surface: `EventSource` as pages know it, and `ReconnectingEventSource`.

import { CONTROL_EVENTS } from './core';
import {
  connect, type ConnectionOptions, type Internal, type Link, type Receiver, type Status,
} from './connection';

const scope = globalThis as any;

/** Told like any exception that nobody catches, and nobody else suffers. */
const report: (error: unknown) => void =
  scope.reportError ?? ((error: unknown) => queueMicrotask(() => { throw error; }));

/** Runs what is not ours. */
const run = (foreign: () => void) => {
  try {
    foreign();
  } catch (error) {
    report(error);
  }
};

/**
 * An event that the server has sent: a `MessageEvent` to all who look at it. Making the browser's
 * own takes a hundred times as long, and is what makes its `EventSource` slow; only `dispatchEvent`
 * of another target can tell them apart.
 */
class ServerEvent {
  // Fields of its own: what it inherits cannot be set.
  readonly type: string;
  readonly data: string;
  readonly lastEventId: string;
  readonly origin: string;
  readonly target: EventTarget;
  readonly timeStamp: number;
  declare stopped?: boolean;

  constructor(type: string, data: string, lastEventId: string, origin: string, target: EventTarget, time: number) {
    this.type = type;
    this.data = data;
    this.lastEventId = lastEventId;
    this.origin = origin;
    this.target = target;
    this.timeStamp = time;
  }

  get currentTarget() { return this.target; }
  get srcElement() { return this.target; }
  composedPath() { return [this.target]; }
  preventDefault() {}
  stopPropagation() {}
  stopImmediatePropagation() { this.stopped = true; }
}
Object.setPrototypeOf(ServerEvent.prototype, (scope.MessageEvent ?? Event).prototype);
// What is so of each of them.
for (const [name, value] of Object.entries({
  source: null, ports: [], isTrusted: true, eventPhase: 2, bubbles: false, cancelable: false, composed: false,
  defaultPrevented: false, cancelBubble: false, returnValue: true,
})) Object.defineProperty(ServerEvent.prototype, name, { value });

interface Listener {
  callback: any;
  capture: boolean;
  once?: boolean;
  gone?: boolean;
}

export interface SourceOptions extends ConnectionOptions {}

type Handler = ((this: SourceBase, event: any) => void) | null;

/** What both kinds of sources have in common. */
export class SourceBase extends EventTarget {
  declare static readonly CONNECTING: 0;
  declare static readonly OPEN: 1;
  declare static readonly CLOSED: 2;
  declare readonly CONNECTING: 0;
  declare readonly OPEN: 1;
  declare readonly CLOSED: 2;
  declare onopen: Handler;
  declare onmessage: Handler;
  declare onerror: Handler;
  /** Gets each event of the server, whatever its type, before the listeners of its type. */
  onevent: Handler = null;
  /** Is told when the state changes, and why. */
  onstatus: ((status: Status) => void) | null = null;
  declare readonly url: string;
  declare readonly withCredentials: boolean;
  /** Where it stands, and why. */
  status: Status = { state: 'connecting' };
  #connection: Link;
  #listeners = new Map<string, Listener[]>();
  #handlers: Record<string, Handler> = {};

  constructor(
    url: string | URL,
    options: Internal,
    make: (url: string, options: Internal, to: Receiver) => Link = connect,
  ) {
    super();
    const base = scope.document?.baseURI ?? scope.location?.href;
    try {
      this.url = new URL(url, base).href;
    } catch {
      throw new DOMException(`"${url}" is not a URL`, 'SyntaxError');
    }
    this.withCredentials = !!options.withCredentials;
    this.#connection = make(this.url, { flags: CONTROL_EVENTS, ...options }, {
      row: (type, id, data, time) => this.#deliver(type, id, data, time),
      status: (status) => this.#change(status),
    });
  }

  /** 0: connecting, 1: open, 2: closed. */
  get readyState(): number {
    return this.#connection.state;
  }

  /** The id to continue from, for who wants to store it. */
  get lastEventId(): string {
    return this.#connection.lastEventId;
  }

  /** The reconnection time that the server has set, in milliseconds. */
  get reconnectionTime(): number {
    return this.#connection.reconnectionTime;
  }

  close() {
    this.#connection.close();
  }

  /** Connects anew, now, and continues from the last event ID. */
  reconnect() {
    this.#connection.reconnect();
  }

  addEventListener(type: string, callback: any, options?: boolean | AddEventListenerOptions) {
    if (!callback) return;
    const { capture = false, once, signal } = typeof options === 'object' ? options ?? {} : { capture: !!options };
    if (signal?.aborted) return;
    type = `${type}`;
    const all = this.#listeners.get(type) ?? [];
    // Events that others dispatch come this way.
    if (!all.length) super.addEventListener(type, this.#foreign);
    if (all.some((other) => other.callback === callback && other.capture === capture)) return;
    this.#listeners.set(type, [...all, { callback, capture, once }]);
    signal?.addEventListener('abort', () => this.removeEventListener(type, callback, capture));
  }

  removeEventListener(type: string, callback: any, options?: boolean | EventListenerOptions) {
    const capture = !!(typeof options === 'object' ? options?.capture : options);
    this.#remove(`${type}`, (one) => one.callback === callback && one.capture === capture);
  }

  #remove(type: string, is: (listener: Listener) => boolean) {
    const all = this.#listeners.get(type) ?? [];
    for (const one of all) if (is(one)) one.gone = true;
    // A new list: the old one may be in use.
    this.#listeners.set(type, all.filter((one) => !one.gone));
  }

  #foreign = (event: any) => {
    event.stopImmediatePropagation = () => { event.stopped = true; };
    this.#fire(event);
  };

  #fire(event: any) {
    const { type } = event;
    for (const one of this.#listeners.get(type) ?? []) {
      if (one.gone) continue;
      if (one.once) this.#remove(type, (other) => other === one);
      const { callback } = one;
      run(() => (typeof callback === 'function' ? callback.call(this, event) : callback.handleEvent(event)));
      // After `close` nothing is delivered, not even the rest of this.
      if (event.stopped || (this.#connection.closed && event instanceof ServerEvent)) break;
    }
  }

  #deliver(type: string, id: string, data: string, time: number) {
    if (!this.onevent && !this.#listeners.get(type)?.length) return;
    const event = new ServerEvent(type, data, id, this.#connection.origin, this, time);
    run(() => this.onevent?.(event));
    if (!this.#connection.closed) this.#fire(event);
  }

  #change(status: Status) {
    const { state } = (this.status = status);
    run(() => this.onstatus?.(status));
    // Who closes needs no telling.
    if (state === 'connecting' || status.reason === 'by-caller') return;
    const event = new Event(state === 'open' ? 'open' : 'error');
    this.dispatchEvent(Object.assign(event, { status }));
  }

  static {
    const { prototype } = this;
    for (const [name, value] of [['CONNECTING', 0], ['OPEN', 1], ['CLOSED', 2]] as const) {
      for (const on of [this, prototype]) Object.defineProperty(on, name, { value, enumerable: true });
    }
    for (const type of ['open', 'message', 'error']) {
      Object.defineProperty(prototype, 'on' + type, {
        get(this: SourceBase) { return this.#handlers[type] ?? null; },
        set(this: SourceBase, handler: unknown) {
          if (!(type in this.#handlers)) {
            this.addEventListener(type, (event: Event) => this.#handlers[type]?.call(this, event));
          }
          this.#handlers[type] = typeof handler === 'function' ? (handler as Handler) : null;
        },
        enumerable: true,
        configurable: true,
      });
    }
  }
}

/** In place of the library of this name: tries again after all that may pass. */
export class ReconnectingEventSource extends SourceBase {
  constructor(url: string | URL, options: SourceOptions = {}) {
    super(url, options);
  }
}
