// Connections that pages share: by a worker, and by the page that has the lock. Each frame has a
// copy of the module of its own, as a tab has.

import { STREAM, equal, letGo, log, serve, stays, test, until } from '/page/tests.js';

let frames = [];

/** A page with a source. */
const page = async (url, options) => {
  const frame = document.body.appendChild(document.createElement('iframe'));
  frames.push(frame);
  const { contentWindow } = frame;
  await contentWindow.eval(`
    window.seen = [];
    import('/package/external.js').then(({ SharedEventSource }) => {
      window.source = new SharedEventSource(${JSON.stringify(url)}, ${JSON.stringify({ max_retry_time: 1, ...options })});
      source.onmessage = ({ data, lastEventId }) => seen.push(lastEventId + data);
    });`);
  await until('there is a source', () => contentWindow.source);
  return contentWindow;
};

const open = async (...args) => {
  const opened = await page(...args);
  await until('it is open', () => opened.source.readyState === 1);
  return opened;
};

const cleanUp = () => {
  for (const frame of frames) {
    frame.contentWindow.source?.close();
    frame.remove();
  }
  frames = [];
};

/** Both ways to share. */
const both = (name, run) => {
  for (const [how, options] of [['a worker', {}], ['a page', { worker: false }]]) {
    test(`${how}: ${name}`, async () => {
      try {
        await run(options);
      } finally {
        cleanUp();
      }
    });
  }
};

both('pages share one connection', async (options) => {
  const gate = `both${Math.random()}`;
  const url = await serve(stays({ gate }, 'id: 1\ndata: a\n\n'));
  const [one, two] = [await open(url, options), await open(url, options)];
  await letGo(gate);
  await until('both have it', () => one.seen.length && two.seen.length);
  equal([one.seen, two.seen], [['1a'], ['1a']]);
  equal((await log(url)).length, 1, 'one connection');
});

test('a page that leads and leaves hands the connection over', async () => {
  const gate = `over${Math.random()}`;
  const url = await serve(stays({ gate }, 'id: 1\ndata: a\n\n'), stays('id: 2\ndata: b\n\n'));
  const [one, two] = [await open(url, { worker: false }), await open(url, { worker: false })];
  await letGo(gate);
  await until('both have it', () => one.seen.length && two.seen.length);
  one.source.close();
  await until('the other goes on', () => two.seen.length === 2);
  equal([one.seen, two.seen], [['1a'], ['1a', '2b']]);
  equal((await log(url))[1].headers['last-event-id'], '1');
  cleanUp();
});

test('a worker keeps the connection when the page that began it leaves', async () => {
  const gate = `keep${Math.random()}`;
  const url = await serve(stays('id: 1\ndata: a\n\n', { gate }, 'id: 2\ndata: b\n\n'));
  const [one, two] = [await open(url), await open(url)];
  one.source.close();
  await letGo(gate);
  await until('the other goes on', () => two.seen.at(-1) === '2b');
  equal((await log(url)).length, 1);
  cleanUp();
});

const authorized = (user) => ({ headers: { Authorization: `Bearer ${user}` } });

for (const [difference, first, second] of [
  ['Authorization', authorized('alice'), authorized('bob')],
  ['the credentials mode', {}, { withCredentials: true }],
  ['another header', { headers: { 'X-Tenant': 'a' } }, { headers: { 'X-Tenant': 'b' } }],
  ['`share`', { share: 'alice' }, { share: 'bob' }],
  ['the length that an event may have', {}, { maxEventLength: 1000 }],
]) {
  both(`nothing is shared by requests that differ in ${difference}`, async (options) => {
    const url = await serve(stays('data: first\n\n'), stays('data: second\n\n'));
    const one = await open(url, { ...options, ...first });
    const two = await open(url, { ...options, ...second });
    await until('each has its own', () => one.seen.length && two.seen.length);
    equal([one.seen, two.seen], [['first'], ['second']]);
    const [a, b] = await log(url);
    if (first.headers) {
      const name = Object.keys(first.headers)[0].toLowerCase();
      equal([a, b].map(({ headers }) => headers[name]), [first, second].map(({ headers }) => Object.values(headers)[0]));
    }
  });
}

both('a page that joins with an older position gets what is missing', async (options) => {
  const gate = `late${Math.random()}`;
  const url = await serve(stays('id: 1\ndata: a\n\nid: 2\ndata: b\n\ndata: c\n\nid: 3\ndata: d\n\n', { gate }, 'id: 4\ndata: e\n\n'));
  const one = await open(url, options);
  await until('the first has all', () => one.seen.length === 4);
  const two = await open(url, { ...options, lastEventId: '2' });
  await until('the second has the rest', () => two.seen.length === 2);
  equal(two.seen, ['2c', '3d']);
  const three = await open(url, options);
  await letGo(gate);
  await until('all go on', () => [one, two, three].every(({ seen }) => seen.at(-1) === '4e'));
  equal([two.seen, three.seen], [['2c', '3d', '4e'], ['4e']]);
  equal((await log(url)).length, 1, 'one connection');
});

both('a position that the shared connection does not know is asked for', async (options) => {
  const url = await serve(stays('id: 7\ndata: now\n\n'), stays('id: 3\ndata: then\n\nid: 7\ndata: now\n\n'));
  const one = await open(url, options);
  await until('it has an event', () => one.seen.length === 1);
  const two = await page(url, { ...options, lastEventId: '2' });
  await until('it has both', () => two.seen.length === 2);
  equal(two.seen, ['3then', '7now']);
  equal((await log(url)).map(({ headers }) => headers['last-event-id']), [undefined, '2']);
});

test('where the worker is missing, a page has the connection', async () => {
  const url = await serve(stays('data: a\n\n'));
  const one = await open(url, { worker: '/package/no-such-worker.js' });
  await until('it has an event', () => one.seen.length === 1);
  cleanUp();
});

both('the end is told to all', async (options) => {
  const url = await serve({ head: `${STREAM}\r\nX-A: b`, body: ['event: stream-error\nid: error\ndata: no\n\n'], end: 'close' });
  const one = await page(url, options);
  await until('it is over', () => one.source.readyState === 2);
  equal(one.source.status.reason, 'stream-error');
  const two = await page(url, options);
  await until('it is over there', () => two.source.readyState === 2);
});
