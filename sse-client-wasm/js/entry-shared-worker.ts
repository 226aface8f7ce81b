import bytes from './sse-client.wasm';
import { provide } from './core';
import './shared-worker';

provide(() => WebAssembly.compile(bytes));
