import bytes from './sse-client.wasm';
import { provide } from './core.js';
import { ReconnectingEventSource } from './event-source.js';

provide(() => WebAssembly.compile(bytes));

(globalThis as any).ReconnectingEventSource = ReconnectingEventSource;
