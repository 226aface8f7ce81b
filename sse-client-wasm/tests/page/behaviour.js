// What a source does in a browser, besides not having the faults of others.

import { EventSource, EventsError, ReconnectingEventSource, events } from '/package/external.js';
import {
  QUICK, STREAM, breaks, ends, equal, keep, letGo, log, next, ok, other, refuses, serve, stays, test, until,
  windowTest,
} from '/page/tests.js';

const source = (url, options) => keep(new ReconnectingEventSource(url, { ...QUICK, ...options }));
const requests = (url, count) => until(`${count} requests`, async () => {
  const all = await log(url);
  return all.length >= count && all;
});

test('the constructor returns at once, and wants what it needs', async () => {
  const es = source(await serve(stays()));
  equal(es.readyState, 0);
  for (const [name, value] of [['CONNECTING', 0], ['OPEN', 1], ['CLOSED', 2]]) {
    equal([ReconnectingEventSource[name], es[name], ReconnectingEventSource.prototype[name]], [value, value, value]);
  }
  let error;
  for (const url of ['http://[', 'http://this is invalid/', 'https://a%20b:80/', 'http://<>/%41']) {
    try { source(url); } catch (caught) { error = caught; }
    ok(error instanceof DOMException && error.name === 'SyntaxError', `${url}: ${error}`);
    const first = await events(url).next().catch((caught) => caught);
    ok(first instanceof TypeError, `${url}: ${first}`);
    error = null;
  }
  try { ReconnectingEventSource(es.url); } catch (caught) { error = caught; }
  ok(error instanceof TypeError, error);
  await next(es, 'open');
  equal(es.readyState, 1);
});

test('a stream that is cut in an event resumes before it, and delivers it once', async () => {
  const gate = `cut${Math.random()}`;
  const url = await serve(
    breaks('id: 1\ndata: a\n\nid: 2\nda', { gate }),
    stays('id: 2\ndata: b\n\n'),
  );
  const es = source(url);
  const found = [];
  es.onmessage = ({ data, lastEventId }) => { found.push(lastEventId + data); letGo(gate); };
  await until('both', () => found.length === 2);
  equal(found, ['1a', '2b']);
  const [first, second] = await log(url);
  equal([first.headers['last-event-id'], second.headers['last-event-id']], [undefined, '1']);
  equal(first.headers.accept, 'text/event-stream');
});

test('an id with letters of any language arrives as its UTF-8', async () => {
  const url = await serve(ends('id: \u00c3\u00a9\ndata: a\n\n'), stays());
  source(url);
  const [, second] = await requests(url, 2);
  equal(second.headers['last-event-id'], 'é');
});

test('500 with Retry-After is waited for, and the next try succeeds', async () => {
  const url = await serve(refuses('500 Oops\r\nRetry-After: 1', 'later'), stays('data: a\n\n'));
  const es = source(url);
  const error = await next(es, 'error');
  equal([error.status.state, error.status.code, error.status.body], ['waiting', 500, 'later']);
  ok(error.status.nextRetry > Date.now(), 'it says when');
  await next(es, 'message');
  const [first, second] = await log(url);
  ok(second.at - first.at >= 990, `${second.at - first.at} ms`);
});

test('strict: 500 is final, the end of a stream is not', async () => {
  const url = await serve(ends('data: a\n\n'), refuses('500 Oops'));
  const es = keep(new EventSource(url, QUICK));
  await until('the end', () => es.readyState === 2);
  equal((await log(url)).length, 2);
  equal(es.status.code, 500);
});

test('a redirect is followed, and the origin is that of its end', async () => {
  const cors = `${STREAM}\r\nAccess-Control-Allow-Origin: *`;
  const end = await serve({ head: cors, body: ['id: 1\ndata: a\n\n'], end: 'close' }, { head: cors, body: ['data: b\n\n'], end: 'hang' });
  const there = end.replace(location.origin, other);
  const url = await serve(refuses(`302 Found\r\nLocation: ${there}`));
  const es = source(url);
  equal((await next(es, 'message')).origin, other);
  equal((await next(es, 'message')).data, 'b');
  equal((await log(end)).map(({ method }) => method), ['GET', 'GET'], 'no preflight');
});

test('headers are made for each request, and a 401 is answered with fresh ones once', async () => {
  const url = await serve(refuses('401 Unauthorized'), stays('data: a\n\n'));
  let token = 0;
  const es = source(url, { headers: async () => ({ Authorization: `Bearer ${++token}` }) });
  await next(es, 'message');
  equal((await log(url)).map(({ headers }) => headers.authorization), ['Bearer 1', 'Bearer 2']);
  const refused = await serve(refuses('401 Unauthorized'));
  const never = source(refused, { headers: async () => ({ Authorization: 'no' }) });
  await until('the end', () => never.readyState === 2);
  equal((await log(refused)).length, 2);
});

test('close is final, also in the middle of a chunk', async () => {
  const url = await serve(stays('data: a\n\ndata: b\n\ndata: c\n\n'));
  const es = source(url);
  const found = [];
  es.onerror = () => found.push('error');
  es.addEventListener('message', ({ data }) => { found.push(data); es.close(); });
  es.addEventListener('message', () => found.push('too late'));
  await until('an event', () => found.length);
  await new Promise((resolve) => setTimeout(resolve, 400));
  equal(found, ['a']);
  equal(es.readyState, 2);
  equal((await log(url)).length, 1);
});

test('listeners: once, signal, handleEvent, duplicates and removal', async () => {
  const es = source(await serve(stays('data: a\n\ndata: b\n\n')));
  const found = [];
  const abort = new AbortController();
  const twice = ({ data }) => found.push(`twice ${data}`);
  es.addEventListener('message', ({ data }) => found.push(`once ${data}`), { once: true });
  es.addEventListener('message', ({ data }) => { found.push(`signal ${data}`); abort.abort(); }, { signal: abort.signal });
  es.addEventListener('message', twice);
  es.addEventListener('message', twice);
  es.addEventListener('message', () => found.push('removed'));
  const gone = () => found.push('gone');
  es.addEventListener('message', gone);
  es.removeEventListener('message', gone);
  es.addEventListener('message', (event) => { found.push('last'); event.stopImmediatePropagation(); });
  es.addEventListener('message', () => found.push('stopped'));
  await until('both', () => found.filter((one) => one === 'last').length === 2);
  equal(found, ['once a', 'signal a', 'twice a', 'removed', 'last', 'twice b', 'removed', 'last']);
});

test('onevent gets every event, whatever its type', async () => {
  const es = source(await serve(stays('event: a\ndata: 1\n\nevent: b\ndata: 2\n\n')));
  const found = [];
  es.onevent = ({ type, data }) => found.push(type + data);
  await until('both', () => found.length === 2);
  equal(found, ['a1', 'b2']);
});

test('stream-reset arrives as an event, and the stream goes on', async () => {
  const es = source(await serve(stays('event: stream-reset\nid: a:9\ndata: {"channels": ["a"]}\n\ndata: b\n\n')));
  const message = next(es, 'message');
  const reset = await next(es, 'stream-reset');
  equal([JSON.parse(reset.data).channels, reset.lastEventId], [['a'], 'a:9']);
  equal((await message).data, 'b');
});

test('a stored id is continued from', async () => {
  const url = await serve(stays('data: a\n\n'));
  const es = source(url, { lastEventId: '41' });
  equal((await next(es, 'message')).lastEventId, '41');
  equal((await log(url))[0].headers['last-event-id'], '41');
});

test('reconnect asks again at once, and nothing is lost or told twice', async () => {
  const url = await serve(stays('id: 1\ndata: a\n\n'), stays('id: 2\ndata: b\n\n'));
  const es = source(url, { max_retry_time: 600000 });
  const found = [];
  es.onmessage = ({ data }) => { found.push(data); if (data === 'a') es.reconnect(); };
  await until('both', () => found.length === 2);
  equal((await log(url))[1].headers['last-event-id'], '1');
});

test('being online again ends the wait', async () => {
  const url = await serve(refuses('503 Busy\r\nRetry-After: 600'), stays('data: a\n\n'));
  const es = source(url);
  await next(es, 'error');
  equal(es.status.state, 'waiting');
  dispatchEvent(new Event('online'));
  await next(es, 'message');
});

windowTest('becoming visible ends the wait', async () => {
  const url = await serve(refuses('503 Busy\r\nRetry-After: 600'), stays('data: a\n\n'));
  const es = source(url);
  await next(es, 'error');
  document.dispatchEvent(new Event('visibilitychange'));
  await next(es, 'message');
});

test('an iterator reads no more than is taken', async () => {
  let pulled = 0;
  const body = new ReadableStream({
    pull(controller) {
      pulled += 1;
      controller.enqueue(new TextEncoder().encode(`data: ${pulled}\n\n`));
    },
  });
  const fetch = async () => new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
  let taken = 0;
  for await (const { data } of events('/never', { fetch })) {
    taken += 1;
    equal(data, String(taken));
    if (taken === 5) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      ok(pulled <= 8, `${pulled} have been read`);
      break;
    }
  }
});

windowTest('a page that goes releases its connection, and takes it again when it comes back', async () => {
  const url = await serve(stays('id: 1\ndata: a\n\n'), stays('id: 2\ndata: b\n\n'));
  const es = source(url);
  await next(es, 'message');
  dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }));
  await new Promise((resolve) => setTimeout(resolve, 500));
  equal((await log(url)).length, 1, 'it asks for nothing meanwhile');
  dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }));
  equal((await next(es, 'message')).data, 'b');
  equal((await log(url))[1].headers['last-event-id'], '1');
});

test('an iterator reads a POST once, to its mark', async () => {
  const url = await serve(ends('data: a\n\ndata: b\r\n\r\ndata: [DONE]\n\ndata: c\n\n'));
  const found = [];
  for await (const { data } of events(url, { method: 'POST', body: 'question', until: '[DONE]', mustComplete: true })) {
    found.push(data);
  }
  equal(found, ['a', 'b']);
  const all = await log(url);
  equal([all.length, all[0].method, all[0].body], [1, 'POST', 'question']);
});

test('an iterator takes a whole answer, or none, where that is allowed', async () => {
  const read = async (url) => {
    const found = [];
    const options = { body: '{}', accepts: 'application/json', acceptsStatus: 202, until: '[DONE]', mustComplete: true };
    for await (const { data } of events(url, options)) found.push(data);
    return found;
  };
  const url = await serve(refuses('200 OK\r\nContent-Type: application/json', '{"a":\n1}'));
  equal(await read(url), ['{"a":\n1}']);
  equal((await log(url))[0].headers.accept, 'application/json, text/event-stream');
  equal(await read(await serve(refuses('202 Accepted'))), []);
  equal(await read(await serve(ends('data: a\n\ndata: [DONE]\n\n'))), ['a']);
});

test('an iterator throws what it cannot mend: half an answer, a refusal, an abort', async () => {
  const half = await serve(ends('data: a\n\n'));
  const failure = async (url, options) => {
    try {
      for await (const _ of events(url, { body: '', ...options }));
    } catch (error) {
      return error;
    }
  };
  const cut = await failure(half, { until: '[DONE]', mustComplete: true });
  ok(cut instanceof EventsError, cut);
  equal(cut.status.reason, 'incomplete');
  const told = await failure(await serve(ends('data: a\n\n{"error":"overloaded"}')), { until: '[DONE]', mustComplete: true });
  equal([told.status.reason, told.status.body], ['incomplete', '{"error":"overloaded"}']);
  const refused = await failure(await serve(refuses('429 Slow down', 'too many')));
  equal([refused.status.code, refused.status.body], [429, 'too many']);
  equal((await log(half)).length, 1);
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 50);
  equal((await failure(await serve(stays()), { signal: abort.signal })).name, 'AbortError');
});

test('an iterator that is left closes its connection', async () => {
  const url = await serve(stays('data: a\n\ndata: b\n\n'));
  const states = [];
  for await (const { data } of events(url, { onstatus: ({ state }) => states.push(state) })) {
    equal(data, 'a');
    break;
  }
  equal(states.at(-1), 'closed');
});

test('an event that is longer than a chunk arrives whole', async () => {
  const part = 'x'.repeat(60000);
  const es = source(await serve(stays('data: \u00e2', '\u0082\u00ac', part, part, part, '\n\n')));
  equal((await next(es, 'message')).data, '€' + part + part + part);
});

test('a source that connects again for a day grows neither the heap nor its memory', async () => {
  let count = 0;
  const body = () => new Response(`retry: 1\nid: ${++count}\ndata: ${'x'.repeat(1000)}\n\n`, {
    headers: { 'Content-Type': 'text/event-stream' },
  });
  // Delays between tries pass at once, by this page's clock.
  const wait = setTimeout;
  const { now } = performance;
  let skipped = 0;
  performance.now = () => now.call(performance) + skipped;
  globalThis.setTimeout = (then, time, ...rest) => {
    const isDelay = time > 100 && time < 5000;
    return wait(() => { if (isDelay) skipped += 30000; then(...rest); }, isDelay ? 0 : time);
  };
  const { instantiate } = WebAssembly;
  let memory;
  WebAssembly.instantiate = async (...args) => {
    const instance = await instantiate(...args);
    memory = instance.exports.memory;
    return instance;
  };
  try {
    const es = keep(new ReconnectingEventSource('/never', { fetch: async () => body() }));
    await until('some tries', () => count > 100);
    const before = performance.memory?.usedJSHeapSize;
    const { byteLength } = memory.buffer;
    await until('a day of tries', () => count > 2880, 100000);
    const after = performance.memory?.usedJSHeapSize;
    equal(es.lastEventId !== '', true);
    equal(memory.buffer.byteLength, byteLength, 'the memory of the module');
    ok(byteLength <= 4 << 16, `${byteLength} bytes of it`);
    if (before) ok(after < before + 30e6, `${before} bytes, then ${after}`);
  } finally {
    globalThis.setTimeout = wait;
    performance.now = now;
    WebAssembly.instantiate = instantiate;
  }
});
