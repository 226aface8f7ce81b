// Redirects outside browsers, where `fetch` shows them: what the caller has set is meant for the
// origin that they named, and goes to no other.

import type { Send } from './request.js';

/** As many as the native client follows. */
const MOST = 10;

/** What may go to another origin: none of it says who asks. */
const HARMLESS = /^(accept|accept-language|cache-control|last-event-id|user-agent)$/i;

/** A redirect that is not followed. It would be the same another time. */
class RedirectError extends Error {
  name = 'RedirectError';
}

/**
 * Follows redirects as Fetch does ("HTTP-redirect fetch"), with the care of the native client. In
 * browsers this cannot be done: they show nothing of a redirect.
 */
export const carefully = (plainly: Send): Send => (url, init, own) => {
  let left = MOST;
  const next = (url: URL, init: RequestInit): Promise<Response> =>
    plainly(url.href, { ...init, redirect: 'manual' }, own).then((response) => {
      // What a `fetch` of the caller's returns may be anything: its reader says so.
      const location: string | null | undefined = response?.headers?.get('Location');
      if (!/^30[12378]$/.test(`${response?.status}`) || location == null) return response;
      // Otherwise the connection stays taken.
      response.body?.cancel().catch(() => {});
      if (!left--) throw new TypeError(`more than ${MOST} redirects`);
      return next(...move(response.status, url, location, init));
    });
  return next(new URL(url), init);
};

const move = (status: number, from: URL, location: string, init: RequestInit): [URL, RequestInit] => {
  let to: URL;
  try {
    to = new URL(location, from);
  } catch {
    throw new RedirectError(`the location "${location}" of the redirect is not a URL`);
  }
  // It would be taken for a wish of the caller's.
  to.username = to.password = '';
  if (!/^https?:$/.test(to.protocol) || (from.protocol === 'https:' && to.protocol === 'http:')) {
    throw new RedirectError(`the redirect leads from ${from.origin} to ${to.protocol}//${to.host}`);
  }
  const headers = new Headers(init.headers);
  const moved = { ...init, headers };
  if (status === 303 ? init.method !== 'HEAD' : status < 303 && init.method === 'POST') {
    moved.method = 'GET';
    moved.body = undefined;
    for (const name of [...headers.keys()]) if (/^content-/.test(name)) headers.delete(name);
  }
  if (to.origin !== from.origin) {
    if (moved.body != null) {
      throw new RedirectError(`the redirect asks to send the body to another origin, ${to.origin}`);
    }
    for (const name of [...headers.keys()]) if (!HARMLESS.test(name)) headers.delete(name);
  }
  return [to, moved];
};
