// What a try sends, and how its answer is read, as far as neither asks for a decision.

import type { ConnectionOptions } from './connection.js';

/** How a request is sent. It throws at once if there is something wrong with the request itself. */
export type Send = (
  url: string, init: RequestInit, own?: ConnectionOptions['fetch'], idHeader?: string,
) => Promise<Response>;

const scope = globalThis as any;

/** Within browsers; elsewhere `redirects.ts` takes its place. */
const plainly: Send = (url, init, own) => (own ? own(url, init) : fetch(new Request(url, init)));

export let send = plainly;

/** The origin for which browsers ask others what they allow; elsewhere there is none. */
export let { origin } = scope;

export const sendOutside = (other: (plainly: Send) => Send) => {
  send = other(plainly);
  origin = undefined;
};

/**
 * Parses a URL, by default relative to the page's. No host of the standard's has a `%`: Chromium
 * leaves there what it should refuse, and does not find the host.
 */
export const absolute = (url: string | URL, base: string = scope.document?.baseURI ?? scope.location?.href) => {
  const parsed = new URL(url, base);
  if (/^http.*%/.test(parsed.protocol + parsed.hostname)) throw new TypeError(`"${url}" has no host`);
  return parsed;
};

/** A copy of options, and of what they inherit, which dictionaries of WebIDL have as well. */
export const members = (given: any) => {
  const all: any = {};
  for (const name in given) all[name] = given[name];
  return all;
};

/** Text as a string of its bytes in UTF-8, which is what headers and `btoa` take. */
export const utf8 = (text: string) => unescape(encodeURIComponent(text));

/** The URL without user name and password, which `fetch` refuses, and the header in their place. */
export const withoutUserInfo = (url: string): [string, string?] => {
  const parsed = new URL(url);
  const { username, password } = parsed;
  if (!username && !password) return [url];
  parsed.username = parsed.password = '';
  // To `unescape` this is an escape, and in a URL it is not.
  return [parsed.href, 'Basic ' + btoa(unescape((username + ':' + password).replace(/%u/g, '%25u')))];
};

/** The URL with the id in its query, in place of one that is there. */
export const withId = (url: string, id: string, name = 'lastEventId') => {
  const parsed = new URL(url);
  const named = (pair: string) => new URLSearchParams(pair).has(name);
  const pairs = parsed.search.slice(1).split('&').filter((pair) => pair && !named(pair));
  parsed.search = [...pairs, encodeURIComponent(name) + '=' + encodeURIComponent(id)].join('&');
  return parsed.href;
};

/**
 * `Retry-After` in milliseconds: the longest of all lines, each a number of seconds or a date. A
 * date has a comma of its own, behind a day of the week, which says nothing.
 */
export const retryAfter = ({ headers }: Response) =>
  Math.max(0, ...(headers.get('Retry-After') ?? '').split(',').map((part) =>
    (/^\s*\d+\s*$/.test(part) ? +part * 1000 : Date.parse(part) - Date.now()) || 0));

/** A chunk of a body, which is any `BufferSource`. */
export const bytes = (chunk: any): Uint8Array => {
  if (!(chunk?.byteLength >= 0)) throw new TypeError('the body is not of bytes');
  // A buffer has neither a buffer nor an offset.
  return new Uint8Array(chunk.buffer ?? chunk, chunk.byteOffset, chunk.byteLength);
};

/** How much of what a server says a message quotes, in characters, as in the native client. */
export const QUOTED = 200;

/** The body has a content coding that is not decoded here. It would be the same another time. */
export class CodingError extends Error {
  name = 'CodingError';

  constructor(coding: string) {
    super(`the coding "${coding.slice(0, QUOTED)}" is not decoded here`);
  }
}

/** What each browser decodes, and what some servers say of bodies that have no coding. */
const DECODED = /^((x-)?gzip|deflate|br|zstd|identity|none|utf-?8)?$/i;

/** Reads a body. `isText`: it is no stream, and begins with anything. */
export type ReaderOf = (response: Response, isText?: boolean) => Pick<ReadableStreamDefaultReader<any>, 'read' | 'cancel'>;

/**
 * Refuses what browsers leave coded without a word: of a list with a name that they do not know,
 * `identity` among them, they decode nothing. In the whole package `coding.ts` takes its place.
 */
export let readerOf: ReaderOf = ({ headers, body }) => {
  const codings = headers.get('Content-Encoding') ?? '';
  if (!DECODED.test(codings)) throw new CodingError(codings);
  return body!.getReader();
};

export const readBy = (other: ReaderOf) => {
  readerOf = other;
};

/** Of a refusal's body, how many characters are kept, and how long they are waited for. */
const BODY = 4096, BODY_WITHIN = 1000;

/** The beginning of a refusal's body. */
export const beginning = async (response: Response, signal: AbortSignal) => {
  let reader: ReturnType<ReaderOf> | undefined;
  const decoder = new TextDecoder();
  let text = '';
  const stop = () => reader?.cancel().catch(() => {});
  const timer = setTimeout(stop, BODY_WITHIN);
  signal.addEventListener('abort', stop);
  try {
    reader = readerOf(response, true);
    let chunk;
    while (text.length < BODY && (chunk = await reader.read()).value) {
      text += decoder.decode(chunk.value, { stream: true });
    }
  } catch {
    // What has come is all that there is.
  }
  clearTimeout(timer);
  return text.slice(0, BODY);
};
