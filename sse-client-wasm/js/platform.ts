// The platform's type, by a name that our class does not take.

export type PlatformSource = EventSource;
