// Makes a page a client for `sse-fuzz hostile`. What runs before it has a function `follow`, which
// takes a task, a function that is to be told of each event, and a signal that ends it.

const runs = new Map();

globalThis.hostile = {
  /** The lines that are to be printed, by the number of their case; null: it is over. */
  said: [],
  async begin(number, task) {
    const { said } = hostile;
    const abort = new AbortController();
    runs.set(number, abort);
    const say = (event, data, id) => {
      said.push([number, JSON.stringify({ event, data, id }) + '\n']);
    };
    try {
      await follow(task, say, abort.signal);
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
