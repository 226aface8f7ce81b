// Events that are, to every script that looks at them, the platform's own: `MessageEvent`s that the
// browser trusts. Making the browser's takes forty times as long, and is what makes its
// `EventSource` slow. So each event is a proxy: what it has is here, and what it is, it takes from
// an event that the browser has made once.

/** Those whose `stopImmediatePropagation` has been called. */
export const stopped = new WeakSet<object>();

/** What is so of each of them, in place of what an event is that nobody has dispatched. */
const COMMON: any = {
  isTrusted: true,
  source: null,
  ports: Object.freeze([]),
  composedPath(this: Event) { return this.currentTarget ? [this.currentTarget] : []; },
  initEvent() {},
  initMessageEvent() {},
  preventDefault() {},
  stopPropagation() {},
  stopImmediatePropagation(this: Event) { stopped.add(this); },
};

/** What the proxies of an interface's events stand for, which is made with the event's state. */
export type Targets = (platform: typeof Event, traps: ProxyHandler<any>) => new (state: any) => object;

let targets: Targets = (platform) => {
  // In browsers each has this of its own.
  const isOwn = Object.hasOwn(new platform(''), 'isTrusted');
  function Own(this: any) { if (isOwn) this.isTrusted = true; }
  Own.prototype = platform.prototype;
  return Own as any;
};

export const standFor = (others: Targets) => {
  targets = others;
};

/**
 * What dispatches events of an interface: an event with this state, besides `COMMON`, is used,
 * and is none that is being dispatched any more.
 */
export const dispatcher = (platform: typeof Event) => {
  const sample: any = new platform('');
  let Own: ReturnType<Targets>;
  const { hasOwn } = Object;
  // A class, as engines are quick with those: this runs for each property of each event.
  class Look {
    declare state: any;

    constructor(state: any) {
      this.state = state;
    }

    get(own: any, name: PropertyKey) {
      const { state } = this;
      return (hasOwn(state, name) ? state : hasOwn(COMMON, name) ? COMMON : hasOwn(own, name) ? own : sample)[name];
    }

    set(own: any, name: PropertyKey, value: unknown) {
      // These have setters, which would want an event of the platform's. Here they do nothing.
      return name === 'cancelBubble' || name === 'returnValue' || Reflect.set(own, name, value);
    }
  }
  return (state: any, use: (event: any) => void) => {
    use(new Proxy(new (Own ??= targets(platform, Look.prototype as any))(state), new Look(state)));
    state.currentTarget = null;
    state.eventPhase = 0;
  };
};
