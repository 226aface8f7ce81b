// The whole package, as a module.

import { decoding } from './coding.js';
import { isBrowser, printable } from './outside.js';
import { carefully } from './redirects.js';
import { readBy, sendOutside } from './request.js';
import { standFor } from './server-event.js';

if (!isBrowser()) {
  sendOutside(carefully);
  standFor(printable);
}
readBy(decoding);

export { ReconnectingEventSource, type SourceEventMap, type SourceOptions, type StatusEvent, type StreamOptions } from './event-source.js';
export { SharedEventSource, type SharedOptions } from './shared.js';
export { EventSource } from './standard.js';
export { events, EventsError, type EventsOptions, type ServerSentEvent, type Terminator } from './events.js';
export type { ServerMessageEvent } from './platform.js';
export type {
  Attempt, ConnectionOptions, HeaderProvider, Policy, Reason, RequestParts, Status,
} from './connection.js';
