import { provideFile } from './core';
import { provideWorker } from './shared';

provideFile(new URL('./sse-client.wasm', import.meta.url));
provideWorker(new URL('./shared-worker.js', import.meta.url));

export * from './index';
