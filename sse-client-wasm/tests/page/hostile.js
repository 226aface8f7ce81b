// Makes a page a client for `sse-fuzz hostile`: the npm package, at the URL `module`.

const client = import(module);
const runs = new Map();

globalThis.hostile = {
  /** The lines that are to be printed, by the number of their case; null: it is over. */
  said: [],
  async begin(number, { url, name, value, method, body }) {
    const { events } = await client;
    const { said } = hostile;
    const abort = new AbortController();
    runs.set(number, abort);
    try {
      const stream = events(url, {
        method,
        body: body || undefined,
        headers: { [name]: value },
        signal: abort.signal,
        // The suite waits for a client to notice silence, and not for ten minutes.
        idleTimeout: 3000,
        connectTimeout: 3000,
      });
      for await (const { type, data, lastEventId } of stream) {
        said.push([number, JSON.stringify({ event: type, data, id: lastEventId }) + '\n']);
      }
    } catch {
      // The judge has seen why.
    }
    said.push([number, null]);
  },
  end(number) {
    runs.get(number)?.abort();
    runs.delete(number);
  },
};
