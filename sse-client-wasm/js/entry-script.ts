import { provide } from './core';
import { ReconnectingEventSource } from './event-source';

// Only now: later it is another script's.
const script = (globalThis as any).document?.currentScript?.src ?? location.href;

provide(async () => {
  const response = await fetch(new URL('sse-client.wasm', script));
  if (!response.ok) throw new TypeError(`${response.url}: status ${response.status}`);
  return WebAssembly.compile(await response.arrayBuffer());
});

(globalThis as any).ReconnectingEventSource = ReconnectingEventSource;
