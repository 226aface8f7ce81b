// An event stream as an async iterator: for requests of any method, and for streams that end. What
// only such streams need is here, so that a page without them does not carry it.

import { MUST_COMPLETE } from './core.js';
import { connect, isNormal, limit, type Connection, type ConnectionOptions, type Status } from './connection.js';
import { run } from './event-source.js';
import type { BodyLike } from './platform.js';
import { absolute, bytes, members, readerOf } from './request.js';

export interface ServerSentEvent {
  type: string;
  data: string;
  lastEventId: string;
}

/** The data of an event, such as `[DONE]`, or its type. */
export type Terminator = string | { data: string } | { type: string };

export interface EventsOptions extends ConnectionOptions {
  /** Ends the iteration by throwing its reason. */
  signal?: AbortSignal;
  /**
   * The event that completes the stream, or several. One that is named by its data is a mark, and
   * not delivered; one that is named by its type is delivered, as the last one.
   */
  until?: Terminator | readonly Terminator[];
  /** Whether a stream that ends without it has failed. Default: false. */
  mustComplete?: boolean;
  /** Types of events that tell errors: one ends the iteration with an `EventsError`. */
  errorEvents?: readonly string[];
  /**
   * Media types, such as `application/json`, of answers that are taken as a whole: with any status
   * from 200 to 299, the body is one event `message`, which completes the stream, with LF for its
   * line ends. It may be as long as an event, and take as long as a response. The request says in
   * `Accept` that it takes them, unless that is set.
   */
  accepts?: string | readonly string[];
  /** Media types that are taken for `text/event-stream`; the empty text: answers that have none. */
  acceptsStreamAs?: string | readonly string[];
  /**
   * Statuses that are as good as 200, such as 201. An answer of theirs without `Content-Type`
   * completes the stream without an event, as 202 of MCP does.
   */
  acceptsStatus?: number | readonly number[];
  onstatus?: (status: Status) => void;
}

/** What an error says, and what its own cause adds: of Node's `fetch`, what has happened. */
const told = (error: any): string => {
  const [outer, inner] = [error, error?.cause].map((one) => `${one?.message || one?.code || ''}`);
  return outer.includes(inner) ? outer : `${outer}: ${inner}`;
};

/** Why an iteration could not go on. */
export class EventsError extends Error {
  status: Status;
  /** Of a `stream-error`, or one of `errorEvents`, its data. */
  data?: string;

  constructor(status: Status, data?: string) {
    const { reason, code, body, cause } = status;
    const detail = body || data || told(cause);
    super(`${[reason, code].filter(Boolean).join(' ')}${detail ? ': ' + detail : ''}`, { cause });
    this.name = 'EventsError';
    this.status = status;
    this.data = data;
  }
}

/** One, several or none, as a list. */
const list = <T>(given: T | readonly T[] | undefined): readonly T[] =>
  Array.isArray(given) ? given : given === undefined ? [] : [given as T];

const STREAM = 'text/event-stream';

/** An answer with this body, taken for an event stream, in the codings that the body may have. */
const stream = (body: BodyLike | null, codings = '') =>
  new Response(body, { headers: { 'Content-Type': STREAM, 'Content-Encoding': codings } });

/**
 * The `type/subtype` of an answer: the last value that is one, as the module finds it in what it is
 * told (Fetch, "extract a MIME type"). Of what has none, the empty text; without a header, nothing.
 */
const essence = ({ headers }: Response) => {
  let found = headers.get('Content-Type') === null ? undefined : '';
  // A comma between quotes ends no value.
  for (const value of headers.get('Content-Type')?.match(/("(\\.|[^"\\])*"?|[^",])+/g) ?? []) {
    const [, type] = /^\s*([-!#$%&'*+.^`|~\w]+\/[-!#$%&'*+.^`|~\w]+)\s*(;|$)/.exec(value) ?? [];
    if (type && type !== '*/*') found = type.toLowerCase();
  }
  return found;
};

/** The whole text of an answer of no more than so many bytes. */
const whole = async (response: Response, most: number) => {
  const reader = response.body ? readerOf(response, true) : undefined;
  const decoder = new TextDecoder();
  let text = '', length = 0, chunk;
  while ((chunk = await reader?.read()) && !chunk.done) {
    const piece = bytes(chunk.value);
    length += piece.length;
    if (length > most) {
      reader!.cancel().catch(() => {});
      throw new RangeError(`the answer is longer than ${most} bytes, which maxEventLength allows`);
    }
    text += decoder.decode(piece, { stream: true });
  }
  return text + decoder.decode();
};

/** How much of the end of a stream is kept, in bytes, as in the native client. */
const KEPT = 512;

/** The fields of events. */
const FIELDS = ['data', 'event', 'id', 'retry'];

/** What a server has said outside of events at the end of its stream: an error, most often. */
class Excerpt {
  end: number[] = [];
  isCut = false;

  note(bytes: Uint8Array) {
    const all = [...this.end, ...bytes.subarray(-KEPT)];
    this.isCut ||= all.length > KEPT || bytes.length > KEPT;
    this.end = all.slice(-KEPT);
  }

  /** The lines that are no comments and no fields of events. */
  get unframed() {
    const lines = new TextDecoder().decode(new Uint8Array(this.end)).split(/[\r\n]/);
    // A part of a line may be of any kind.
    if (this.isCut) lines.shift();
    // The name of a field may be cut short.
    const [last] = lines.slice(-1);
    if (FIELDS.some((field) => field.startsWith(last))) lines.pop();
    // A comment is a field without a name.
    const isUnframed = (line: string) => line.trim() && !['', ...FIELDS].includes(line.split(':')[0]!);
    return lines.filter(isUnframed).join('\n');
  }
}

/**
 * The events of a stream. It connects again as `EventSource` does; a request that is no `GET` is
 * made only once, unless a `policy` says otherwise.
 */
export async function* events(
  url: string | URL,
  given: EventsOptions = {},
): AsyncGenerator<ServerSentEvent, void, void> {
  const options: EventsOptions = members(given);
  const { signal, until = [], mustComplete, errorEvents = [], onstatus } = options;
  signal?.throwIfAborted();
  const { href } = absolute(url);
  const ends = (Array.isArray(until) ? until : [until]).filter(Boolean) as Terminator[];
  const marks = ends.map((end: any) => end.data ?? (end.type ? undefined : end));
  const lastTypes = ends.map((end: any) => end.type);
  let queue: ServerSentEvent[] = [];
  let wake = () => {};
  let empty: (() => void) | undefined;
  let ended: Status | undefined;
  let failure: string | undefined;
  const [accepts, streams] = [options.accepts, options.acceptsStreamAs].map((types) => list(types).map((type) => type.toLowerCase()));
  const statuses = list(options.acceptsStatus);
  /** The answer has no more events than this one, or none. */
  let isWhole = false, isEmpty = false;
  let excerpt = new Excerpt();
  const accept = accepts.length ? [...accepts, STREAM].join(', ') : undefined;
  const connection: Connection = connect(href, { ...options, accept, flags: mustComplete ? MUST_COMPLETE : 0 }, {
    async taken(answer) {
      if (!accepts.length && !streams.length && !statuses.length) return answer;
      const type = essence(answer);
      const { status } = answer;
      const isAllowed = statuses.includes(status);
      if (answer.ok && type && accepts.includes(type)) {
        const text = await whole(answer, limit(options.maxEventLength) || 1 << 24);
        isWhole = !(isEmpty = !text);
        return stream('data: ' + text.split(/\r\n?|\n/).join('\ndata: ') + '\n\n');
      }
      if ((status === 200 || isAllowed) && (type === STREAM || (type !== '' && streams.includes(type ?? '')))) {
        return status === 200 && type === STREAM ? answer : stream(answer.body, answer.headers.get('Content-Encoding') ?? '');
      }
      isEmpty = isAllowed && type === undefined;
      return isEmpty ? stream('') : answer;
    },
    piece: (bytes) => mustComplete && excerpt.note(bytes),
    row(type, lastEventId, data) {
      if (isWhole) {
        queue.push({ type, data, lastEventId });
        connection.complete();
      } else if (type === 'stream-error') failure = data;
      else if (errorEvents.includes(type)) {
        failure = data;
        ended = { state: 'closed', reason: 'error-event' };
        connection.complete();
      } else if (marks.includes(data)) connection.complete();
      else {
        queue.push({ type, data, lastEventId });
        if (lastTypes.includes(type)) connection.complete();
      }
    },
    status(status) {
      if (status.state === 'connecting') {
        excerpt = new Excerpt();
        isWhole = isEmpty = false;
      }
      if (status.reason === 'incomplete') status.body = excerpt.unframed || undefined;
      if (status.state === 'closed') {
        ended ??= status;
        wake();
      }
      run(() => onstatus?.(ended ?? status));
      if (status.state === 'open' && isEmpty) connection.complete();
    },
    // Not more is read than is taken.
    drained() {
      wake();
      if (queue.length) return new Promise((resolve) => (empty = resolve));
    },
  });
  const abort = () => connection.close();
  signal?.addEventListener('abort', abort);
  try {
    for (;;) {
      for (const event of queue) {
        yield event;
        signal?.throwIfAborted();
      }
      queue = [];
      empty?.();
      empty = undefined;
      signal?.throwIfAborted();
      if (ended && !queue.length) {
        if (isNormal(ended.reason)) return;
        throw new EventsError(ended, failure);
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (ended || queue.length) resolve();
      });
    }
  } finally {
    signal?.removeEventListener('abort', abort);
    connection.close();
    empty?.();
  }
}
