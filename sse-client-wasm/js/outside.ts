// What is otherwise outside browsers: no browser stands between a script and the network, and
// events are printed by functions that look behind a proxy.

import type { Targets } from './server-event.js';

/**
 * Whether `fetch` is a browser's. One that keeps `Cookie` from scripts also keeps from them where
 * a redirect leads, and asks other origins what they allow (CORS); no other platform does any of
 * it. What else there is says nothing: Cloudflare's workerd has an `origin`, jsdom a whole window.
 */
export const isBrowser = () => {
  try {
    return !new Request('http://localhost/', { headers: { Cookie: 'a' } }).headers.has('Cookie');
  } catch {
    return false;
  }
};

/** What is shown of an event, besides what scripts have given it. */
const SHOWN = ['type', 'data', 'lastEventId', 'origin', 'timeStamp'];

/**
 * Events that can be printed: the platforms' own way to print an event wants what it has inside.
 * The functions that print call a method of the proxy's target, some with the proxy for `this`.
 */
export const printable: Targets = (platform, traps) => {
  const { name, prototype } = platform;
  const isOwn = Object.hasOwn(new platform(''), 'isTrusted');
  const Shown = Object.defineProperty(class {}, 'name', { value: name });
  // Bun takes the name from here.
  Object.defineProperty(Shown.prototype, Symbol.toStringTag, { value: name });
  class Own {
    declare isTrusted: boolean;
    #state: any;

    constructor(state: any) {
      this.#state = state;
      if (isOwn) this.isTrusted = true;
    }

    static shown(own: any) {
      const state = #state in own ? own.#state : own;
      const shown: any = new Shown();
      for (const name of SHOWN) if (state[name] !== undefined) shown[name] = state[name];
      for (const name of Object.keys(own)) if (name !== 'isTrusted') shown[name] = own[name];
      return shown;
    }
  }
  Object.defineProperties(Object.setPrototypeOf(Own.prototype, prototype), {
    constructor: { value: platform },
    // Bun asks for it as well.
    [Symbol.for('nodejs.util.inspect.custom')]: { value(this: any) { return Own.shown(this); } },
    [Symbol.for('Deno.customInspect')]: {
      value(this: any, inspect: any, options: any) { return inspect(Own.shown(this), options); },
    },
  });
  traps.getPrototypeOf = () => prototype;
  return Own;
};
