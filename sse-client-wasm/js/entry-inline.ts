import bytes from './sse-client.wasm';
import { provide } from './core';

provide(() => WebAssembly.compile(bytes));

export * from './index';
