// A program in Rust, whose JavaScript is at the URL `module` and whose WebAssembly is `program`, as
// hostile.js wants a client to be.

const client = import(module).then(async (client) => {
  await client.default({ module_or_path: Uint8Array.from(atob(program), (c) => c.charCodeAt(0)) });
  return client;
});

async function follow(task, say, signal) {
  await (await client).follow(task, say, signal);
}
