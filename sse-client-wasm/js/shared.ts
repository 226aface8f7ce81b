// One connection for all pages of an origin: browsers allow six to a host over HTTP/1.1, and each
// tab takes one. Who has the lock leads: it connects, and tells the others what comes. When it
// goes, the next one gets the lock, and continues from what it has seen.

import { connect, type Internal, type Link, type Receiver, type Status } from './connection';
import { SourceBase, type SourceOptions } from './event-source';

const scope = globalThis as any;

/** What a new leader waits for, in milliseconds: that what the last one has said has arrived. */
const SETTLED = 100;

type Message =
  | { row: Parameters<Receiver['row']>; origin: string; lastEventId: string }
  | { status: Status; reconnectionTime: number }
  | { ask: 'status' | 'reconnect' };

const STATES = ['connecting', 'open', 'closed'];

class Share implements Link {
  closed = false;
  origin = '';
  lastEventId: string;
  reconnectionTime = NaN;
  #url: string;
  #options: Internal;
  #to: Receiver;
  #name: string;
  #status: Status = { state: 'connecting' };
  #channel!: BroadcastChannel;
  #wish!: AbortController;
  #leading?: Link;
  #hide = () => this.#leave();
  #show = ({ persisted }: PageTransitionEvent) => persisted && this.#join();

  constructor(url: string, options: Internal, to: Receiver) {
    this.#url = url;
    this.#options = options;
    this.#to = to;
    this.#name = 'sse-client ' + url;
    this.lastEventId = options.lastEventId ?? '';
    scope.addEventListener('pagehide', this.#hide);
    scope.addEventListener('pageshow', this.#show);
    this.#join();
  }

  get state(): number {
    return this.closed ? 2 : Math.max(STATES.indexOf(this.#status.state), 0);
  }

  reconnect() {
    if (this.#leading) this.#leading.reconnect();
    else this.#say({ ask: 'reconnect' });
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

  #say(message: Message) {
    this.#channel.postMessage(message);
  }

  #join() {
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    const wish = (this.#wish = new AbortController());
    const { signal } = wish;
    this.#say({ ask: 'status' });
    const lead = async () => {
      await new Promise((resolve) => setTimeout(resolve, SETTLED));
      if (!signal.aborted) await this.#lead(signal);
    };
    // It is rejected when the wish is taken back.
    scope.navigator.locks.request(this.#name, { signal }, lead).catch(() => {});
  }

  /** Until it leaves. */
  #lead(signal: AbortSignal) {
    const options = { ...this.#options, lastEventId: this.lastEventId };
    const connection = (this.#leading = connect(this.#url, options, {
      row: (...row) => {
        const { origin, lastEventId } = connection;
        this.#say({ row, origin, lastEventId });
        this.#take(row, origin, lastEventId);
      },
      status: (status) => this.#tell(status),
    }));
    return new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
  }

  /** Lets another lead. */
  #leave() {
    const leading = this.#leading;
    this.#leading = undefined;
    leading?.close();
    this.#wish.abort();
    this.#channel.close();
  }

  #tell(status: Status) {
    // Its own end is not that of the others.
    if (!this.#leading || this.closed) return;
    const { reconnectionTime } = this.#leading;
    // What was thrown may be nothing that can be sent.
    const { cause, ...rest } = status;
    this.#say({ status: rest, reconnectionTime });
    this.#change(status, reconnectionTime);
  }

  #hear(message: Message) {
    if (this.closed) return;
    if ('ask' in message) {
      if (!this.#leading) return;
      if (message.ask === 'reconnect') return this.#leading.reconnect();
      const { cause, ...status } = this.#status;
      return this.#say({ status, reconnectionTime: this.reconnectionTime });
    }
    if (this.#leading) return;
    if ('row' in message) this.#take(message.row, message.origin, message.lastEventId);
    else this.#change(message.status, message.reconnectionTime);
  }

  #take(row: Parameters<Receiver['row']>, origin: string, lastEventId: string) {
    this.origin = origin;
    this.lastEventId = lastEventId;
    this.#to.row(...row);
  }

  #change(status: Status, reconnectionTime: number) {
    this.reconnectionTime = reconnectionTime;
    // A leader tells again where it stands whenever one more has come.
    if (status.state === this.#status.state && status.nextRetry === this.#status.nextRetry) return;
    this.#status = status;
    if (status.state === 'closed') this.#end();
    this.#to.status(status);
  }
}

/**
 * A `ReconnectingEventSource` that shares its connection with all pages of its origin that have one
 * for the same URL. Without Web Locks (an insecure origin) each has its own.
 */
export class SharedEventSource extends SourceBase {
  constructor(url: string | URL, options: SourceOptions = {}) {
    const alone = !scope.navigator?.locks || !scope.BroadcastChannel;
    super(url, options, alone ? undefined : (...args) => new Share(...args));
  }
}
