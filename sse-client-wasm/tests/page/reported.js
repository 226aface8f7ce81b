// What people who use clients have reported elsewhere, as far as a browser is needed to see it.

import { EventSource, EventsError, ReconnectingEventSource, SharedEventSource, events } from '/package/external.js';
import { QUICK, STREAM, coded, ends, equal, gzip, keep, log, next, ok, other, refuses, serve, stays, test, until, windowTest } from '/page/tests.js';

const source = (url, options) => keep(new ReconnectingEventSource(url, { ...QUICK, ...options }));
/** Long enough for a second request, if there were one: the longest delay is far shorter. */
const aWhile = () => new Promise((resolve) => setTimeout(resolve, 700));
const closed = (es) => until('the end', () => es.readyState === 2);

for (const type of [
  'text/event-stream, text/event-stream',
  'application/json, text/event-stream; charset=utf-8',
  'text/html\r\nContent-Type: text/event-stream',
]) {
  test(`the last type of several counts: ${JSON.stringify(type)}`, async () => {
    const es = source(await serve({ head: `200 OK\r\nContent-Type: ${type}`, body: ['data: a\n\n'], end: 'hang' }));
    equal((await next(es, 'message')).data, 'a');
  });
}

test('another type at the end is none', async () => {
  const es = source(await serve(refuses('200 OK\r\nContent-Type: text/event-stream, text/html')));
  await closed(es);
  equal(es.status.reason, 'content-type');
});

test('a body in a coding that is not decoded here is refused by its name, and asked for once', async () => {
  const body = await gzip('data: a\n\n');
  const lists = [['aes128gcm'], ['compress'], ['unheard-of, gzip', 'unheard-of'], ['gzip, gzip'], ['gzip\r\nContent-Encoding: x-gzip', 'gzip, x-gzip']];
  await Promise.all(lists.map(async ([codings, name = codings]) => {
    const url = await coded(codings, body);
    const { status } = await next(source(url, { policy: 'resilient' }), 'error');
    equal([status.state, status.reason, status.cause.name], ['closed', 'content-coding', 'CodingError'], codings);
    ok(status.cause.message.includes(`"${name}"`), status.cause.message);
    await aWhile();
    equal((await log(url)).length, 1, codings);
  }));
});

test('a body is decoded as it comes, by the browser or here', async () => {
  const body = await gzip('data: a\n\n');
  for (const codings of ['gzip', 'X-GZIP', 'identity, gzip', 'gzip, identity', 'identity', 'none', 'utf-8', '']) {
    const es = source(await coded(codings, /gzip/i.test(codings) ? body : 'data: a\n\n'));
    equal((await next(es, 'message')).data, 'a', codings);
    // The browser has six connections.
    es.close();
  }
});

test('user name and password of the URL become a header', async () => {
  for (const [user, expected] of [['user:p%40ss', 'user:p@ss'], ['%C3%A9:', 'é:'], [':only', ':only']]) {
    const url = await serve(stays('data: a\n\n'));
    const es = source(url.replace('//', `//${user}@`));
    await next(es, 'message');
    const [scheme, value] = (await log(url))[0].headers.authorization.split(' ');
    const bytes = Uint8Array.from(atob(value), (char) => char.charCodeAt(0));
    equal([scheme, new TextDecoder().decode(bytes)], ['Basic', expected]);
  }
});

test('headers of the caller go before user name and password', async () => {
  const url = await serve(stays('data: a\n\n'));
  await next(source(url.replace('//', '//user:pass@'), { headers: { Authorization: 'Bearer mine' } }), 'message');
  equal((await log(url))[0].headers.authorization, 'Bearer mine');
});

const body = (body) => async () => ({ status: 200, url: '', headers: new Headers({ 'Content-Type': 'text/event-stream' }), body });
const chunks = (...all) => new ReadableStream({ start(to) { all.forEach((chunk) => to.enqueue(chunk)); } });
const locked = chunks();
locked.getReader();

const LOCAL = [
  ['a header that HTTP cannot carry', { headers: { 'X-A': '€' } }, 'request'],
  ['a header without a name', { headers: { '': 'x' } }, 'request'],
  ['such a header, made for the request', { headers: async () => ({ 'X-A': '€' }) }, 'request'],
  ['a method that is forbidden', { method: 'TRACE' }, 'request'],
  ['a GET with a body', { method: 'GET', body: 'x' }, 'request'],
  ['a fetch that throws', { fetch: () => { throw new TypeError('mine'); } }, 'request'],
  ['a fetch that rejects at once', { fetch: async () => { throw new Error('mine'); } }, 'request'],
  ['a fetch with a mistake in it', { fetch: async () => { await aWhile(); return nowhere; } }, 'request'],
  ['a fetch that returns nothing', { fetch: () => {} }, 'request'],
  ['a fetch whose answer is none', { fetch: async () => ({}) }, 'request'],
  ['a request to another scheme', { request: () => ({ url: 'ftp://example.org/' }) }, 'request'],
  ['a request to a host that cannot be', { request: () => ({ url: 'http://a b/' }) }, 'request'],
  ['a request to what has no host', { request: async () => ({ url: 'mailto:a@example.org' }) }, 'request'],
  ['a fetch whose answer is nothing, later', { fetch: async () => {} }, 'request'],
  ['a body that is null', { fetch: body(null) }, 'request'],
  ['a body without a reader', { fetch: body({ on() {} }) }, 'request'],
  ['a body that someone else reads', { fetch: body(locked) }, 'request'],
  ['a body of strings', { fetch: body(chunks('data: a\n\n')) }, 'request'],
  ['a body of numbers', { fetch: body(chunks(5)) }, 'request'],
  ['an id that is too long to begin with', { lastEventId: 'x'.repeat(1 << 17) }, 'request'],
];

test('what lies in the call is final, and named', async () => {
  await Promise.all(LOCAL.map(async ([name, options, reason]) => {
    const url = await serve(stays());
    let count = 0;
    const { fetch } = options;
    const counted = fetch && ((...args) => { count += 1; return fetch(...args); });
    const es = source(url, { policy: 'resilient', ...options, ...(counted && { fetch: counted }) });
    const { status } = await next(es, 'error');
    equal([es.readyState, status.state, status.reason, status === es.status], [2, 'closed', reason, true], name);
    ok(status.cause instanceof Error, `${name}: the cause is told`);
    await aWhile();
    ok(count <= 1 && (await log(url)).length === 0, `${name}: it is not tried again`);
  }));
});

test('what the network does to a fetch of the caller is tried again', async () => {
  const url = await serve(stays('data: a\n\n'));
  let count = 0;
  const es = source(url, {
    fetch: async (...args) => {
      if (!count++) throw new TypeError('offline');
      if (count === 2) { await aWhile(); throw new Error('some network'); }
      return fetch(...args);
    },
  });
  equal([(await next(es, 'message')).data, count], ['a', 3]);
});

test('URLs that fetch cannot do end a source at once', async () => {
  for (const url of ['mailto:a@example.org', 'ftp://example.org/', 'about:blank', 'nothing:here']) {
    for (const kind of [EventSource, ReconnectingEventSource]) {
      const es = keep(new kind(url, QUICK));
      equal(es.readyState, 0);
      await next(es, 'error');
      equal([es.readyState, es.status.reason], [2, 'request'], url);
    }
  }
});

test('functions of the caller that throw change nothing but themselves', async () => {
  const reported = [];
  const note = (event) => { reported.push(event.message); event.preventDefault(); };
  addEventListener('error', note);
  const url = await serve(ends('data: a\n\n'));
  const found = [];
  const onstatus = ({ state }) => { found.push(state); throw new Error(`mine, ${state}`); };
  for await (const { data } of events(url, { policy: 'once', onstatus })) found.push(data);
  const es = source(await serve(stays('data: b\n\n')), { headers: () => ({}) });
  es.onstatus = es.onopen = es.onevent = () => { throw new Error('mine'); };
  found.push((await next(es, 'message')).data);
  es.close();
  removeEventListener('error', note);
  equal(found, ['connecting', 'open', 'a', 'closed', 'b']);
  equal((await log(url)).length, 1);
  ok(reported.length >= 6 && reported.every((message) => message.includes('mine')), reported);
});

test('strict: a redirect without end costs few requests, and `retry` is kept', async () => {
  const url = await serve(refuses('302 Found\r\nLocation: again'));
  // It leads to a script of the same name, which leads on.
  await fetch(`${location.origin}/script/again`, { method: 'POST', body: JSON.stringify([refuses('302 Found\r\nLocation: again')]) });
  const loop = keep(new EventSource(url));
  const { status } = await next(loop, 'error');
  equal([status.state, status.reason, loop.reconnectionTime], ['waiting', 'network', 3000]);
  ok(status.nextRetry - Date.now() > 2500, 'the next try is not soon');
  loop.close();
  const kept = keep(new EventSource(await serve(ends('retry: 2000\ndata: a\n\n'))));
  const before = Date.now();
  const ended = await next(kept, 'error');
  const delay = ended.status.nextRetry - before;
  ok(delay >= 1990 && delay < 2400 + (Date.now() - before), `${delay} ms`);
});

test('a class asks by POST only once', async () => {
  const url = await serve(ends('data: a\n\n'));
  for (const [kind, options] of [
    [EventSource, { method: 'POST' }], [ReconnectingEventSource, { body: 'x' }], [SharedEventSource, { method: 'PUT' }],
  ]) {
    const before = (await log(url)).length;
    const es = keep(new kind(url, { ...QUICK, ...options }));
    await closed(es);
    equal(es.status.reason, 'ended');
    await aWhile();
    equal((await log(url)).length, before + 1);
  }
});

test('a time limit of 0 is none', async () => {
  const url = await serve({ ...stays(300, 'data: a\n\n'), head: undefined, body: [300, `HTTP/1.1 ${STREAM}\r\n\r\ndata: a\n\n`] });
  const es = source(url, { connectTimeout: 0, idleTimeout: 0 });
  equal((await next(es, 'message')).data, 'a');
  equal((await log(url)).length, 1);
});

test('the id goes where the caller says', async () => {
  const cors = `${STREAM}\r\nAccess-Control-Allow-Origin: *`;
  const connections = [{ head: cors, body: ['id: 7\ndata: x\n\n'], end: 'close' }, { head: cors, body: [], end: 'hang' }];
  for (const [options, parameter, header] of [
    [{ idParameter: 'last_event_id' }, 'last_event_id=7', undefined],
    [{ idParameter: 'lastEvent' }, 'lastEvent=7', undefined],
    [{ idHeader: 'X-Position' }, '', '7'],
  ]) {
    const url = await serve(...connections);
    // The server allows no header to others.
    const at = options.idHeader ? url : url.replace(location.origin, other);
    source(at, options);
    const [, second] = await until('two requests', async () => (await log(url)).length > 1 && log(url));
    ok(second.target.endsWith(parameter), second.target);
    equal([second.headers['x-position'], second.headers['last-event-id']], [header, undefined]);
  }
});

test('each request is made by the caller, from the position and the last answer', async () => {
  const first = await serve({ ...ends('id: 3\ndata: a\n\n'), head: `${STREAM}\r\nMcp-Session-Id: s1` });
  const second = await serve(stays('data: b\n\n'));
  const found = [];
  const es = source(first, {
    method: 'POST', body: 'question', policy: 'resilient',
    request: async ({ lastEventId, answer }) => lastEventId && {
      url: `${second}?starting_after=${lastEventId}`, method: 'GET', body: null,
      headers: { 'Mcp-Session-Id': answer.get('Mcp-Session-Id') },
    },
  });
  es.onmessage = ({ data }) => found.push(data);
  await until('both', () => found.length === 2);
  const [asked] = await log(first);
  const [resumed] = await log(second);
  equal([asked.method, asked.body], ['POST', 'question']);
  equal([resumed.method, resumed.headers['mcp-session-id'], resumed.body], ['GET', 's1', '']);
  ok(resumed.target.endsWith('?starting_after=3'), resumed.target);
});

test('an id of any length is resumed from', async () => {
  const id = 'i'.repeat(150000);
  const gone = await serve(ends(`id: ${id}\ndata: a\n\n`), stays());
  source(gone);
  const [, second] = await until('two requests', async () => (await log(gone)).length > 1 && log(gone));
  equal(second.headers['last-event-id'].length, id.length);
});

test('bytes come in any form', async () => {
  const encoded = (text) => new TextEncoder().encode(text);
  const within = encoded('--data: c\n\n--');
  const stream = chunks(encoded('data: a\n\n'), encoded('data: b\n\n').buffer, new DataView(within.buffer, 2, 9));
  const es = keep(EventSource.fromReadableStream(stream));
  const found = [];
  es.onmessage = ({ data }) => found.push(data);
  await until('all', () => found.length === 3);
  equal(found, ['a', 'b', 'c']);
});

test('a stream: its address, its position, and who else may read it', async () => {
  const stream = chunks(new TextEncoder().encode('retry: 5\ndata: a\n\n'));
  const options = { url: 'https://example.org/x', lastEventId: '9', reconnectionTime: 1234 };
  const es = keep(EventSource.fromReadableStream(stream, options));
  equal([es.url, es.lastEventId, es.reconnectionTime, stream.locked, es.readyState], ['https://example.org/x', '9', 1234, true, 0]);
  const { origin, lastEventId } = await next(es, 'message');
  equal([origin, lastEventId, es.reconnectionTime], ['https://example.org', '9', 5]);
  equal(keep(EventSource.fromReadableStream(chunks())).url, 'about:event-stream');
  const named = keep(EventSource.fromReadableStream(chunks(new TextEncoder().encode('data: a\n\n')), { origin: 'app://x' }));
  equal((await next(named, 'message')).origin, 'app://x');
  for (const wrong of [stream, {}, null]) {
    let error;
    try { EventSource.fromReadableStream(wrong); } catch (caught) { error = caught; }
    ok(error instanceof TypeError, error);
  }
});

test('a stream that is closed is cancelled, and one that breaks ends its source', async () => {
  let cancelled;
  const es = EventSource.fromReadableStream(new ReadableStream({ cancel() { cancelled = true; } }));
  await next(es, 'open');
  es.close();
  await until('it is cancelled', () => cancelled);
  const broken = keep(EventSource.fromReadableStream(new ReadableStream({ start(to) { to.error(new Error('mine')); } })));
  await closed(broken);
  equal(broken.status.cause.message, 'mine');
});

/** What an iterator yields, and what it throws. */
const read = async (url, options) => {
  const found = [];
  try {
    for await (const { type, data } of events(url, { body: '', ...options })) found.push(type === 'message' ? data : `${type} ${data}`);
  } catch (error) {
    ok(error instanceof EventsError, error);
    found.push([error.status.reason, error.data]);
  }
  return found;
};

test('several events may complete a stream, by their data or their type', async () => {
  const until = ['[DONE]', { type: 'message_stop' }, { type: 'response.completed' }, { data: 'END' }];
  for (const [stream, expected] of [
    ['data: a\n\ndata: [DONE]\n\ndata: b\n\n', ['a']],
    ['data: a\n\ndata: END\n\n', ['a']],
    ['data: a\n\nevent: message_stop\ndata: {}\n\ndata: b\n\n', ['a', 'message_stop {}']],
    ['event: response.completed\ndata: 1\n\n', ['response.completed 1']],
    ['data: a\n\n', ['a', ['incomplete', undefined]]],
  ]) {
    equal(await read(await serve(ends(stream)), { until, mustComplete: true }), expected);
  }
});

test('errors that the stream tells end an iteration with what they say', async () => {
  const errorEvents = ['error', 'response.failed'];
  for (const [stream, expected] of [
    ['data: a\n\nevent: error\ndata: overloaded\n\ndata: b\n\n', ['a', ['error-event', 'overloaded']]],
    ['event: response.failed\ndata: {}\n\n', [['error-event', '{}']]],
    ['data: a\n\nevent: stream-error\ndata: no\n\n', ['a', ['stream-error', 'no']]],
  ]) {
    const url = await serve(ends(stream));
    equal(await read(url, { errorEvents }), expected);
    equal((await log(url)).length, 1);
  }
});

windowTest('a module that is missing is told, with its address, on the console', async () => {
  const frame = document.body.appendChild(document.createElement('iframe'));
  const page = frame.contentWindow;
  const told = [];
  page.console.error = (...all) => told.push(all.map(String).join(' '));
  const text = await (await fetch('/package/reconnecting-eventsource.js')).text();
  page.eval(`Object.defineProperty(document, 'currentScript', { value: { src: '${location.origin}/nowhere/script.js' } });${text}`);
  const es = new page.ReconnectingEventSource(await serve(stays()));
  await until('the end', () => es.readyState === 2);
  equal(es.status.reason, 'wasm');
  ok(told.length === 1 && told[0].includes(`${location.origin}/nowhere/sse-client.wasm`), told);
  frame.remove();
});
