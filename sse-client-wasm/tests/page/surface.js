// That a source, and its events, are to a script what the platform's are: as the tests of
// interfaces in web-platform-tests (idlharness) look at them.

import { EventSource, ReconnectingEventSource, SharedEventSource } from '/package/external.js';
import { QUICK, equal, keep, ok, refuses, serve, stays, test, until } from '/page/tests.js';

const native = globalThis.EventSource;
const throws = (run, kind = TypeError) => {
  try {
    run();
  } catch (error) {
    ok(error instanceof kind, error);
    return;
  }
  throw new Error(`${run} does not throw`);
};
const flags = ({ writable, enumerable, configurable }) => [writable, enumerable, configurable];
const describe = (on, name) => {
  const found = Object.getOwnPropertyDescriptor(on, name);
  if (!found) return;
  const of = (one) => one && [typeof one, one.name, one.length];
  return [flags(found), of(found.get), of(found.set), typeof found.value, found.value?.length];
};

test('members, their names and their descriptors are those of the platform', () => {
  for (const name of Object.getOwnPropertyNames(native.prototype)) {
    equal(describe(EventSource.prototype, name), describe(native.prototype, name), name);
  }
  for (const name of Object.getOwnPropertyNames(native)) {
    equal(describe(EventSource, name), describe(native, name), `static ${name}`);
  }
  equal(describe(EventSource.prototype, Symbol.toStringTag), describe(native.prototype, Symbol.toStringTag));
  equal(Object.getPrototypeOf(EventSource) === EventTarget, true);
  equal(Object.getPrototypeOf(EventSource.prototype) === EventTarget.prototype, true);
});

test('a source has what it has by its prototype', async () => {
  const url = await serve(stays());
  const [ours, theirs] = [keep(new EventSource(url)), keep(new native(url))];
  equal(Object.getPrototypeOf(ours) === EventSource.prototype, true);
  equal(Object.getOwnPropertyNames(ours), Object.getOwnPropertyNames(theirs));
  const all = (source) => { const names = []; for (const name in source) names.push(name); return names.sort(); };
  equal(all(ours), all(theirs));
  equal(String(ours), '[object EventSource]');
  equal(String(keep(new ReconnectingEventSource(url))), '[object ReconnectingEventSource]');
  for (const kind of [ReconnectingEventSource, SharedEventSource]) equal(keep(new kind(url)) instanceof EventSource, true);
  equal([ReconnectingEventSource.name, SharedEventSource.name], ['ReconnectingEventSource', 'SharedEventSource']);
});

test('members want a source, and constructors an argument', () => {
  for (const name of ['url', 'withCredentials', 'readyState', 'onopen', 'onmessage', 'onerror']) {
    throws(() => EventSource.prototype[name]);
    const { get, set } = Object.getOwnPropertyDescriptor(EventSource.prototype, name);
    throws(() => get.call({}));
    if (set) throws(() => set.call({}, null));
  }
  throws(() => EventSource.prototype.close.call({}));
  throws(() => EventSource('/'));
  throws(() => new EventSource());
  throws(() => new EventSource('http://['), DOMException);
  keep(new EventSource('/nothing', null));
});

test('handlers are functions or null', async () => {
  const source = keep(new EventSource(await serve(stays())));
  equal([source.onopen, source.onmessage, source.onerror, source.onevent, source.onstatus], [null, null, null, null, null]);
  const handler = () => {};
  source.onmessage = handler;
  equal(source.onmessage === handler, true);
  source.onmessage = 5;
  equal(source.onmessage, null);
});

/** What an event is while it is dispatched. */
const look = (event) => {
  const found = {};
  for (const name in event) {
    const value = event[name];
    const isOfThisOne = ['timeStamp', 'target', 'currentTarget', 'srcElement'].includes(name);
    found[name] = isOfThisOne || typeof value === 'function' ? typeof value : value;
  }
  return {
    found,
    own: Object.getOwnPropertyNames(event),
    json: JSON.stringify(event),
    path: event.composedPath().length,
    text: String(event),
  };
};

for (const [type, connection] of [['message', stays('id: 5\ndata: a\n\n')], ['open', stays()], ['error', refuses('404 Not Found')]]) {
  test(`an event is one of the platform: ${type}`, async () => {
    const url = await serve(connection);
    const looked = [];
    for (const kind of [EventSource, native]) {
      const source = keep(new kind(url));
      const [event, seen] = await new Promise((resolve) => {
        source.addEventListener(type, (event) => {
          // This is ours.
          if (kind === EventSource && type !== 'message') equal(delete event.status, true);
          ok(event.target === source && event.currentTarget === source, 'it is of the source');
          resolve([event, look(event)]);
        }, { once: true });
      });
      await new Promise((resolve) => setTimeout(resolve));
      equal([event.eventPhase, event.currentTarget, event.composedPath().length], [0, null, 0], 'afterwards');
      looked.push(seen);
      const platform = type === 'message' ? MessageEvent : Event;
      equal(event.constructor === platform && Object.getPrototypeOf(event) === platform.prototype, true);
      const copy = new platform(event.type, event);
      equal([copy.type, copy.data, copy.lastEventId, copy.origin], [event.type, event.data, event.lastEventId, event.origin]);
      event.mine = 1;
      equal([event.mine, Object.keys(event)], [1, ['isTrusted', 'mine']]);
      event.cancelBubble = true;
      event.preventDefault();
      equal(event.defaultPrevented, false);
      throws(() => { 'use strict'; event.type = 'other'; });
      source.close();
    }
    equal(looked[0], looked[1]);
  });
}

test('an event keeps what it was given, and no other has it', async () => {
  const source = keep(new ReconnectingEventSource(await serve(stays('data: a\n\ndata: b\n\n')), QUICK));
  const found = [];
  source.onmessage = (event) => {
    found.push(event);
    event.note ??= event.data;
  };
  await until('both', () => found.length === 2);
  equal(found.map(({ data, note }) => data + note), ['aa', 'bb']);
});
