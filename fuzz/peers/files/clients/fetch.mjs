// A client that is right, by `fetch` alone: what `sse-fuzz hostile` must not accuse of anything.
// It takes a URL, a header, a method and a body, and prints each event as a line of JSON.

import { writeSync } from 'node:fs';

const [url, header, method, body] = process.argv.slice(2);
const [name, value] = header.split(': ');
const MOST = 16 << 20; // characters of an event that are kept
const SILENCE = 3000;
const sleep = (time) => new Promise((done) => setTimeout(done, time));

let lastId = '';
let wait = 1000;

function print(event) {
  let bytes = Buffer.from(JSON.stringify(event) + '\n');
  while (bytes.length) {
    try {
      bytes = bytes.subarray(writeSync(1, bytes));
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

/** Section 9.2.6 of the standard. */
class Parser {
  line = '';
  afterCr = false;
  dropped = false;
  data = [];
  size = 0;
  type = '';
  id = lastId;

  feed(text) {
    let start = 0;
    if (this.afterCr && text) {
      this.afterCr = false;
      if (text[0] === '\n') start = 1;
    }
    const ends = /\r\n?|\n/g;
    ends.lastIndex = start;
    for (let end; (end = ends.exec(text)); start = ends.lastIndex) {
      this.keep(text.slice(start, end.index));
      this.afterCr = end[0] === '\r' && ends.lastIndex === text.length;
      const line = this.line;
      this.line = '';
      this.take(line);
    }
    this.keep(text.slice(start));
  }

  keep(text) {
    if (this.dropped || this.size + this.line.length + text.length > MOST) {
      this.dropped = true;
      this.data = [];
      this.line = this.line || text ? ':' : '';
    } else {
      this.line += text;
    }
  }

  take(line) {
    if (line === '') return this.dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    let text = colon < 0 ? '' : line.slice(colon + 1);
    if (text.startsWith(' ')) text = text.slice(1);
    if (field === 'data') {
      this.data.push(text);
      this.size += text.length + 1;
    } else if (field === 'event') this.type = text;
    else if (field === 'id' && !text.includes('\0')) this.id = text;
    else if (field === 'retry' && /^[0-9]+$/.test(text)) wait = Math.min(Number(text), 3600_000);
  }

  dispatch() {
    lastId = this.id;
    if (this.data.length && !this.dropped) {
      print({ event: this.type || 'message', data: this.data.join('\n'), id: lastId });
      if (this.type === 'stream-error') process.exit(1);
    }
    [this.data, this.size, this.type, this.dropped] = [[], 0, '', false];
  }
}

/** One connection; how long to wait before the next, at least. */
async function attempt() {
  const abort = new AbortController();
  let timer = setTimeout(() => abort.abort(), SILENCE);
  try {
    const headers = { Accept: 'text/event-stream', 'Cache-Control': 'no-cache', [name]: value };
    // Fetch takes no control characters; the rest goes as the bytes of UTF-8.
    if (lastId && !/[\0-\x1f\x7f]/.test(lastId)) {
      headers['Last-Event-ID'] = Buffer.from(lastId).toString('latin1');
    }
    const options = { method, body: body || undefined, headers, signal: abort.signal };
    const answer = await fetch(url, options);
    const { status } = answer;
    if ([408, 425, 429].includes(status) || status >= 500) {
      const after = answer.headers.get('retry-after') ?? '1';
      const time = /^[0-9]+$/.test(after) ? Number(after) * 1000 : new Date(after) - Date.now();
      return Math.min(time, 3600_000);
    }
    const type = (answer.headers.get('content-type') ?? '').split(';')[0].trim().toLowerCase();
    if (status !== 200 || type !== 'text/event-stream') process.exit(1);
    const decoder = new TextDecoder();
    const parser = new Parser();
    for await (const bytes of answer.body) {
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), SILENCE);
      parser.feed(decoder.decode(bytes, { stream: true }));
    }
  } catch (error) {
    // A URL that is none, or a redirect that leads nowhere, does not get better.
    if (/Failed to parse URL|includes credentials|redirect/.test(`${error} ${error.cause}`)) {
      process.exit(1);
    }
  } finally {
    clearTimeout(timer);
    abort.abort();
  }
  return 0;
}

for (;;) {
  const asked = await attempt();
  if (method !== 'GET') process.exit(0);
  await sleep(Math.max(wait, asked, 400));
}
