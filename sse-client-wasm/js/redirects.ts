// Redirects outside browsers, where `fetch` shows them: what the caller has set is meant for the
// origin that they named, and goes to no other.

import { QUOTED, type Send } from './request.js';

/** As many as the native client follows. */
const MOST = 10;

/** What may go to another origin: none of it says who asks. */
const HARMLESS = /^(accept|accept-language|cache-control|last-event-id|user-agent)$/i;

/** A redirect that is not followed. It would be the same another time. */
class RedirectError extends Error {
  name = 'RedirectError';
}

/** Something else in the call that would be the same another time. */
class RequestError extends Error {
  name = 'RequestError';
}

/** Throws what `fetch` has failed with, by another name if it lies in the call: Node tells so. */
const rethrow = (error: any): never => {
  const { code, message } = error?.cause ?? {};
  if (/^UND_ERR_(INVALID_ARG|NOT_SUPPORTED)$/.test(code) || message === 'bad port') {
    throw new RequestError(message, { cause: error });
  }
  throw error;
};

/**
 * Node's `fetch` ends what is silent for five minutes. The session's own limits are the caller's,
 * so these are lifted, for the dispatcher that it uses anyway.
 */
const patient = () => {
  const dispatcher = (globalThis as any)[Symbol.for('undici.globalDispatcher.1')];
  return dispatcher && {
    dispatcher: {
      dispatch: (options: object, handler: unknown) =>
        dispatcher.dispatch({ ...options, headersTimeout: 0, bodyTimeout: 0 }, handler),
    },
  };
};

/**
 * Follows redirects as Fetch does ("HTTP-redirect fetch"), with the care of the native client. In
 * browsers this cannot be done: they show nothing of a redirect.
 */
export const carefully = (plainly: Send): Send => (url, init, own, idHeader) => {
  let left = MOST;
  const next = (url: URL, init: RequestInit): Promise<Response> =>
    plainly(url.href, { ...init, ...(own ? {} : patient()), redirect: 'manual' }, own).then((response) => {
      if (response?.type === 'opaqueredirect') throw new RedirectError('a redirect that cannot be seen');
      // What a `fetch` of the caller's returns may be anything: its reader says so.
      const location: string | null | undefined = response?.headers?.get('Location');
      if (!/^30[12378]$/.test(`${response?.status}`) || location == null) return response;
      // Otherwise the connection stays taken.
      response.body?.cancel().catch(() => {});
      if (!left--) throw new TypeError(`more than ${MOST} redirects`);
      return next(...move(response.status, url, location, init, idHeader));
    }, rethrow);
  return next(new URL(url), init);
};

/** What is said of an address of the server's: not all of it, and no secret in it. */
const quoted = (location: string) =>
  location.slice(0, QUOTED).replace(/^([^/?#]*\/\/)[^/?#]*@/, '$1').replace(/[?#].*/s, '?…');

/** The address of a redirect. Equal lines are one; a platform has joined them with commas. */
const target = (location: string, from: URL): URL => {
  const [first, ...more] = location.split(', ');
  if (more.every((line) => line === first)) location = first;
  // A URL has no blank, but some servers write one: behind it no other address begins.
  else if (/, (\/|https?:)/i.test(location)) throw new RedirectError('the redirect names several locations');
  try {
    // Each character is a byte. Most servers mean UTF-8.
    location = decodeURIComponent(escape(location));
  } catch {
    // This one does not.
  }
  try {
    return new URL(location, from);
  } catch {
    throw new RedirectError(`the location "${quoted(location)}" of the redirect is not a URL`);
  }
};

const move = (
  status: number, from: URL, location: string, init: RequestInit, idHeader = '',
): [URL, RequestInit] => {
  const to = target(location, from);
  // It would be taken for a wish of the caller's.
  to.username = to.password = '';
  if (!/^https?:$/.test(to.protocol) || (from.protocol === 'https:' && to.protocol === 'http:')) {
    throw new RedirectError(`the redirect leads from ${from.origin} to ${to.protocol}//${to.host}`);
  }
  const headers = new Headers(init.headers);
  const moved = { ...init, headers };
  if (status === 303 ? !/^head$/i.test(init.method!) : status < 303 && /^post$/i.test(init.method!)) {
    moved.method = 'GET';
    moved.body = undefined;
    for (const name of [...headers.keys()]) if (/^content-/.test(name)) headers.delete(name);
  }
  if (to.origin !== from.origin) {
    if (moved.body != null) {
      throw new RedirectError(`the redirect asks to send the body to another origin, ${to.origin}`);
    }
    const isHarmless = (name: string) => HARMLESS.test(name) || name === idHeader.toLowerCase();
    for (const name of [...headers.keys()]) if (!isHarmless(name)) headers.delete(name);
  }
  return [to, moved];
};
