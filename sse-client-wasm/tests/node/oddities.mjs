// What callers hand in, and what odd servers answer: nothing is lost, repeated or misread for it.

import { once } from 'node:events';
import { Readable } from 'node:stream';
import { deflateSync, gzipSync } from 'node:zlib';
import { EventSource, ReconnectingEventSource, SharedEventSource, events } from 'sse-client-wasm';
import {
  SECRETS, STREAM, coded, equal, isNode, read, serve, serveRaw, servers, stream, test, told, typed,
} from './harness.mjs';

test('limits may be any number, and 0 or less is none', async () => {
  const here = await serve(stream(`data: ${'x'.repeat(1000)}\n\ndata: a\n\n`));
  const whole = await serve(typed(200, 'application/json', '[]'));
  for (const value of [Infinity, 2 ** 31, 2 ** 32, 1e300, NaN, null, 0, -1, undefined, '2000']) {
    for (const name of ['maxEventLength', 'connectTimeout', 'idleTimeout', 'firstEventTimeout']) {
      equal((await read(here.origin, { [name]: value })).at(-1), 'a', `${name} ${value}`);
    }
    equal((await read(here.origin, { maxEventLength: value })).length, 2, value);
    equal(await read(whole.origin, { maxEventLength: value, accepts: 'application/json' }), ['[]'], value);
  }
  equal(await read(here.origin, { maxEventLength: 100 }), ['a']);
});

test('an id that was stored may be a number, and one that is too long is named', async () => {
  const here = await serve(stream('data: a\n\n'));
  equal(await read(here.origin, { lastEventId: 5 }), ['a']);
  equal(here.requests[0].headers['last-event-id'], '5');
  equal(await read(here.origin, { lastEventId: null }), ['a']);
  equal(await read(here.origin, { lastEventId: 'é'.repeat(40000) }), ['request', 'RangeError']);
  equal(here.requests.length, 2);
});

test('a request that a function makes, and that may cost money, is made once', async () => {
  for (const [parts, expected] of [
    [{ method: 'POST', body: 'pay' }, 1], [{ body: 'pay' }, 1], [{ method: 'delete' }, 1], [{ method: 'get' }, 3], [{}, 3],
  ]) {
    const here = await serve(stream('retry: 1\nid: 1\ndata: a\n\n'));
    const options = { request: async () => parts, max_retry_time: 1 };
    const found = [];
    for await (const { data } of events(here.origin, options)) if (found.push(data) === expected) break;
    const source = new ReconnectingEventSource(here.origin, options);
    if (expected === 1) equal(await told(source), ['connecting', 'open', 'closed ended']);
    source.close();
    equal(found.length, expected, JSON.stringify(parts));
    if (expected === 1) equal(here.requests.length, 2, JSON.stringify(parts));
  }
  // A 401 is answered once more, and not for ever.
  const here = await serve((_, response) => response.writeHead(401).end());
  equal(await read(here.origin, { policy: undefined, request: () => ({ body: 'pay' }) }), ['status', '']);
  equal(here.requests.length, 2);
});

test('the header that carries the id goes with a redirect to another origin', async () => {
  const there = await serve(stream('data: there\n\n'));
  const here = await serve((_, response) => response.writeHead(307, { Location: there.origin }).end());
  for (const idHeader of ['X-Last-Id', 'last-ID']) {
    equal(await read(here.origin, { idHeader, lastEventId: '7', headers: SECRETS }), ['there']);
    const { headers } = there.requests.at(-1);
    equal([headers[idHeader.toLowerCase()], headers['last-event-id'], headers['x-api-key']], ['7', undefined, undefined]);
  }
});

test('a redirect makes a GET of a POST in any letters', async () => {
  for (const [status, method, expected] of [[301, 'post', 'GET'], [302, 'post', 'GET'], [303, 'put', 'GET'], [307, 'post', 'POST']]) {
    const here = await serve((request, response) =>
      request.url === '/' ? response.writeHead(status, { Location: '/next' }).end() : stream('data: a\n\n')(request, response));
    equal(await read(here.origin, { method, body: 'question' }), ['a']);
    equal([here.requests[1].method, here.requests[1].body], [expected, expected === 'GET' ? '' : 'question'], status);
  }
});

test('Location may have several lines that say the same, and letters of UTF-8', async () => {
  for (const [locations, expected] of [
    [['/ok', '/ok'], '/ok'], [['next', 'next', 'next'], '/next'], [['/ok', '/other'], undefined], [['http://127.0.0.1/', '/other'], undefined],
    [['/a, b'], '/a,%20b'], [[Buffer.from('/café').toString('latin1')], '/caf%C3%A9'], [['/caf\xe9'], '/caf%C3%A9'], [['/100%'], '/100%'],
  ]) {
    const here = await serveRaw((count) => count === 1
      ? `HTTP/1.1 302 Found\r\n${locations.map((line) => `Location: ${line}\r\n`).join('')}Content-Length: 0\r\nConnection: close\r\n\r\n`
      : 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: a\n\n');
    equal(await read(here.origin), expected ? ['a'] : ['request', 'RedirectError'], locations);
    equal(here.requests[1], expected, locations);
  }
});

test('what is said of a redirect has no secret of its address', async () => {
  const here = await serve((_, response) =>
    response.writeHead(302, { Location: `http://user:secret@[bad/${'x'.repeat(5000)}?token=secret` }).end());
  const source = new EventSource(here.origin);
  await new Promise((resolve) => { source.onerror = resolve; });
  const { message } = source.status.cause;
  equal([message.length < 300, /secret/.test(message)], [true, false], message);
});

test('what Node cannot send is final', async () => {
  if (!isNode) return;
  const here = await serve((request, response) =>
    request.url === '/' ? stream('data: a\n\n')(request, response) : response.writeHead(302, { Location: 'http://127.0.0.1:6000/' }).end());
  for (const name of ['Transfer-Encoding', 'Keep-Alive', 'Connection', 'Upgrade', 'Expect']) {
    const source = new ReconnectingEventSource(here.origin, { headers: { [name]: 'x' }, max_retry_time: 1 });
    equal(await told(source), ['connecting', 'closed request RequestError'], name);
  }
  for (const url of ['http://127.0.0.1:6000/', `${here.origin}/moved`]) {
    equal(await told(new ReconnectingEventSource(url)), ['connecting', 'closed request RequestError'], url);
  }
  // This may pass.
  const gone = await serve(stream());
  servers.pop()();
  equal((await told(new ReconnectingEventSource(gone.origin), 2))[1], 'waiting network TypeError');
});

test('only the limits of the source end what is silent in Node', async () => {
  if (!isNode) return;
  const key = Symbol.for('undici.globalDispatcher.1');
  const usual = globalThis[key];
  globalThis[key] = new usual.constructor({ headersTimeout: 300, bodyTimeout: 300 });
  try {
    const here = await serve((request, response) => setTimeout(() => {
      response.writeHead(200, STREAM).write(':\n\n');
      setTimeout(() => response.end('data: late\n\n'), 2500);
    }, 2500));
    equal(await read(here.origin, { body: 'x' }), ['late']);
  } finally {
    globalThis[key] = usual;
  }
});

test('a body may be any that the platform streams', async () => {
  const here = await serve(stream('data: a\n\n'));
  const text = new TextEncoder();
  async function* parts() { for (const part of ['ques', 'tion']) yield text.encode(part); }
  for (const body of [parts(), Readable.from([Buffer.from('question')]), new Blob(['question']), new URLSearchParams('question')]) {
    equal(await read(here.origin, { body }), ['a'], body);
    equal(here.requests.at(-1).body.replace('=', ''), 'question');
  }
});

test('Retry-After is the longest of all lines, as a number or a date', async () => {
  const date = (seconds) => new Date(Date.now() + seconds * 1000).toUTCString();
  for (const [lines, least, most] of [
    [['3'], 3, 4], [['3', '3'], 3, 4], [['2', '40'], 40, 41], [['3 '], 3, 4], [[date(60)], 58, 61], [[date(60), date(60)], 58, 61],
    [['5', date(60)], 58, 61], [['soon'], 0, 1], [[date(-60)], 0, 1], [['3;x=y'], 0, 1],
  ]) {
    const here = await serveRaw(() =>
      `HTTP/1.1 503 Busy\r\n${lines.map((line) => `Retry-After: ${line}\r\n`).join('')}Content-Length: 0\r\nConnection: close\r\n\r\n`);
    const source = new ReconnectingEventSource(here.origin, { max_retry_time: 1 });
    const { nextRetry } = await new Promise((resolve) => {
      source.onstatus = (status) => status.state === 'waiting' && resolve(status);
    });
    const wait = (nextRetry - Date.now()) / 1000;
    source.close();
    equal(wait > least - 1 && wait < most, true, `${lines}: ${wait}`);
  }
});

/** Runs with the package as it is in a page that may share connections. */
const inPage = async (use) => {
  const held = new Map();
  const locks = {
    request(name, { signal }, use) {
      const done = (held.get(name) ?? Promise.resolve()).then(() => { signal.throwIfAborted(); return use(); });
      held.set(name, done.catch(() => {}));
      return done;
    },
  };
  class BrowserRequest extends Request {
    constructor(...given) {
      super(...given);
      this.headers.delete('Cookie');
    }
  }
  const stubs = {
    navigator: { locks }, origin: 'http://localhost', Request: BrowserRequest, addEventListener() {}, removeEventListener() {},
  };
  const kept = Object.keys(stubs).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  for (const [name, value] of Object.entries(stubs)) Object.defineProperty(globalThis, name, { value, configurable: true });
  try {
    await use(await import(`${import.meta.resolve('sse-client-wasm')}?page`));
  } finally {
    for (const [name, descriptor] of kept) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else delete globalThis[name];
    }
  }
};

test('headers that are changed later change no stream that others share', async () => {
  if (!isNode) return;
  const here = await serve((request, response) => response.writeHead(200, STREAM).write(`data: ${request.headers['x-user']}\n\n`));
  await inPage(async ({ SharedEventSource }) => {
    for (const headers of [new Headers({ 'X-User': 'alice' }), { 'X-User': 'alice' }, [['X-User', 'alice']]]) {
      const first = new SharedEventSource(here.origin, { headers });
      if (headers instanceof Headers) headers.set('X-User', 'bob');
      else if (Array.isArray(headers)) headers[0][1] = 'bob';
      else headers['X-User'] = 'bob';
      const second = new SharedEventSource(here.origin, { headers: { 'X-User': 'alice' } });
      const count = here.requests.length;
      equal(await Promise.all([first, second].map((source) =>
        new Promise((resolve) => { source.onmessage = ({ data }) => resolve(data); }))), ['alice', 'alice']);
      equal(here.requests.length, count + 1, 'they share one connection');
      first.close();
      second.close();
    }
  });
});

test('an end is told once', async () => {
  const here = await serve(stream('data: a\n\n'));
  for (const name of ['headers', 'request', 'fetch']) {
    const options = { [name]: (...given) => { source.close(); return name === 'fetch' ? fetch(...given) : {}; } };
    const source = new EventSource(here.origin, options);
    equal(await told(source), ['connecting', 'closed by-caller'], name);
  }
  for (const [status, type, own] of [[202], [200, 'application/json'], [202, undefined, fetch]]) {
    const empty = await serve(typed(status, type, ''));
    const all = [];
    const options = { body: '{}', accepts: 'application/json', acceptsStatus: 202, fetch: own && ((url, init) => own(url, init)) };
    equal(await read(empty.origin, { ...options, onstatus: ({ state, reason }) => all.push(reason ?? state) }), []);
    equal(all, ['connecting', 'open', 'complete'], status);
  }
});

test('a stream that was handed in is cancelled, whenever its source is closed', async () => {
  let cancelled = 0;
  const make = () => new ReadableStream({ cancel() { cancelled++; } });
  EventSource.fromReadableStream(make()).close();
  const later = EventSource.fromReadableStream(make());
  await new Promise((resolve) => { later.onopen = resolve; });
  later.close();
  await new Promise((resolve) => setTimeout(resolve, 50));
  equal(cancelled, 2);
  const kept = make();
  for (const options of [{ url: 'http://[' }, { url: Symbol() }]) {
    try {
      EventSource.fromReadableStream(kept, options);
      equal(true, false, 'it throws');
    } catch (error) {
      equal([error.name === 'Error', kept.locked], [false, false], error);
    }
  }
  EventSource.fromReadableStream(kept, null).close();
});

test('a body without a coding is read, however it begins and whatever its coding is called', async () => {
  for (const codings of ['none', 'utf-8', 'UTF8', 'identity, none', 'identity']) {
    equal(await read((await coded(codings, 'text/event-stream', 'x: y\ndata: a\n\n')).origin), ['a'], codings);
    equal(await read((await coded(codings, 'application/json', 'x y')).origin, { accepts: 'application/json' }), ['x y'], codings);
  }
  equal(await read((await coded('none, gzip', 'text/event-stream', gzipSync('x: y\ndata: a\n\n'))).origin), ['a']);
});

test('the text of a refusal is decoded as a stream is', async () => {
  for (const [codings, body, expected] of [
    ['gzip', gzipSync('overloaded'), 'overloaded'], ['gzip, identity', gzipSync('overloaded'), 'overloaded'],
    ['identity, deflate', deflateSync('overloaded'), 'overloaded'], ['none', 'overloaded', 'overloaded'],
    ['unheard-of', gzipSync('overloaded'), ''], ['gzip, gzip', gzipSync('overloaded'), ''],
  ]) {
    const here = await serve((_, response) => response.writeHead(500, { 'Content-Encoding': codings }).end(body));
    const source = new EventSource(here.origin);
    await new Promise((resolve) => { source.onerror = resolve; });
    equal(source.status.body, expected, codings);
  }
});

test('a transfer coding that is not decoded is refused by its name', async () => {
  const body = gzipSync('data: a\n\n');
  const chunked = `${body.length.toString(16)}\r\n${body.toString('latin1')}\r\n0\r\n\r\n`;
  for (const [codings, coded, isFinal] of [
    ['gzip, chunked', chunked, true], ['x-gzip', body.toString('latin1'), true], ['chunked', '9\r\ndata: a\n\n\r\n0\r\n\r\n', false],
  ]) {
    const here = await serveRaw(() =>
      `HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: ${codings}\r\nConnection: close\r\n\r\n${coded}`);
    equal(await read(here.origin), isFinal ? ['content-coding', 'CodingError'] : ['a'], codings);
  }
});

test('a coding with a long name is quoted in part', async () => {
  const here = await coded('x'.repeat(5000), 'text/event-stream', gzipSync('data: a\n\n'));
  const error = await events(here.origin, { policy: 'once' }).next().catch((error) => error);
  equal([error.status.reason, error.message.length > 200, error.message.length < 300], ['content-coding', true, true]);
});

test('an id that no header can carry is told', async () => {
  const { warn } = console;
  for (const [id, expected] of [['trail ', 1], ['a\x01b', 1], ['plain', 0]]) {
    const lines = [];
    console.warn = (...line) => lines.push(line);
    try {
      const here = await serve(stream(`retry: 1\nid: ${id}\ndata: a\n\n`));
      const source = new ReconnectingEventSource(here.origin, { max_retry_time: 1 });
      while (here.requests.length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
      source.close();
      equal([lines.length > 0, here.requests[1].headers['last-event-id']], [!!expected, expected ? undefined : id], id);
    } finally {
      console.warn = warn;
    }
  }
});

test('user name and password are those that the URL has', async () => {
  for (const [url, expected] of [['u:p%u0041', 'u:p%u0041'], ['%u20AC:%U0041', '%u20AC:%U0041'], ['%C3%A9:%', 'é:%'], ['a%3Ab:c', 'a:b:c'], ['%25u0041:', '%u0041:']]) {
    const here = await serve(stream('data: a\n\n'));
    equal(await read(here.origin.replace('//', `//${url}@`)), ['a'], url);
    equal(Buffer.from(here.requests[0].headers.authorization.slice(6), 'base64').toString(), expected);
  }
});

test('options may be inherited, and may be changed once they were handed over', async () => {
  const here = await serve(stream('data: a\n\n'));
  const given = Object.create({ headers: { 'X-A': '1' }, withCredentials: true, policy: 'once' });
  for (const kind of [EventSource, ReconnectingEventSource]) {
    const asked = [];
    const options = Object.assign(Object.create(given), { fetch: (url, init) => { asked.push(init.credentials); return fetch(url, init); } });
    const source = new kind(here.origin, options);
    options.fetch = options.idHeader = 'other';
    equal(await told(source), ['connecting', 'open', 'closed ended']);
    equal([asked, source.withCredentials, here.requests.at(-1).headers['x-a']], [['include'], true, '1']);
  }
  equal(await read(here.origin, given), ['a']);
  for await (const _ of events(here.origin, Object.create(given)));
  equal([here.requests.length, here.requests.at(-1).headers['x-a']], [4, '1']);
  const stored = EventSource.fromReadableStream(new ReadableStream(), Object.create({ lastEventId: '7', url: 'http://localhost/' }));
  equal([stored.lastEventId, stored.url], ['7', 'http://localhost/']);
  stored.close();
});

test('a handler has the place of the one before it, and one after none the last', async () => {
  const source = new EventSource((await serve(stream('data: a\n\n'))).origin, { policy: 'once' });
  const order = [];
  const say = (text) => () => order.push(text);
  source.onmessage = say('first');
  source.addEventListener('message', say('listener'));
  source.onmessage = say('second');
  source.onopen = say('gone');
  source.addEventListener('open', say('opened'));
  source.onopen = null;
  source.onopen = say('handler');
  await told(source);
  equal(order, ['opened', 'handler', 'second', 'listener']);
});
