// Events that are, to every script that looks at them, the platform's own: `MessageEvent`s that the
// browser trusts. Making the browser's takes forty times as long, and is what makes its
// `EventSource` slow. So each event is a proxy: what it has is here, and what it is, it takes from
// an event that the browser has made once.

/** Those whose `stopImmediatePropagation` has been called. */
export const stopped = new WeakSet<object>();

/** What is so of each of them, in place of what an event is that nobody has dispatched. */
export const COMMON: any = {
  __proto__: null,
  isTrusted: true,
  eventPhase: 2,
  source: null,
  ports: Object.freeze([]),
  composedPath(this: Event) { return this.currentTarget ? [this.currentTarget] : []; },
  initEvent() {},
  initMessageEvent() {},
  preventDefault() {},
  stopPropagation() {},
  stopImmediatePropagation(this: Event) { stopped.add(this); },
};

/**
 * What dispatches events of an interface: an event with this state, on top of `COMMON`, is used,
 * and is none that is being dispatched any more.
 */
export const dispatcher = (platform: typeof Event) => {
  const sample: any = new platform('');
  // In browsers each has this of its own.
  const isOwn = Object.hasOwn(sample, 'isTrusted');
  function Own(this: any) { if (isOwn) this.isTrusted = true; }
  Own.prototype = platform.prototype;
  const look = {
    get(this: any, own: any, name: PropertyKey) {
      const { state } = this;
      return name in state ? state[name] : Object.hasOwn(own, name) ? own[name] : sample[name];
    },
    set: (own: any, name: PropertyKey, value: unknown) =>
      // These have setters, which would want an event of the platform's. Here they do nothing.
      name === 'cancelBubble' || name === 'returnValue' || Reflect.set(own, name, value),
  };
  return (state: any, use: (event: any) => void) => {
    use(new Proxy(new (Own as any)(), { __proto__: look, state } as any));
    state.currentTarget = null;
    state.eventPhase = 0;
  };
};
