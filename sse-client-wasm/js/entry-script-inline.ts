import bytes from './sse-client.wasm';
import { provide } from './core';
import { ReconnectingEventSource } from './event-source';

provide(() => WebAssembly.compile(bytes));

(globalThis as any).ReconnectingEventSource = ReconnectingEventSource;
