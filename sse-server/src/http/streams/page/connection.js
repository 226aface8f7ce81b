'use strict';

// How the page reads its stream. It reads no bytes: either sse-client-wasm does, if the server was
// built with it, or the browser's EventSource. Both are the same to the page:
//   onState(state, reason, retryAt)   state: connecting | open | waiting | closed
//   onEvent({type, data, id})

const IDLE = 45_000;          // the server sends a keep-alive every 20 s: two may go missing
const CEILING = 10_000;       // the longest wait that backoff asks for
const LOST = 'the connection failed or was lost';
const CUT = 'you have cut the connection';
const ENDED = 'the server ended the stream';
const SILENCE = 'nothing received for 45 s, not even a keep-alive';
const NO_ANSWER = 'no answer; browsers allow about six HTTP/1.1 connections to one server, so other tabs may be using them all';

function shorten(text) {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

function parseJson(text) {
  try { return JSON.parse(text); } catch { return undefined; }
}

function errorText(data) {
  return parseJson(data)?.text ?? data;
}

// ---- By the browser's EventSource -----------------------------------------------------------
class BrowserReader {
  static title = 'the browser’s EventSource';
  #url; #onState; #onEvent;
  #source = null;
  #types = new Set(['message', 'stream-open', 'stream-reset', 'stream-error', 'keep-alive']);
  state = 'closed';
  lastEventId = '';
  // A browser tells nobody how its connection could be broken, or shared.
  canCut = false;
  canShare = false;

  constructor(url, onState, onEvent) {
    this.#url = url;
    this.#onState = onState;
    this.#onEvent = onEvent;
  }

  // An EventSource delivers only the types that it has a listener for.
  listenFor(type) {
    if (this.#types.has(type)) return;
    this.#types.add(type);
    this.#listen(type);
  }

  // Connects now, in place of whatever is under way, and resumes after the last event ID.
  connect() {
    this.#source?.close();
    const url = new URL(this.#url, location);
    if (this.lastEventId) url.searchParams.set('lastEventId', this.lastEventId);
    const source = this.#source = new EventSource(url);
    source.onopen = () => this.#enter('open', this.lastEventId && `resumed after ${shorten(this.lastEventId)}`);
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) this.close('the answer is no stream; EventSource does not tell more, the browser’s console may');
      else this.#enter('waiting', `${LOST}; the browser tries again by itself`);
    };
    for (const type of this.#types) this.#listen(type);
    this.#enter('connecting');
  }

  close(reason) {
    this.#source?.close();
    this.#source = null;
    this.#enter('closed', reason);
  }

  #listen(type) {
    const source = this.#source;
    source?.addEventListener(type, ({ data, lastEventId }) => {
      if (source !== this.#source) return;
      if (type === 'stream-error') {
        // Its ID is `error`, from which nothing can be resumed: keep the one we had.
        this.#onEvent({ type, data, id: lastEventId || null });
        return this.close(`the server sent a stream-error: ${errorText(data)}`);
      }
      this.lastEventId = lastEventId;
      this.#onEvent({ type, data, id: lastEventId || null });
    });
  }

  #enter(state, reason = '') {
    this.state = state;
    this.#onState(state, reason, 0);
  }
}

// ---- By sse-client-wasm ---------------------------------------------------------------------
// What is decided, the module decides.
class PackageReader {
  static title = 'sse-client-wasm';
  #module; #url; #onState; #onEvent;
  #source = null;
  #cut = null;        // of the connection, if it is this tab's
  #wasCut = false;
  #errorText = '';    // what a stream-error has said
  state = 'closed';
  isShared = false;
  canCut = true;
  canShare = true;

  constructor(module, url, onState, onEvent) {
    this.#module = module;
    this.#url = url;
    this.#onState = onState;
    this.#onEvent = onEvent;
  }

  get lastEventId() {
    return this.#source?.lastEventId ?? '';
  }

  // It delivers all types.
  listenFor() {}

  get holder() {
    return this.#cut ? 'held by this tab' : 'held by another tab';
  }

  connect() {
    if (this.state === 'closed') this.#begin();
    else this.#source.reconnect();
  }

  share(isShared) {
    this.isShared = isShared;
    if (this.state !== 'closed') this.#begin();
  }

  cut() {
    this.#wasCut = true;
    // Of another tab's, a new one is all that can be asked for.
    if (this.#cut) this.#cut.abort();
    else this.#source.reconnect();
  }

  close(reason) {
    this.#source.close();
    this.#enter('closed', reason);
  }

  #begin() {
    const { lastEventId } = this;
    this.#source?.close();
    this.#cut = null;
    const { ReconnectingEventSource, SharedEventSource } = this.#module;
    const Source = this.isShared ? SharedEventSource : ReconnectingEventSource;
    const source = this.#source = new Source(this.#url, {
      lastEventId,
      max_retry_time: CEILING,
      idleTimeout: IDLE,
      // With a `fetch` of ours it cannot know that all tabs ask for the same.
      share: 'page',
      fetch: (url, init) => {
        this.#cut = new AbortController();
        return fetch(url, { ...init, signal: AbortSignal.any([init.signal, this.#cut.signal]) });
      },
    });
    source.onstatus = status => { if (source === this.#source) this.#change(status); };
    source.onevent = ({ type, data, lastEventId }) => {
      if (type === 'stream-error') this.#errorText = errorText(data);
      this.#onEvent({ type, data, id: lastEventId || null });
    };
    this.#enter('connecting');
  }

  #change(status) {
    if (status.state === 'connecting') this.#enter('connecting');
    else if (status.state === 'open') {
      this.#wasCut = false;
      this.#enter('open', this.lastEventId && `resumed after ${shorten(this.lastEventId)}`);
    } else if (status.reason !== 'by-caller' || status.state === 'waiting') {
      this.#enter(status.state, this.#why(status), status.nextRetry);
    }
  }

  #why({ reason, code, body = '', cause }) {
    if (this.#wasCut) return CUT;
    if (reason === 'status') {
      if (code === 204) return 'the server says that there is nothing to stream (HTTP 204)';
      const text = body.trim();
      const says = parseJson(text)?.message ?? (text.startsWith('<') ? '' : text.slice(0, 300));
      return `HTTP ${code}${says && `: ${says}`}`;
    }
    if (reason === 'stream-error') return `the server sent a stream-error: ${this.#errorText}`;
    if (reason === 'network' && !this.#cut && cause) return `the client cannot start: ${cause.message}`;
    return { 'ended': ENDED, 'idle-timeout': SILENCE, 'connect-timeout': NO_ANSWER,
      'content-type': 'the answer is not text/event-stream', 'by-caller': 'a new connection was asked for' }[reason] ?? LOST;
  }

  #enter(state, reason = '', retryAt = 0) {
    this.state = state;
    this.#onState(state, reason, retryAt);
  }
}
