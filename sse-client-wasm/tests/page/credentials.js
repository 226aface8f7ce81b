// A page whose address has a user name and a password.

import { EventSource } from '/package/external.js';
import { equal, keep, next, ok, serve, stays, test } from '/page/tests.js';

test('a page that was opened with credentials has sources', async () => {
  ok(document.baseURI.includes('user:pass@'), document.baseURI);
  const url = await serve(stays('data: a\n\n'));
  for (const kind of [EventSource, globalThis.EventSource]) {
    const es = keep(new kind(new URL(url).pathname));
    equal((await next(es, 'message')).data, 'a');
  }
});
