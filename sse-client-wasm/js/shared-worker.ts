// The worker that has the connections which pages share, one for each request that differs.

import { Hub, type Ask } from './hub.js';
import type { Internal } from './connection.js';

interface Shared {
  hub: Hub;
  pages: Set<MessagePort>;
}

const all = new Map<string, Shared>();

(globalThis as any).onconnect = ({ ports: [port] }: MessageEvent) => {
  let name = '';
  const leave = () => {
    const shared = all.get(name);
    if (!shared?.pages.delete(port) || shared.pages.size) return;
    all.delete(name);
    shared.hub.connection.close();
  };
  port.onmessage = ({ data }: MessageEvent<Ask | { open: string; url: string; options: Internal } | { leave: true }>) => {
    if ('open' in data) {
      name = data.open;
      if (all.get(name)?.hub.connection.closed) all.delete(name);
      if (!all.has(name)) {
        const pages = new Set<MessagePort>();
        const hub = new Hub(data.url, data.options, (message) => pages.forEach((page) => page.postMessage(message)));
        all.set(name, { hub, pages });
      }
    } else if ('join' in data) {
      const { hub, pages } = all.get(name)!;
      port.postMessage(hub.welcome(data.join, data.since));
      pages.add(port);
    } else if ('ask' in data) all.get(name)?.hub.connection.reconnect();
    else leave();
  };
};
