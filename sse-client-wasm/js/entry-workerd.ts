// Where modules of WebAssembly are imported, and cannot be made of bytes.

import module from './sse-client.wasm';
import { provide } from './core.js';

provide(async () => module as any);

export * from './index.js';
