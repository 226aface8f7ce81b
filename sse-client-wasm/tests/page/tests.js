// What the tests in the page are written with.

export const tests = [];

/** A test, named for the behaviour. Tests of windows are left out where there is no window. */
export const test = (name, run) => tests.push([name, run]);
export const windowTest = (name, run) => globalThis.document && test(name, run);

/** The other origin. */
export let other;
export const setOther = (origin) => { other = origin; };

const open = [];
/** Remembers a source, which is closed after the test. */
export const keep = (source) => {
  open.push(source);
  return source;
};
export const cleanUp = () => open.splice(0).forEach((source) => source.close());

export const STREAM = '200 OK\r\nContent-Type: text/event-stream';
/** A connection that sends this, and stays open. */
export const stays = (...body) => ({ head: STREAM, body, end: 'hang' });
/** One that sends this, and ends. */
export const ends = (...body) => ({ head: STREAM, body, end: 'close' });
/** One that sends this, and breaks. */
export const breaks = (...body) => ({ head: STREAM + '\r\nTransfer-Encoding: chunked', body: body.map(chunk), end: 'close' });
const chunk = (text) => (typeof text === 'string' ? `${text.length.toString(16)}\r\n${text}\r\n` : text);
export const refuses = (head, body = '') => ({ head, body: [body], end: 'close' });

let number = 0;
/** Sets up a stream with these connections, the last one over and over, and returns its URL. */
export const serve = async (...connections) => {
  const name = `${globalThis.document ? 'w' : 'k'}${Math.random().toString(36).slice(2)}${++number}`;
  await fetch(`${location.origin}/script/${name}`, { method: 'POST', body: JSON.stringify(connections) });
  return `${location.origin}/s/${name}`;
};

/** A text in `gzip`, a code point for each byte. */
export const gzip = async (text) => {
  const coded = new Blob([text]).stream().pipeThrough(new CompressionStream('gzip'));
  return String.fromCharCode(...new Uint8Array(await new Response(coded).arrayBuffer()));
};
/** Sets up a stream with a body that is said to have these codings. */
export const coded = (codings, body) =>
  serve({ head: `${STREAM}\r\nContent-Encoding: ${codings}`, body: [body], end: 'hang' });

/** The requests that a stream has got. */
export const log = async (url) => (await fetch(`${location.origin}/log/${new URL(url).pathname.slice(3)}`)).json();
export const letGo = (gate) => fetch(`${location.origin}/open/${gate}`, { method: 'POST' });

export const equal = (found, expected, about = '') => {
  const [one, two] = [found, expected].map((value) => JSON.stringify(value));
  if (one !== two) throw new Error(`${about} ${one} instead of ${two}`);
};
export const ok = (condition, about) => {
  if (!condition) throw new Error(about);
};

/** Waits until a condition holds. */
export const until = async (about, condition, time = 45000) => {
  // By a clock that no test turns.
  const deadline = Date.now() + time;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`not within ${time} ms: ${about}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

/** The next event of a type. */
export const next = (source, type) =>
  new Promise((resolve) => source.addEventListener(type, resolve, { once: true }));

/** So little time between tries as can be. */
export const QUICK = { max_retry_time: 1 };
