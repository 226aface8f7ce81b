import { provide } from './core';

provide(async () => {
  const response = await fetch(new URL('./sse-client.wasm', import.meta.url));
  if (!response.ok) throw new TypeError(`${response.url}: status ${response.status}`);
  return WebAssembly.compile(await response.arrayBuffer());
});

export * from './index';
