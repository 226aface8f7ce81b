// The npm package, at the URL `module`, as hostile.js wants a client to be.

const client = import(module);

async function follow({ url, name, value, method, body }, say, signal) {
  const { events } = await client;
  const stream = events(url, {
    method,
    body: body || undefined,
    headers: { [name]: value },
    signal,
    // The suite waits for a client to notice silence, and not for ten minutes.
    idleTimeout: 3000,
    connectTimeout: 3000,
  });
  for await (const { type, data, lastEventId } of stream) say(type, data, lastEventId);
}
