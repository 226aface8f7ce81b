import { provideFile } from './core.js';
import { ReconnectingEventSource } from './event-source.js';

// Only now: later it is another script's.
provideFile(new URL('sse-client.wasm', (globalThis as any).document?.currentScript?.src ?? location.href));

(globalThis as any).ReconnectingEventSource = ReconnectingEventSource;
