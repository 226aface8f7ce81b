// The whole package, as a module.

export { ReconnectingEventSource, type SourceOptions } from './event-source';
export { SharedEventSource } from './shared';
export { EventSource } from './standard';
export { events, EventsError, type EventsOptions, type ServerSentEvent } from './events';
export type { Attempt, ConnectionOptions, HeaderProvider, Policy, Reason, Status } from './connection';
