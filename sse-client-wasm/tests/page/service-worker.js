// Reads a stream for a page that sends its URL, and answers with the first event.

import { ReconnectingEventSource } from '/package/inline.js';

addEventListener('message', ({ data: url, source: client }) => {
  const source = new ReconnectingEventSource(url);
  source.onmessage = ({ data, lastEventId }) => {
    source.close();
    client.postMessage([data, lastEventId]);
  };
});
