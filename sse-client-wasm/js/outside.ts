// What is otherwise outside browsers.

/**
 * Whether `fetch` is a browser's. One that keeps `Cookie` from scripts also keeps from them where
 * a redirect leads, and asks other origins what they allow (CORS); no other platform does any of
 * it. What else there is says nothing: Cloudflare's workerd has an `origin`, jsdom a whole window.
 */
export const isBrowser = () => {
  try {
    return !new Request('http://localhost/', { headers: { Cookie: 'a' } }).headers.has('Cookie');
  } catch {
    return false;
  }
};
