// The WebAssembly module, and what crosses its border. One instance drives one event source.

/** What `step` returns in its lowest byte. */
export const CONNECT = 0, READ = 1, SLEEP = 2, STOP = 3;
/** What `step` returns above it. */
export const BY_GET = 1 << 9;
/** What `state` returns. */
export const OPEN = 1, CLOSED = 2;
/** The kinds of rows. */
export const COMMENT = 1, TOO_LONG = 2, RESET = 3, STREAM_ERROR = 4;
/** Flags of `start`. */
export const FRESH_CREDENTIALS = 1 << 2, CONTROL_EVENTS = 1 << 3, MUST_COMPLETE = 1 << 4;

interface Exports {
  memory: WebAssembly.Memory;
  input(length: number): number;
  output(): number;
  start(seed: number, flags: number, maxRetry: number, idle: number, connect: number, id: number, terminator: number): void;
  step(now: number): number;
  until(): number;
  response(now: number, status: number, retryAfter: number, contentType: number): void;
  push(now: number, length: number): void;
  end(now: number): void;
  error(now: number): void;
  unsent(now: number): void;
  reconnect(now: number): void;
  close(): void;
  state(): number;
  reason(): number;
  reconnection_time(): number;
}

export type Load = () => Promise<WebAssembly.Module>;

let load: Load;
let loaded: Promise<WebAssembly.Module> | undefined;

/** Says where the module comes from: each package's entry does so. */
export const provide = (from: Load) => {
  load = from;
};

const encoder = new TextEncoder();
// The session has dropped the stream's byte order mark; another one is a character.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export class Core {
  readonly calls: Exports;

  constructor(instance: WebAssembly.Instance) {
    this.calls = instance.exports as unknown as Exports;
  }

  static async make(): Promise<Core> {
    loaded ??= load();
    // Of a page that was offline: the next source tries again.
    loaded.catch(() => (loaded = undefined));
    return new Core(await WebAssembly.instantiate(await loaded));
  }

  /** Writes the input of the next call, and returns its length in bytes. */
  write(input: string | Uint8Array): number {
    const bytes = typeof input === 'string' ? encoder.encode(input) : input;
    const { length } = bytes;
    // The address first: it may grow the memory, and so replace the buffer.
    const address = this.calls.input(length);
    new Uint8Array(this.calls.memory.buffer, address, length).set(bytes);
    return length;
  }

  /** The text and the table of the last call. */
  read(): [string, Uint32Array] {
    const address = this.calls.output();
    const { buffer } = this.calls.memory;
    const [text, length, table, rows] = new Uint32Array(buffer, address, 4);
    return [
      length ? decoder.decode(new Uint8Array(buffer, text, length)) : '',
      // A copy: who gets the events may make the memory grow.
      new Uint32Array(buffer, table, rows).slice(),
    ];
  }
}
