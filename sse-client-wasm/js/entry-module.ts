import { provideFile } from './core.js';
import { provideWorker } from './shared.js';

provideFile(new URL('./sse-client.wasm', import.meta.url));
provideWorker(new URL('./shared-worker.js', import.meta.url));

export * from './index.js';
