// Tests of the package outside browsers: servers of theirs, and what they have in common.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createRawServer } from 'node:net';
import { EventsError, events } from 'sse-client-wasm';

export const equal = (found, expected, about = '') => {
  const [one, two] = [found, expected].map((value) => JSON.stringify(value));
  if (one !== two) throw new Error(`${about} ${one} instead of ${two}`);
};

const tests = [];
export const test = (name, run) => tests.push([name, run]);
/** Servers of the test that runs. */
export const servers = [];

/** A server, at an origin of its own, and the requests that it has got. */
export const serve = async (answer) => {
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

export const STREAM = { 'Content-Type': 'text/event-stream' };
export const stream = (...parts) => (_, response) => {
  response.writeHead(200, STREAM);
  parts.forEach((part) => response.write(part));
  response.end();
};

/** What an iterator yields, and what it throws. */
export const read = async (url, options) => {
  const found = [];
  try {
    for await (const { data } of events(url, { policy: 'once', ...options })) found.push(data);
  } catch (error) {
    if (!(error instanceof EventsError)) throw error;
    found.push(error.status.reason, error.status.cause?.name ?? '');
  }
  return found;
};

export const SECRETS = {
  'X-Api-Key': 'k', 'Mcp-Session-Id': 's', Authorization: 'Bearer t', Cookie: 'c=1', 'Accept-Language': 'eo',
  'User-Agent': 'mine/1',
};

export const typed = (status, type, body) => (_, response) =>
  response.writeHead(status, type === undefined ? {} : { 'Content-Type': type }).end(body);

export const coded = (codings, type, body) => serve((_, response) => {
  response.writeHead(200, { 'Content-Type': type, 'Content-Encoding': codings });
  response.end(body);
});

/** Whether this is Node itself, and not what has its servers. */
export const isNode = !globalThis.Deno && !globalThis.Bun;

/** What a source is told until it is closed, or has said so many things. */
export const told = (source, most = Infinity) => new Promise((resolve) => {
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
export const serveRaw = async (answer) => {
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

/** Runs all of them. Prints what has failed, and ends with 1 then. */
export const run = async () => {
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
};
