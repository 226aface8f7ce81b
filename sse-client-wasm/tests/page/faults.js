// The faults of the two libraries that this one replaces: each must not come back.

import { ReconnectingEventSource } from '/package/external.js';
import {
  QUICK, STREAM, ends, equal, keep, log, next, ok, other, refuses, serve, stays, test, until,
} from '/page/tests.js';

const source = (url, options) => keep(new ReconnectingEventSource(url, { ...QUICK, ...options }));
/** Long enough for a second request, if there were one: the longest delay is far shorter. */
const aWhile = () => new Promise((resolve) => setTimeout(resolve, 700));

test('an id is remembered whatever listens, also one without data', async () => {
  for (const listen of [
    (source) => { source.onmessage = () => {}; },
    (source) => source.addEventListener('other', () => {}),
    () => {},
  ]) {
    const url = await serve(ends('id: 1\ndata: a\n\nid: 7\n\n'), stays());
    listen(source(url));
    const [, second] = await until('two requests', async () => {
      const all = await log(url);
      return all.length > 1 && all;
    });
    equal(second.headers['last-event-id'], '7');
  }
});

for (const [name, connection, reason, code] of [
  ['204', refuses('204 No Content'), 'status', 204],
  ['400', refuses('400 Bad Request'), 'status', 400],
  ['401', refuses('401 Unauthorized', 'who are you?'), 'status', 401],
  ['403', refuses('403 Forbidden'), 'status', 403],
  ['404', refuses('404 Not Found'), 'status', 404],
  ['a wrong type', refuses('200 OK\r\nContent-Type: text/html'), 'content-type', undefined],
  ['no type', refuses('200 OK'), 'content-type', undefined],
  [
    'stream-error',
    ends('event: stream-error\nid: error\ndata: {"condition": "forbidden", "text": "no"}\n\n'),
    'stream-error', undefined,
  ],
]) {
  test(`${name} is final`, async () => {
    const url = await serve(connection);
    const es = source(url);
    let said;
    es.addEventListener('stream-error', ({ data }) => { said = JSON.parse(data).condition; });
    const error = await next(es, 'error');
    equal(es.readyState, 2);
    equal(es.status.reason, reason);
    equal(es.status.code, code);
    equal(error.status, es.status);
    if (name === '401') equal(es.status.body, 'who are you?');
    if (reason === 'stream-error') equal(said, 'forbidden');
    await aWhile();
    equal((await log(url)).length, 1);
    equal(es.lastEventId, '');
  });
}

test('an id in the query replaces another and stays out of the fragment', async () => {
  const cors = `${STREAM}\r\nAccess-Control-Allow-Origin: *`;
  const local = await serve({ head: cors, body: ['id: a b&c\ndata: x\n\n'], end: 'close' }, { head: cors, body: [], end: 'hang' });
  source(local.replace(location.origin, other) + '?x=1&lastEventId=old&y=%20#part');
  const [first, second] = await until('two requests', async () => {
    const all = await log(local);
    return all.length > 1 && all;
  });
  ok(first.target.endsWith('?x=1&lastEventId=old&y=%20'), first.target);
  ok(second.target.endsWith('?x=1&y=%20&lastEventId=a%20b%26c'), second.target);
  equal(second.method, 'GET', 'no preflight');
  equal(second.headers['last-event-id'], undefined, 'not both');
});

test('onmessage and a listener each get an event once', async () => {
  const es = source(await serve(stays('data: a\n\ndata: b\n\n')));
  const found = [];
  es.onmessage = ({ data }) => found.push(`on ${data}`);
  es.addEventListener('message', ({ data }) => found.push(`listener ${data}`));
  await until('both', () => found.length >= 4);
  equal(found, ['on a', 'listener a', 'on b', 'listener b']);
});

test('an event named error changes no state, and any name works', async () => {
  const names = ['error', 'open', 'constructor', '__proto__', 'toString'];
  const es = source(await serve(stays(...names.map((name) => `event: ${name}\ndata: ${name}\n\n`))));
  const found = [];
  for (const name of names) {
    es.addEventListener(name, (event) => 'data' in event && found.push([name, event.data, es.readyState]));
  }
  await until('all', () => found.length === names.length);
  equal(found, names.map((name) => [name, name, 1]));
});

test('a listener that throws takes nothing from the others, and is reported', async () => {
  const es = source(await serve(stays('data: a\n\ndata: b\n\n')));
  const reported = [];
  const note = (event) => { reported.push(event.message); event.preventDefault(); };
  addEventListener('error', note);
  const found = [];
  es.onmessage = () => { throw new Error('first'); };
  es.addEventListener('message', { handleEvent({ data }) { found.push(data); } });
  await until('both', () => found.length === 2);
  removeEventListener('error', note);
  equal(found, ['a', 'b']);
  equal(reported.length, 2);
});

test('the first connection fails: onerror is told, and another is tried', async () => {
  const url = await serve({ end: 'reset' }, stays('data: a\n\n'));
  const es = source(url);
  let errors = 0;
  es.onerror = () => { errors += 1; equal(es.readyState, 0); equal(es.status.reason, 'network'); };
  await next(es, 'message');
  equal(errors, 1);
});

test('it is an event target, and events are message events of it', async () => {
  const url = await serve(stays('id: 5\ndata: a\n\n'));
  const es = source(url.replace(location.origin, ''), { withCredentials: true });
  equal(es.url, url);
  equal(es.withCredentials, true);
  equal(source(url).withCredentials, false);
  ok(es instanceof EventTarget, 'an EventTarget');
  let current;
  es.onmessage = ({ currentTarget }) => { current = currentTarget; };
  const event = await next(es, 'message');
  ok(event instanceof MessageEvent, 'a MessageEvent');
  ok(event instanceof Event, 'an Event');
  ok(event.target === es && current === es, 'of the source');
  equal([event.type, event.data, event.lastEventId, event.origin], ['message', 'a', '5', location.origin]);
  const own = new Event('own');
  const got = next(es, 'own');
  ok(es.dispatchEvent(own), 'not prevented');
  ok((await got) === own && own.target === es, 'dispatched');
});

test('silence is noticed, and headers that never come', async () => {
  for (const [options, connection, reason] of [
    [{ idleTimeout: 200 }, stays('id: 3\ndata: a\n\n'), 'idle-timeout'],
    [{ connectTimeout: 200 }, { end: 'hang' }, 'connect-timeout'],
  ]) {
    const url = await serve(connection, stays('data: b\n\n'));
    const es = source(url, options);
    const reasons = [];
    es.onstatus = ({ state, reason }) => state === 'waiting' && reasons.push(reason);
    await until('another connection', async () => (await log(url)).length > 1);
    equal(reasons[0], reason);
  }
});

test('nothing is retried in a tight loop, whatever the server asks for', async () => {
  const url = await serve(ends('retry: 0\ndata: a\n\n'));
  source(url);
  const all = await until('four requests', async () => {
    const all = await log(url);
    return all.length > 3 && all;
  });
  const gaps = all.slice(1).map(({ at }, index) => at - all[index].at);
  ok(gaps.every((gap) => gap >= 240), `${gaps} ms`);
});
