// What goes out and what is taken: redirects, bodies, and kinds of answers.

import { once } from 'node:events';
import { format, inspect } from 'node:util';
import { deflateSync, gzipSync } from 'node:zlib';
import { EventSource, ReconnectingEventSource, SharedEventSource, events } from 'sse-client-wasm';
import { SECRETS, STREAM, coded, equal, read, serve, servers, stream, test, typed } from './harness.mjs';

const names = Object.keys(SECRETS).map((name) => name.toLowerCase());const carried = ({ headers }) => names.filter((name) => headers[name] === SECRETS[Object.keys(SECRETS)[names.indexOf(name)]]);

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
