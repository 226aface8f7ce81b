// The surface: `EventSource` as pages know it, and `ReconnectingEventSource`.

import { CONTROL_EVENTS } from './core.js';
import {
  connect, type ConnectionOptions, type Internal, type Link, type Receiver, type Status,
} from './connection.js';
import type { AnyListener, ListenerOptions, PlatformSource, ServerMessageEvent } from './platform.js';
import { absolute, members } from './request.js';
import { dispatcher, stopped } from './server-event.js';

const scope = globalThis as any;

/** Told like any exception that nobody catches, and nobody else suffers. */
const report: (error: unknown) => void =
  scope.reportError ?? ((error: unknown) => queueMicrotask(() => { throw error; }));

/** Runs what is not ours. */
export const run = (foreign: () => unknown) => {
  try {
    foreign();
  } catch (error) {
    report(error);
  }
};

const asEvent = dispatcher(Event);
const asMessage = dispatcher(scope.MessageEvent ?? Event);

interface Listener {
  callback: any;
  capture: boolean;
  once?: boolean;
  gone?: boolean;
}

export interface SourceOptions extends ConnectionOptions {
  /** Of the library `reconnecting-eventsource`; ignored. */
  eventSourceClass?: unknown;
}

/** The events `open` and `error` of ours. */
export interface StatusEvent extends Event {
  readonly status: Status;
}

export interface SourceEventMap {
  error: StatusEvent;
  message: ServerMessageEvent;
  open: StatusEvent;
}

/**
 * Handlers are read as `lib.dom` has them, so that a source can be given where the platform's is
 * wanted, and set with the events that they get here.
 */
export interface EventSource {
  get onopen(): ((this: PlatformSource, event: Event) => any) | null;
  set onopen(handler: ((this: EventSource, event: StatusEvent) => any) | null);
  get onmessage(): ((this: PlatformSource, event: MessageEvent) => any) | null;
  set onmessage(handler: ((this: EventSource, event: ServerMessageEvent) => any) | null);
  get onerror(): ((this: PlatformSource, event: Event) => any) | null;
  set onerror(handler: ((this: EventSource, event: StatusEvent) => any) | null);
}

/** A source; in place of the browser's own. Any answer but an event stream is final. */
export class EventSource extends EventTarget {
  declare static readonly CONNECTING: 0;
  declare static readonly OPEN: 1;
  declare static readonly CLOSED: 2;
  /** Reads a stream of bytes that is already there. Its end is the end of the source. */
  declare static fromReadableStream: (stream: ReadableStream<ArrayBufferLike | ArrayBufferView>, options?: StreamOptions) => EventSource;
  declare readonly CONNECTING: 0;
  declare readonly OPEN: 1;
  declare readonly CLOSED: 2;
  /** Gets each event of the server, whatever its type, before the listeners of its type. */
  declare onevent: ((this: EventSource, event: ServerMessageEvent) => any) | null;
  /** Is told when the state changes, and why. */
  declare onstatus: ((this: EventSource, status: Status) => any) | null;
  #url: string;
  #withCredentials: boolean;
  #status: Status = { state: 'connecting' };
  #link: Link;
  #listeners = new Map<string, Listener[]>();
  #handlers: Record<string, any> = {};

  constructor(url: string | URL, options?: SourceOptions | null);
  constructor(
    url: string | URL,
    given: Internal | null = {},
    make: (url: string, options: Internal, to: Receiver) => Link = connect,
  ) {
    if (!arguments.length) throw new TypeError('a URL is required');
    super();
    const options = { flags: CONTROL_EVENTS, usually: 'strict', ...members(given) };
    try {
      this.#url = absolute(url).href;
    } catch {
      throw new DOMException(`"${url}" is not a URL`, 'SyntaxError');
    }
    this.#withCredentials = !!options.withCredentials;
    this.#link = make(this.#url, options, {
      row: (type, id, data, time) => this.#deliver(type, id, data, time),
      status: (status) => this.#change(status),
    });
  }

  get url(): string {
    return this.#url;
  }

  get withCredentials(): boolean {
    return this.#withCredentials;
  }

  /** 0: connecting, 1: open, 2: closed. */
  get readyState(): number {
    return this.#link.state;
  }

  /** Where it stands, and why. */
  get status(): Status {
    return this.#status;
  }

  /** The id to continue from, for who wants to store it. */
  get lastEventId(): string {
    return this.#link.lastEventId;
  }

  /** The reconnection time that the server has set, in milliseconds. */
  get reconnectionTime(): number {
    return this.#link.reconnectionTime;
  }

  close(): void {
    this.#link.close();
  }

  /** Connects anew, now, and continues from the last event ID. */
  reconnect(): void {
    this.#link.reconnect();
  }

  addEventListener<K extends keyof SourceEventMap>(
    type: K, listener: (this: EventSource, event: SourceEventMap[K]) => any, options?: ListenerOptions,
  ): void;
  addEventListener(
    type: string, listener: (this: EventSource, event: MessageEvent) => any, options?: ListenerOptions,
  ): void;
  addEventListener(type: string, listener: AnyListener | null, options?: ListenerOptions): void;
  addEventListener(type: string, callback: any, options?: ListenerOptions): void {
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

  removeEventListener<K extends keyof SourceEventMap>(
    type: K, listener: (this: EventSource, event: SourceEventMap[K]) => any, options?: ListenerOptions,
  ): void;
  removeEventListener(
    type: string, listener: (this: EventSource, event: MessageEvent) => any, options?: ListenerOptions,
  ): void;
  removeEventListener(type: string, listener: AnyListener | null, options?: ListenerOptions): void;
  removeEventListener(type: string, callback: any, options?: ListenerOptions): void {
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
    const { stopImmediatePropagation } = event;
    event.stopImmediatePropagation = () => {
      stopped.add(event);
      stopImmediatePropagation.call(event);
    };
    this.#fire(event);
    delete event.stopImmediatePropagation;
  };

  #fire(event: any, isMessage?: boolean) {
    const { type } = event;
    for (const one of this.#listeners.get(type) ?? []) {
      if (one.gone) continue;
      if (one.once) this.#remove(type, (other) => other === one);
      const { callback } = one;
      run(() => (typeof callback === 'function' ? callback.call(this, event) : callback.handleEvent(event)));
      // After `close` nothing is delivered, not even the rest of this.
      if (stopped.has(event) || (isMessage && this.#link.closed)) break;
    }
  }

  #deliver(type: string, lastEventId: string, data: string, timeStamp: number) {
    const { onevent } = this;
    if (!onevent && !this.#listeners.get(type)?.length) return;
    const { origin } = this.#link;
    asMessage(
      {
        eventPhase: 2, type, data, lastEventId, origin, timeStamp,
        target: this, currentTarget: this, srcElement: this,
      },
      (event) => {
        run(() => onevent?.call(this, event));
        if (!this.#link.closed) this.#fire(event, true);
      },
    );
  }

  #change(status: Status) {
    const { state } = (this.#status = status);
    run(() => this.onstatus?.(status));
    // Who closes needs no telling.
    if (state === 'connecting' || status.reason === 'by-caller') return;
    asEvent(
      {
        eventPhase: 2, type: state === 'open' ? 'open' : 'error', timeStamp: performance.now(),
        target: this, currentTarget: this, srcElement: this,
      },
      (event) => this.#fire(Object.assign(event, { status })),
    );
  }

  static {
    const { prototype } = this;
    for (const [name, value] of [['CONNECTING', 0], ['OPEN', 1], ['CLOSED', 2]] as const) {
      for (const on of [this, prototype]) Object.defineProperty(on, name, { value, enumerable: true });
    }
    for (const type of ['open', 'message', 'error', 'event', 'status']) {
      const name = 'on' + type;
      const isOurs = type[1] === 'v' || type[1] === 't';
      // So these functions get the names that they should have.
      const accessor = Object.getOwnPropertyDescriptor({
        get [name]() { return (this as any as EventSource).#handlers[type] ?? null; },
        set [name](handler: unknown) {
          const source = this as any as EventSource;
          const handlers = source.#handlers;
          const call = (handlers[name] ??= (event: any) => handlers[type].call(source, event));
          handlers[type] = typeof handler === 'function' ? handler : null;
          // One that comes after none is the last of all; one in another's place has its place.
          if (!isOurs) source[handlers[type] ? 'addEventListener' : 'removeEventListener'](type, call);
        },
      }, name)!;
      Object.defineProperty(prototype, name, { ...accessor, enumerable: !isOurs });
    }
    // As far as the platform's has them.
    for (const name of ['url', 'withCredentials', 'readyState', 'close', 'addEventListener', 'removeEventListener']) {
      Object.defineProperty(prototype, name, { enumerable: true });
    }
    // Tools make it short.
    for (const [on, key] of [[this, 'name'], [prototype, Symbol.toStringTag]] as const) {
      Object.defineProperty(on, key, { value: 'EventSource', configurable: true });
    }
  }
}

/** What the stream of a source is, and what it is told with. */
export interface StreamOptions extends Pick<SourceOptions, 'lastEventId' | 'idleTimeout' | 'maxEventLength'> {
  /** Where the stream comes from; `about:event-stream`, if it is not said. */
  url?: string | URL;
  /** The origin of its events; by default that of the URL. */
  origin?: string;
  /** What the reconnection time is until the stream sets it. */
  reconnectionTime?: number;
}

/** In place of the library of this name: tries again after all that may pass. */
export class ReconnectingEventSource extends EventSource {
  constructor(url: string | URL, options?: SourceOptions | null, ...more: unknown[]) {
    // @ts-expect-error What is more is ours.
    super(url, { usually: 'resilient', ...members(options) }, ...more);
  }

  // Tools make the names of classes short; and they leave out what nobody uses, if it calls nothing
  // to be made.
  static name = 'ReconnectingEventSource';
  get [Symbol.toStringTag]() { return 'ReconnectingEventSource'; }
}
