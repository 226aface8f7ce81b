// The WebAssembly module, and what crosses its border. One instance drives one event source.

/** What `step` returns in its lowest byte. */
export const CONNECT = 0, READ = 1, SLEEP = 2, STOP = 3;
/** What `step` returns above it. */
export const SEND_ID = 1 << 8, BY_GET = 1 << 9;
/** What `state` returns in its lowest two bits. */
export const OPEN = 1, CLOSED = 2;
/** What is told with `tell`. */
export const END = 0, ERROR = 1, UNSENT = 2, RECONNECT = 3, CLOSE = 4, COMPLETE = 5;
/** Flags of `start`. */
export const FRESH_CREDENTIALS = 1 << 2, CONTROL_EVENTS = 1 << 3, MUST_COMPLETE = 1 << 4;
/** The type of a row that is no event. */
export const NOTE = '\n';

/** The module can be given so much at once. */
const ROOM = 1 << 16;

interface Calls {
  memory: WebAssembly.Memory;
  input(): number;
  rows(): number;
  start(
    seed: number, flags: number, maxRetry: number, idle: number, firstEvent: number, connect: number, maxEvent: number,
    maxLine: number, id: number,
  ): void;
  step(now: number): number;
  until(): number;
  head(now: number, status: number, retryAfter: number, contentType: number): void;
  push(now: number, length: number): number;
  tell(now: number, happening: number): void;
  state(): number;
  retry(): number;
}

export type Load = () => Promise<WebAssembly.Module>;

let load: Load;
let loaded: Promise<WebAssembly.Module> | undefined;

/** Says where the module comes from: each package's entry does so. */
export const provide = (from: Load) => {
  load = from;
};

/** Says that it is a file. */
export const provideFile = (url: URL) =>
  provide(async () => {
    try {
      const response = await fetch(url);
      if (!response.ok) throw new TypeError(`status ${response.status}`);
      return await WebAssembly.compile(await response.arrayBuffer());
    } catch (cause) {
      throw new TypeError(`${url}: ${cause}`, { cause });
    }
  });

// The session has dropped the stream's byte order mark; another one is a character.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export type Core = Awaited<ReturnType<typeof makeCore>>;

export const makeCore = async () => {
  loaded ??= load();
  // Of a page that was offline: the next source tries again.
  loaded.catch(() => (loaded = undefined));
  const calls = (await WebAssembly.instantiate(await loaded)).exports as unknown as Calls;
  // Made anew each time: memory that has grown is another one.
  const memory = (at: number, length: number) => new Uint8Array(calls.memory.buffer, at, length);
  return {
    calls,
    /** Writes the input of the next call, and returns its length in bytes. */
    write(text: string): number {
      const { read, written } = new TextEncoder().encodeInto(text, memory(calls.input(), ROOM));
      if (read < text.length) throw new RangeError('the ID or the type is too long');
      return written;
    },
    /** The data, type and last event ID of all that these bytes complete, one after the other. */
    *push(now: number, bytes: Uint8Array): Generator<string[]> {
      for (let at = 0; at < bytes.length; at += ROOM) {
        const piece = bytes.subarray(at, at + ROOM);
        memory(calls.input(), piece.length).set(piece);
        const length = calls.push(now, piece.length);
        yield decoder.decode(memory(calls.rows(), length)).split('\r');
      }
    },
  };
};
