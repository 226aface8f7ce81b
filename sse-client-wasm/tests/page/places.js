// The package where pages put it: in script tags, and in a service worker.

import { coded, equal, gzip, log, ok, serve, stays, test, until } from '/page/tests.js';

const FILES = ['reconnecting-eventsource.js', 'reconnecting-eventsource.inline.js'];

/** A page with the package in a script tag. */
const page = async (file) => {
  const frame = document.body.appendChild(document.createElement('iframe'));
  const script = frame.contentDocument.createElement('script');
  script.src = `/package/${file}`;
  frame.contentDocument.head.append(script);
  return [await until('the script has run', () => frame.contentWindow.ReconnectingEventSource), frame];
};

for (const file of FILES) {
  test(`a script tag: ${file}`, async () => {
    const url = await serve(stays('id: 7\ndata: a\n\n'));
    const [Source, frame] = await page(file);
    const source = new Source(url);
    const event = await new Promise((resolve) => { source.onmessage = resolve; });
    equal([event.data, event.lastEventId], ['a', '7']);
    source.close();
    frame.remove();
  });
}

test('in a script tag, what the browser leaves coded is refused by its name, and asked for once', async () => {
  const body = await gzip('data: a\n\n');
  const [Source, frame] = await page(FILES[0]);
  for (const codings of ['aes128gcm', 'compress', 'unheard-of, gzip', 'identity, gzip', 'gzip, identity', 'none, gzip', 'gzip, gzip']) {
    const url = await coded(codings, body);
    const { status } = await new Promise((resolve) => { new Source(url, { max_retry_time: 1 }).onerror = resolve; });
    equal([status.state, status.reason, status.cause.name], ['closed', 'content-coding', 'CodingError'], codings);
    ok(status.cause.message.includes(`"${codings}"`), status.cause.message);
    equal((await log(url)).length, 1, codings);
  }
  for (const codings of ['gzip', 'X-GZIP', 'identity', 'none', 'utf-8', '']) {
    const source = new Source(await coded(codings, /gzip/i.test(codings) ? body : 'data: a\n\n'));
    equal((await new Promise((resolve) => { source.onmessage = resolve; })).data, 'a', codings);
    source.close();
  }
  frame.remove();
});

test('a service worker', async () => {
  const url = await serve(stays('id: 7\ndata: a\n\n'));
  const registration = await navigator.serviceWorker.register('/page/service-worker.js', { type: 'module' });
  await until('it is active', () => registration.active);
  const answer = new Promise((resolve) => { navigator.serviceWorker.onmessage = ({ data }) => resolve(data); });
  navigator.serviceWorker.startMessages();
  registration.active.postMessage(url);
  equal(await answer, ['a', '7']);
  await registration.unregister();
});
