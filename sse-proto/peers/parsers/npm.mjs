// Parsers of npm, each as the function that the runner of the vectors wants: chunks to events. What
// a package calls an event without a type is `message`; where it does not tell the last event ID in
// force, but only the id field of a block, ids are not compared.
import { createRequire } from 'node:module';
import { createParser } from 'eventsource-parser';
import { EventSource } from 'eventsource';
import { parseServerSentEvents } from 'parse-sse';
import { events } from 'fetch-event-stream';
import { parse } from 'event-stream-parser';
import { createSseStream } from '@azure/core-sse';
import { LineDecoder, SSEDecoder } from 'sse-decoder';
import { SSE } from 'sse.js';

const require = createRequire(import.meta.url);
const { getBytes, getLines, getMessages } = require('@microsoft/fetch-event-source/lib/cjs/parse');
const { default: EventSourceStream } = require('@server-sent-stream/web');
const openai = await import('openai/core/streaming');
const anthropic = await import('@anthropic-ai/sdk/core/streaming');

const stream = (chunks) =>
  new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
const response = (chunks) => new Response(stream(chunks), { headers: { 'Content-Type': 'text/event-stream' } });
const message = ({ type, data, lastEventId }) => ({ event: type, data, id: lastEventId });

async function all(iterable, event) {
  const found = [];
  for await (const item of iterable) found.push(event(item));
  return found;
}

/** As text, which the package leaves to its user: UTF-8 that may be cut anywhere. */
function texts(chunks, ignoreBOM = true) {
  const utf8 = new TextDecoder('utf-8', { ignoreBOM });
  return [...chunks.map((chunk) => utf8.decode(chunk, { stream: true })), utf8.decode()];
}

const sdk = ({ _iterSSEMessages }) => (chunks) =>
  all(_iterSSEMessages(response(chunks), new AbortController()), ({ event, data }) => ({ event: event || 'message', data }));

function eventsource(chunks) {
  return new Promise((resolve) => {
    const found = [];
    const answers = [response(chunks)];
    // It comes back when the stream has ended, and then waits for an answer.
    const fetch = () => Promise.resolve(answers.pop() ?? new Promise(() => {}));
    const source = new EventSource('http://127.0.0.1/', { fetch });
    source.dispatchEvent = (event) => {
      if ('lastEventId' in event) found.push(message(event));
      if (event.type === 'error' && !('lastEventId' in event)) {
        source.close();
        resolve(found);
      }
      return true;
    };
  });
}

/** A request of a browser's that has what the package looks at. */
class Request extends EventTarget {
  static HEADERS_RECEIVED = 2;
  responseText = '';
  status = 200;
  readyState = 0;
  open() {}
  setRequestHeader() {}
  getAllResponseHeaders() { return ''; }
  abort() {}
  send() {}
}

function ssejs(chunks) {
  globalThis.XMLHttpRequest = Request;
  const found = [];
  const source = new SSE('http://127.0.0.1/', { start: false });
  source.dispatchEvent = (event) => {
    if (event && 'data' in event && 'lastEventId' in event) found.push(message(event));
    return true;
  };
  source.stream();
  // A browser drops the byte order mark itself.
  for (const text of texts(chunks, false).filter((text) => text !== '')) {
    source.xhr.responseText += text;
    source.xhr.dispatchEvent(new Event('progress'));
  }
  source.xhr.dispatchEvent(new Event('load'));
  return found;
}

export const parsers = {
  'eventsource-parser': (chunks) => {
    const found = [];
    const parser = createParser({ onEvent: ({ event, data }) => found.push({ event: event ?? 'message', data }) });
    for (const text of texts(chunks)) parser.feed(text);
    return found;
  },
  eventsource,
  '@microsoft/fetch-event-source': async (chunks) => {
    const found = [];
    const onMessage = ({ event, data }) => found.push({ event: event || 'message', data });
    await getBytes(stream(chunks), getLines(getMessages(() => {}, () => {}, onMessage)));
    return found;
  },
  'parse-sse': (chunks) => all(parseServerSentEvents(response(chunks)), message),
  'fetch-event-stream': (chunks) =>
    all(events(response(chunks)), ({ event, data }) => ({ event: event ?? 'message', data })),
  openai: sdk(openai),
  '@anthropic-ai/sdk': sdk(anthropic),
  '@server-sent-stream/web': (chunks) => all(stream(chunks).pipeThrough(new EventSourceStream()), message),
  '@azure/core-sse': (chunks) =>
    all(createSseStream(stream(chunks)), ({ event, data }) => ({ event: event || 'message', data })),
  'sse-decoder': (chunks) => {
    const [lines, decoder] = [new LineDecoder(), new SSEDecoder()];
    const found = [];
    const take = (line) => {
      const event = decoder.decode(line);
      if (event) found.push({ event: event.event ?? 'message', data: event.data });
    };
    for (const chunk of chunks) lines.decode(chunk).forEach(take);
    lines.flush().forEach(take);
    return found;
  },
  'event-stream-parser': async (chunks) => all(await parse(stream(chunks)), message),
  'sse.js': ssejs,
};
