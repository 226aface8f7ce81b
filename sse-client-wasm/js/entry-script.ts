import { provideFile } from './core';
import { ReconnectingEventSource } from './event-source';

// Only now: later it is another script's.
provideFile(new URL('sse-client.wasm', (globalThis as any).document?.currentScript?.src ?? location.href));

(globalThis as any).ReconnectingEventSource = ReconnectingEventSource;
