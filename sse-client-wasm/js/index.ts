// The whole package, as a module.

import { carefully } from './redirects';
import { sendBy } from './request';

sendBy(carefully);

export { ReconnectingEventSource, type SourceEventMap, type SourceOptions, type StatusEvent, type StreamOptions } from './event-source';
export { SharedEventSource, type SharedOptions } from './shared';
export { EventSource } from './standard';
export { events, EventsError, type EventsOptions, type ServerSentEvent, type Terminator } from './events';
export type {
  Attempt, ConnectionOptions, HeaderProvider, Policy, Reason, RequestParts, Status,
} from './connection';
