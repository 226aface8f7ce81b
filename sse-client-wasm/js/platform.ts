// The platform's types by names of our own: a class of ours has the platform's name, and Node's
// types have the same without the names of `lib.dom`.

export type PlatformSource = EventSource;

/** What headers can be made of. */
export type HeadersLike = NonNullable<ConstructorParameters<typeof Headers>[0]>;

/** What can be a body. */
export type BodyLike = NonNullable<ConstructorParameters<typeof Response>[0]>;

type Listening = Parameters<EventTarget['addEventListener']>;
export type AnyListener = Listening[1];
export type ListenerOptions = Listening[2];

/** An event of the server. */
export interface ServerMessageEvent extends MessageEvent {
  readonly data: string;
}
