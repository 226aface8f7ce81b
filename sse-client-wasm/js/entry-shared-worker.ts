import bytes from './sse-client.wasm';
import { provide } from './core.js';
import './shared-worker.js';

provide(() => WebAssembly.compile(bytes));
