// What the package does outside browsers: in Node, Deno and Bun, which all have Node's servers.
// Prints what has failed, and ends with 1 then.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createRawServer } from 'node:net';
import { Readable } from 'node:stream';
import { format, inspect } from 'node:util';
import { deflateSync, gzipSync } from 'node:zlib';
import { EventSource, EventsError, ReconnectingEventSource, SharedEventSource, events } from 'sse-client-wasm';

const equal = (found, expected, about = '') => {
  const [one, two] = [found, expected].map((value) => JSON.stringify(value));
  if (one !== two) throw new Error(`${about} ${one} instead of ${two}`);
};

const tests = [];
const test = (name, run) => tests.push([name, run]);
/** Servers of the test that runs. */
const servers = [];

/** A server, at an origin of its own, and the requests that it has got. */
const serve = async (answer) => {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    requests.push({ method: request.method, url: request.url, headers: request.headers, body });
    answer(request, response, requests.length);
  });
  server.keepAliveTimeout = 60000;
  const sockets = new Set();
  server.on('connection', (socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  servers.push(() => {
    sockets.forEach((socket) => socket.destroy());
    server.close();
  });
  return { requests, sockets, origin: `http://127.0.0.1:${server.address().port}` };
};

const STREAM = { 'Content-Type': 'text/event-stream' };
const stream = (...parts) => (_, response) => {
  response.writeHead(200, STREAM);
  parts.forEach((part) => response.write(part));
  response.end();
};

/** What an iterator yields, and what it throws. */
const read = async (url, options) => {
  const found = [];
  try {
    for await (const { data } of events(url, { policy: 'once', ...options })) found.push(data);
  } catch (error) {
    if (!(error instanceof EventsError)) throw error;
    found.push(error.status.reason, error.status.cause?.name ?? '');
  }
  return found;
};

const SECRETS = {
  'X-Api-Key': 'k', 'Mcp-Session-Id': 's', Authorization: 'Bearer t', Cookie: 'c=1', 'Accept-Language': 'eo',
  'User-Agent': 'mine/1',
};
const names = Object.keys(SECRETS).map((name) => name.toLowerCase());
const carried = ({ headers }) => names.filter((name) => headers[name] === SECRETS[Object.keys(SECRETS)[names.indexOf(name)]]);

for (const status of [301, 302, 303, 307, 308]) {
  test(`a redirect (${status}) to another origin takes no secret along, and the id`, async () => {
    const there = await serve(stream('data: there\n\n'));
    const here = await serve((_, response) => response.writeHead(status, { Location: `${there.origin}/next` }).end());
    equal(await read(here.origin, { headers: SECRETS, lastEventId: '7' }), ['there']);
    equal(carried(here.requests[0]), names);
    equal(carried(there.requests[0]), ['accept-language', 'user-agent']);
    equal([there.requests[0].headers['last-event-id'], there.requests[0].headers.accept], ['7', 'text/event-stream']);
  });
}

test('a redirect within an origin takes all along', async () => {
  const here = await serve((request, response, count) => {
    if (count === 1) response.writeHead(307, { Location: 'next?x' }).end();
    else stream('data: here\n\n')(request, response);
  });
  equal(await read(`${here.origin}/a/b`, { headers: SECRETS, method: 'POST', body: 'question' }), ['here']);
  const [, { method, url, body }] = here.requests;
  equal([method, url, body, carried(here.requests[1])], ['POST', '/a/next?x', 'question', names]);
});

for (const [status, method, expected] of [
  [301, 'POST', 'GET'], [302, 'POST', 'GET'], [303, 'POST', 'GET'], [303, 'PUT', 'GET'], [301, 'PUT', undefined],
  [307, 'POST', undefined], [308, 'POST', undefined],
]) {
  test(`a body goes to no other origin (${status}, ${method})`, async () => {
    const there = await serve(stream('data: there\n\n'));
    const here = await serve((_, response) => response.writeHead(status, { Location: there.origin }).end());
    const found = await read(here.origin, { method, body: 'secret' });
    equal(found, expected ? ['there'] : ['request', 'RedirectError']);
    equal(there.requests.map(({ method, body }) => [method, body]), expected ? [[expected, '']] : []);
  });
}

test('a redirect to what is no address is final', async () => {
  for (const Location of ['http://[', 'ftp://127.0.0.1/', 'file:///etc/passwd']) {
    const here = await serve((_, response) => response.writeHead(302, { Location }).end());
    const source = new ReconnectingEventSource(here.origin, { max_retry_time: 1 });
    await new Promise((resolve) => { source.onerror = resolve; });
    equal([source.readyState, source.status.reason, source.status.cause.name], [2, 'request', 'RedirectError'], Location);
  }
});

test('a fetch of the caller whose answer is none is final', async () => {
  for (const answer of [undefined, {}, { status: 302 }, 'text']) {
    let count = 0;
    const fetch = async () => { count += 1; return answer; };
    const source = new ReconnectingEventSource('http://localhost/', { fetch, max_retry_time: 1 });
    await new Promise((resolve) => { source.onerror = resolve; });
    equal([source.readyState, source.status.reason, count], [2, 'request', 1], JSON.stringify(answer));
  }
});

test('a redirect without end is not followed for ever', async () => {
  const here = await serve((_, response) => response.writeHead(302, { Location: '/again' }).end());
  const source = new EventSource(here.origin);
  await new Promise((resolve) => { source.onerror = resolve; });
  equal([source.readyState, source.status.reason, here.requests.length], [0, 'network', 11]);
  source.close();
});

test('user name and password go with a redirect within the origin, and to no other', async () => {
  const there = await serve(stream('data: there\n\n'));
  const here = await serve((_, response, count) =>
    response.writeHead(302, { Location: count === 1 ? '/next' : `http://other:one@${there.origin.slice(7)}` }).end());
  equal(await read(here.origin.replace('//', '//user:p%40ss@')), ['there']);
  const basic = `Basic ${Buffer.from('user:p@ss').toString('base64')}`;
  equal(here.requests.map(({ headers }) => headers.authorization), [basic, basic]);
  equal(there.requests[0].headers.authorization, undefined);
});

test('a caller that sends the requests is asked to send each part of a redirect', async () => {
  const there = await serve(stream('data: there\n\n'));
  const here = await serve((_, response) => response.writeHead(302, { Location: there.origin }).end());
  const asked = [];
  const own = (url, init) => { asked.push(new URL(url).origin); return fetch(url, init); };
  equal(await read(here.origin, { fetch: own, headers: SECRETS }), ['there']);
  equal([asked, carried(there.requests[0])], [[here.origin, there.origin], ['accept-language', 'user-agent']]);
});

test('the connection of a complete answer is used again', async () => {
  const here = await serve((_, response) => {
    response.writeHead(200, STREAM);
    response.write('data: a\n\ndata: [DONE]\n\n');
    setTimeout(() => response.end(), 5);
  });
  for (let count = 0; count < 4; count++) {
    equal(await read(here.origin, { until: '[DONE]', body: 'x' }), ['a']);
    // Until the end has been read as well.
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  // A machine that stands still for long may lose one.
  equal([here.requests.length, here.sockets.size < 4], [4, true]);
});

test('a complete answer that does not end is let go', async () => {
  let gone = false;
  const here = await serve((_, response) => {
    response.writeHead(200, STREAM);
    response.write('data: a\n\nevent: end\ndata: b\n\n');
    response.on('close', () => { gone = true; });
  });
  equal(await read(here.origin, { until: { type: 'end' } }), ['a', 'b']);
  while (!gone) await new Promise((resolve) => setTimeout(resolve, 10));
});

test('a body may be a stream', async () => {
  const here = await serve(stream('data: a\n\n'));
  const body = new Blob(['ques', 'tion']).stream();
  equal(await read(here.origin, { method: 'POST', body }), ['a']);
  equal(here.requests[0].body, 'question');
});

const typed = (status, type, body) => (_, response) =>
  response.writeHead(status, type === undefined ? {} : { 'Content-Type': type }).end(body);

test('an answer of an allowed type is one event, and no other is', async () => {
  const accepts = 'application/json';
  for (const [status, type, body, expected] of [
    [200, 'Application/JSON;charset=utf-8', '{"a":1}', ['{"a":1}']],
    [203, 'text/html, application/json', '\ufeff{\r\n"é": [\n]}', ['{\n"é": [\n]}']],
    [200, 'text/html;x=", text/html", application/json;y="\\","', '2', ['2']],
    [200, 'application/json, */*, nonsense', '1', ['1']],
    [200, 'application/json', '', []],
    [200, 'application/json', 'event: x\nid: 1\n\ndata: y', ['event: x\nid: 1\n\ndata: y']],
    [200, 'text/event-stream', 'data: a\n\ndata: b\n\ndata: [DONE]\n\n', ['a', 'b']],
    [200, 'text/html', '{}', ['content-type', '']],
    [200, 'application/json;x=", application/json"', '3', ['3']],
    [200, 'text/html;x=", application/json"', '{}', ['content-type', '']],
    [200, 'application/json2', '{}', ['content-type', '']],
    [404, 'application/json', '{"error":1}', ['status', '']],
  ]) {
    const here = await serve(typed(status, type, body));
    equal(await read(here.origin, { body: '{}', accepts, until: '[DONE]', mustComplete: true }), expected, `${status} ${type}`);
    equal([here.requests.length, here.requests[0].headers.accept], [1, 'application/json, text/event-stream']);
  }
  const here = await serve(typed(200, 'application/json', '{}'));
  equal(await read(here.origin), ['content-type', '']);
  equal(await read(here.origin, { accepts, headers: { Accept: 'x/y' } }), ['{}']);
  equal(here.requests[1].headers.accept, 'x/y');
});

test('an answer that is taken as a whole is whole, and not longer than an event', async () => {
  const here = await serve((_, response) => {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.write('{"a":');
    setTimeout(() => response.destroy(), 50);
  });
  equal(await read(here.origin, { accepts: ['application/json'] }), ['network', 'TypeError']);
  const long = await serve(typed(200, 'application/json', ' '.repeat(101)));
  const [reason, name] = await read(long.origin, { accepts: 'application/json', maxEventLength: 100 });
  equal([reason, name], ['request', 'RangeError']);
  equal(await read(long.origin, { accepts: 'application/json', maxEventLength: 101 }), [' '.repeat(101)]);
});

test('another status and another type are taken where the caller allows them', async () => {
  const body = 'data: a\n\n';
  for (const [status, type, options, expected] of [
    [201, 'text/event-stream', { acceptsStatus: [201, 202] }, ['a']],
    [201, 'text/event-stream', { acceptsStatus: 202 }, ['status', '']],
    [202, undefined, { acceptsStatus: 202, mustComplete: true }, []],
    [202, 'text/html', { acceptsStatus: 202 }, ['status', '']],
    [200, 'Text/Plain', { acceptsStreamAs: 'text/plain' }, ['a']],
    [200, undefined, { acceptsStreamAs: ['', 'text/plain'] }, ['a']],
    [200, 'nonsense', { acceptsStreamAs: '' }, ['content-type', '']],
    [503, 'text/plain', { acceptsStreamAs: 'text/plain' }, ['status', '']],
  ]) {
    const here = await serve(typed(status, type, status === 202 ? '' : body));
    equal(await read(here.origin, options), expected, `${status} ${type}`);
  }
});

test('the error of an answer that is not complete has what the server has said outside of events', async () => {
  const error = '{"error":{"message":"overloaded"}}';
  for (const [parts, said] of [
    [['data: a\n\n', error], error],
    [['data: a\r\n\r\n' + error.slice(0, 9), error.slice(9) + '\n\n'], error],
    [[': ping\nerror: 5\n\n', 'id: 1\ndata\nretry: 5\n'], 'error: 5'],
    [[`data: ${'x'.repeat(2000)}\n\n`, 'upstream failed'], 'upstream failed'],
    [['y'.repeat(2000)], undefined],
    [['data: a\n\nretr'], undefined], [['\ufeffd'], undefined], [['data: a\n\nerror: 5\nid'], 'error: 5'], [['data: a\n\nreset'], 'reset'],
    [['data: a\n\n'], undefined],
  ]) {
    const here = await serve(async (_, response) => {
      response.writeHead(200, STREAM);
      for (const part of parts) {
        response.write(part);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      response.end();
    });
    let failed;
    try {
      for await (const _ of events(here.origin, { body: '{}', until: '[DONE]', mustComplete: true }));
    } catch (caught) {
      failed = caught;
    }
    equal([failed.status.reason, failed.status.body], ['incomplete', said]);
    equal(failed.message, said ? `incomplete: ${said}` : 'incomplete');
  }
});

test('the error of a server that is not there says what has happened to which address', async () => {
  const gone = await serve(() => {});
  servers.pop()();
  const message = (fetch) => events(gone.origin, { policy: 'once', fetch }).next().catch(({ message }) => message);
  // Others than Node have it in the error itself.
  if (!globalThis.Bun && !globalThis.Deno) {
    equal(await message(), `network: fetch failed: connect ECONNREFUSED ${gone.origin.slice(7)}`);
  }
  const fetch = () => Promise.reject(new TypeError('lost: far away', { cause: new Error('far away') }));
  equal(await message(fetch), 'network: lost: far away', 'what has been said is not said again');
});

test('the first event has a limit of its own', async () => {
  const here = await serve((_, response) => response.writeHead(200, STREAM).write(': welcome\n'));
  equal(await read(here.origin, { firstEventTimeout: 200, idleTimeout: 60000 }), ['idle-timeout', '']);
  const later = await serve((_, response) => {
    response.writeHead(200, STREAM).write(':\n');
    setTimeout(() => response.end('data: a\n\n'), 400);
  });
  equal(await read(later.origin, { firstEventTimeout: 60000, idleTimeout: 200 }), ['a']);
});

test('each has a connection of its own where pages share theirs', async () => {
  const here = await serve(stream('data: a\n\n'));
  const sources = [1, 2].map(() => new SharedEventSource(here.origin, { policy: 'once' }));
  await Promise.all(sources.map((source) => new Promise((resolve) => { source.onmessage = resolve; })));
  sources.forEach((source) => source.close());
  equal(here.requests.length, 2);
});

test('an id of any length and in any letters is resumed from', async () => {
  for (const id of ['é✓', 'x'.repeat(15000)]) {
    const here = await serve(stream(`id: ${id}\ndata: a\n\n`));
    const source = new ReconnectingEventSource(here.origin, { max_retry_time: 1 });
    while (here.requests.length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
    source.close();
    equal(Buffer.from(here.requests[1].headers['last-event-id'], 'latin1').toString(), id);
  }
});

const coded = (codings, type, body) => serve((_, response) => {
  response.writeHead(200, { 'Content-Type': type, 'Content-Encoding': codings });
  response.end(body);
});

const CODED = [
  ['identity, gzip', gzipSync], ['GZIP , Identity', gzipSync], ['gzip,', gzipSync], [['identity', 'x-gzip'], gzipSync],
  ['deflate, identity', deflateSync], ['deflate, identity, gzip', (text) => gzipSync(deflateSync(text))],
  ['gzip', gzipSync], ['identity', Buffer.from], ['none', Buffer.from], ['utf-8', Buffer.from],
];

test('a body is decoded, whatever else the list of its codings has', async () => {
  for (const [codings, code] of CODED) {
    for (const text of ['data: a\n\n', ': first\n\ndata: a\n\n']) {
      equal(await read((await coded(codings, 'text/event-stream', code(text))).origin), ['a'], codings);
    }
    const taken = await coded(codings, 'application/json', code('{"a":1}'));
    equal(await read(taken.origin, { accepts: 'application/json' }), ['{"a":1}'], codings);
  }
});

test('a coded body is read as it comes', async () => {
  const here = await serve((_, response) => {
    response.writeHead(200, { ...STREAM, 'Content-Encoding': 'identity, gzip' });
    response.write(gzipSync('data: a\n\n'));
  });
  const source = new EventSource(here.origin);
  equal((await new Promise((resolve) => { source.onmessage = resolve; })).data, 'a');
  source.close();
});

test('a body in a coding that is not decoded here is refused by its name, and asked for once', async () => {
  // What names a coding twice is mostly coded once, of which some versions of Node tell nothing.
  const twice = ['gzip, gzip', ['gzip', 'GZIP'], 'deflate, identity, deflate', 'gzip, x-gzip'];
  for (const codings of ['aes128gcm', 'compress', 'unheard-of, gzip', 'x-compress, identity', ...twice]) {
    const here = await coded(codings, 'text/event-stream', gzipSync('data: a\n\n'));
    equal(await read(here.origin, { policy: 'resilient' }), ['content-coding', 'CodingError'], codings);
    equal(here.requests.length, 1);
  }
});

test('events look like those of the platform', async () => {
  const source = EventSource.fromReadableStream(new Blob(['id: 1\ndata: a\n\n']).stream());
  const [event, count] = await new Promise((resolve) => {
    source.onmessage = (event) => {
      let count = 0;
      for (const name in event) count += event[name] === undefined ? 0 : 1;
      resolve([event, count]);
    };
  });
  equal([event.constructor === MessageEvent, event instanceof MessageEvent, count > 10], [true, true, true]);
  equal(new MessageEvent(event.type, { data: event.data, lastEventId: event.lastEventId }).lastEventId, '1');
});

test('an event can be printed, and shows its type and its data', async () => {
  const source = new EventSource((await serve(stream('id: 1\ndata: a\n\n'))).origin);
  const events = [];
  await new Promise((resolve) => {
    source.onopen = source.onmessage = (event) => { events.push(event); };
    source.onerror = (event) => resolve(events.push(event));
  });
  source.close();
  events[1].mine = 'note';
  for (const print of [(event) => inspect(event), (event) => format(event), globalThis.Deno?.inspect].filter(Boolean)) {
    const printed = events.map((event) => print(event));
    for (const [at, what] of [[0, /Event.*open.*state/s], [1, /MessageEvent.*message.*['"]a['"].*note/s], [2, /Event.*error.*waiting/s]]) {
      equal(what.test(printed[at]), true, printed[at]);
    }
  }
  equal(Object.getPrototypeOf(events[1]) === MessageEvent.prototype, true);
});

/** Whether this is Node itself, and not what has its servers. */
const isNode = !globalThis.Deno && !globalThis.Bun;

/** What a source is told until it is closed, or has said so many things. */
const told = (source, most = Infinity) => new Promise((resolve) => {
  const all = [];
  source.onstatus = ({ state, reason, cause }) => {
    all.push([state, reason, cause?.name].filter(Boolean).join(' '));
    if (state !== 'closed' && all.length < most) return;
    // What is told too often comes at once.
    setTimeout(() => {
      source.close();
      resolve(all);
    }, 100);
  };
});

/** A server of bytes, for answers that no other makes. */
const serveRaw = async (answer) => {
  const requests = [];
  const server = createRawServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (head) => {
      requests.push(`${head}`.split(' ')[1]);
      socket.end(answer(requests.length, requests.at(-1)), 'latin1');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  servers.push(() => server.close());
  return { requests, origin: `http://127.0.0.1:${server.address().port}` };
};

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

let failed = 0;
for (const [name, run] of tests) {
  let timer;
  try {
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('it takes too long')), 20000); });
    await Promise.race([run(), late]);
  } catch (error) {
    failed++;
    console.log(`${name}: ${error.stack}`);
  }
  clearTimeout(timer);
  servers.splice(0).forEach((stop) => stop());
}
console.log(`${tests.length - failed} of ${tests.length}`);
process.exitCode = failed ? 1 : 0;
