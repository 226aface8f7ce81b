// The package where pages put it: in script tags, and in a service worker.

import { equal, serve, stays, test, until } from '/page/tests.js';

for (const file of ['reconnecting-eventsource.js', 'reconnecting-eventsource.inline.js']) {
  test(`a script tag: ${file}`, async () => {
    const url = await serve(stays('id: 7\ndata: a\n\n'));
    const frame = document.body.appendChild(document.createElement('iframe'));
    const page = frame.contentDocument;
    const script = page.createElement('script');
    script.src = `/package/${file}`;
    page.head.append(script);
    await until('the script has run', () => frame.contentWindow.ReconnectingEventSource);
    const source = new frame.contentWindow.ReconnectingEventSource(url);
    const event = await new Promise((resolve) => { source.onmessage = resolve; });
    equal([event.data, event.lastEventId], ['a', '7']);
    source.close();
    frame.remove();
  });
}

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
