import bytes from './sse-client.wasm';
import { provide } from './core.js';

provide(() => WebAssembly.compile(bytes));

export * from './index.js';
