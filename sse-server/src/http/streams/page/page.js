'use strict';

// ---- Page: small things ---------------------------------------------------------------------
const LIMIT = 500; // entries on the page, and entries held back while paused
const LONG = 5_000; // characters of data shown at first
const $ = id => document.getElementById(id);

function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children); // strings become text nodes, never markup
  return node;
}

function clock(date) {
  const two = n => String(n).padStart(2, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function timeElement(date) {
  const node = element('time', '', `${clock(date)}.${String(date.getMilliseconds()).padStart(3, '0')}`);
  node.dateTime = date.toISOString();
  return node;
}

// Lays JSON out by its own tokens: printing what JSON.parse returns would round large numbers,
// drop repeated names and reorder numeric ones. The text must be valid JSON.
function layOut(text) {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g);
  let at = 0;
  const value = indent => {
    const open = tokens[at++];
    if (open[0] === '"') return JSON.stringify(JSON.parse(open)); // \u00e9 becomes readable
    if (open !== '{' && open !== '[') return open;
    const close = open === '{' ? '}' : ']';
    const inner = indent + '  ';
    const items = [];
    while (tokens[at] !== close) {
      if (tokens[at] === ',') at++;
      let name = '';
      if (open === '{') { name = value(inner) + ': '; at++; }
      items.push(name + value(inner));
    }
    at++;
    const line = open + items.join(', ') + close;
    if (indent.length + line.length <= 72 && !line.includes('\n')) return line;
    return `${open}\n${inner}${items.join(`,\n${inner}`)}\n${indent}${close}`;
  };
  return value('');
}

function readable(data) {
  const parsed = parseJson(data);
  if (typeof parsed !== 'object' || parsed === null) return data;
  try { return layOut(data); } catch { return data; } // nested too deep to lay out
}

// What the server says of this address. A proxy may have it under a longer path.
const { path = '', channels: named = '[]', types = '[]', client } = document.querySelector('meta[name=stream]').dataset;
const channels = parseJson(named).filter(Boolean);
const query = new URLSearchParams(location.search);
const namedTypes = [...parseJson(types), ...query.getAll('messages_types').flatMap(list => list.split(','))];
const base = location.pathname.endsWith(path) ? location.pathname.slice(0, location.pathname.length - path.length) : '';

// ---- Page: state ----------------------------------------------------------------------------
let retryAt = 0;
let opened = 0;

function onState(state, reason, at) {
  const name = state[0].toUpperCase() + state.slice(1);
  retryAt = at;
  if (state === 'open') {
    opened += 1;
    $('opened').textContent = clock(new Date());
    render();
  }
  $('bar').dataset.state = state;
  $('state').textContent = name;
  $('reason').textContent = reason && `: ${reason}`;
  $('connect').textContent = state === 'closed' ? 'Reconnect' : 'Disconnect';
  if (state !== 'waiting' && document.activeElement === $('try-now')) $('connect').focus();
  $('try-now').hidden = state !== 'waiting';
  $('cut').hidden = state !== 'open' || !connection.canCut;
  $('holder').textContent = !connection.isShared ? 'each tab has its own'
    : state === 'open' ? connection.holder : 'none just now';
  document.title = `${name} · ${channels.join(', ')} · sse-server`;
  countDown();
}

// Outside the live region: a screen reader should not read out every tick.
function countDown() {
  const left = Math.max(0, retryAt - Date.now());
  $('countdown').textContent = retryAt ? `· next try in ${(left / 1000).toFixed(1)} s` : '';
}

// ---- Page: events ---------------------------------------------------------------------------
const count = { events: 0, keepAlives: 0, resets: 0 };
const pending = []; // entries not on the page yet: until the next frame, or while paused
let paused = false;
let frame = 0;

function onEvent(event) {
  const now = new Date();
  if (event.type === 'stream-open') $('opened').textContent = clock(now);
  else if (event.type === 'keep-alive') {
    count.keepAlives += 1;
    $('kept-alive').textContent = clock(now);
  } else {
    if (event.type === 'stream-reset') count.resets += 1;
    else if (event.type !== 'stream-error') count.events += 1;
    pending.push({ ...event, time: now });
    if (pending.length > LIMIT) pending.shift();
  }
  render();
}

// Once a frame, however many events come.
function render() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    $('n-events').textContent = count.events;
    $('n-keep-alives').textContent = count.keepAlives;
    $('n-resets').textContent = count.resets;
    $('n-resets').parentElement.classList.toggle('raised', count.resets > 0);
    $('n-reconnects').textContent = Math.max(0, opened - 1);
    $('last-id').textContent = connection.lastEventId || 'none yet';
    if (!paused) renderPending();
    $('pause').textContent = paused ? `Resume (${pending.length})` : 'Pause';
    $('pause').setAttribute('aria-pressed', paused);
    const shown = $('events').childElementCount;
    $('shown').textContent = shown === LIMIT ? `newest ${LIMIT}` : 'newest first';
    $('empty').hidden = shown > 0;
  });
}

function renderPending() {
  const rows = document.createDocumentFragment();
  for (const event of pending.splice(0)) rows.prepend(row(event));
  const list = $('events');
  list.prepend(rows);
  while (list.childElementCount > LIMIT) list.lastElementChild.remove();
}

function row({ type, data, id, time }) {
  const about = { 'stream-reset': resetBody, 'stream-error': errorBody }[type];
  const body = about ? about(data) : dataBody(data);
  const item = element('li', 'fresh',
    timeElement(time),
    element('bdi', type === 'message' ? 'type plain' : 'type', type),
    body,
    // The ID of a many-channel stream is `a:3,b:7`: let it break after a comma.
    element('span', 'id', ...(id ?? 'no id').split(',').flatMap((part, at) => at ? [',', element('wbr'), part] : [part])));
  if (about) item.classList.add(type === 'stream-reset' ? 'reset' : 'error');
  return item;
}

// Long data comes in pieces, more at a click: browsers take minutes to break a line of megabytes.
function dataBody(data) {
  const text = readable(data);
  const body = element('div', 'body', element('pre', text === '' ? 'muted' : '', text.slice(0, LONG) || '(empty)'));
  let shown = LONG;
  if (text.length <= shown) return body;
  const more = element('button');
  const label = () => { more.textContent = `Show more (${(text.length - shown).toLocaleString()} characters left)`; };
  more.addEventListener('click', () => {
    more.before(element('pre', '', text.slice(shown, shown + 4 * LONG)));
    shown += 4 * LONG;
    if (shown < text.length) label();
    else more.remove();
  });
  label();
  body.append(more);
  return body;
}

function resetBody(data) {
  const names = parseJson(data)?.channels;
  return element('div', 'body',
    element('p', '', element('strong', '', 'History is gone'), ' for ',
      Array.isArray(names) ? names.join(', ') : data || 'this stream', '.'),
    element('p', '', 'Events after your last event ID are no longer stored, so some may be missing here. Re-read your state from its source; new events follow.'));
}

function errorBody(data) {
  const { condition, text, channels: names } = parseJson(data) ?? {};
  return element('div', 'body', element('p', '', element('strong', '', text ?? data)),
    element('p', '', condition ? `Condition: ${condition}. ` : '',
      Array.isArray(names) ? `Channels: ${names.join(', ')}. ` : '',
      'The stream has ended and is not retried.'));
}

// ---- Page: publishing -----------------------------------------------------------------------
const TOKEN = 'sse-server.publish-token';
const publishUrl = `${location.origin}${base}/publish/`;
let sending = false;

function sendsJson() {
  return document.querySelector('[name=as]:checked').value === 'json';
}

function eventType() {
  return $('p-event').value.trim() || 'message';
}

// JSON goes as it was written, not as JavaScript would print it: large numbers survive.
function publishBody(data, isJson) {
  const [channel, event] = [$('p-channel').value, eventType()];
  return `{"channel":${JSON.stringify(channel)},"event":${JSON.stringify(event)},`
    + (isJson ? `"data":${data.trim()}}` : `"text":${JSON.stringify(data)}}`);
}

function showResult(text, isBad) {
  $('result').textContent = text;
  $('result').className = isBad ? 'bad' : '';
  $('result').scrollIntoView({ block: 'nearest' });
}

async function publish() {
  if (sending) return;
  const data = $('p-data').value;
  if (sendsJson()) {
    try {
      JSON.parse(data);
    } catch (error) {
      showResult(data.trim() === '' ? 'Not sent: the data is empty. JSON needs a value, such as {"text": "hello"}.'
        : `Not sent: the data is not valid JSON.\n${error.message}`, true);
      return $('p-data').focus();
    }
  }
  const token = $('p-token').value.trim();
  if (!/^[\x21-\x7e]+$/.test(token)) {
    showResult(token === '' ? 'Not sent: enter the publish token. The server prints it when it starts.'
      : 'Not sent: a token holds printable ASCII characters only, and no spaces.', true);
    return $('p-token').focus();
  }
  connection.listenFor(eventType());
  sending = true;
  $('p-send').setAttribute('aria-busy', true);
  try {
    const response = await fetch(publishUrl, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
      body: publishBody(data, sendsJson()),
      signal: AbortSignal.timeout(15_000),
    });
    const answer = parseJson(await response.text());
    if (response.ok) {
      showResult(`${clock(new Date())}  Published${answer?.id ? ` as ${answer.id}` : ', without an id'}.`);
    } else {
      const code = answer?.error ? ` (${answer.error}, HTTP ${response.status})` : '';
      showResult(`${answer?.message ?? `The server answered HTTP ${response.status}.`}${code}`, true);
      if (response.status === 401) { $('p-token').focus(); $('p-token').select(); }
    }
  } catch (error) {
    showResult(error.name === 'TimeoutError'
      ? 'No answer within 15 s. The event may have been published all the same.'
      : 'The server could not be reached, or the connection was lost before its answer.', true);
  } finally {
    sending = false;
    $('p-send').removeAttribute('aria-busy');
  }
}

// ---- Page: command lines --------------------------------------------------------------------
// In single quotes a shell leaves everything alone; a quote itself goes outside of them.
function shellQuote(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function renderCommands() {
  const isJson = sendsJson();
  let data = $('p-data').value;
  if (data === '' || (isJson && parseJson(data) === undefined)) data = isJson ? '{"text":"hello"}' : 'hello';
  $('c-subscribe').textContent = `curl -N ${shellQuote(location.origin + location.pathname + location.search)}`;
  $('c-publish').textContent = `curl ${shellQuote(publishUrl)} -H "Authorization: Bearer $TOKEN"`
    + ` -H 'Content-Type: application/json' -d ${shellQuote(publishBody(data, isJson))}`;
  $('p-data').placeholder = isJson ? '{"text": "hello"}' : 'hello';
}

async function copy(button) {
  const source = $(button.dataset.copy);
  let done = true;
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch { // no clipboard access without HTTPS, except on localhost
    getSelection().selectAllChildren(source);
    done = document.execCommand('copy');
  }
  button.textContent = done ? 'Copied' : 'Selected';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}

// ---- Start ----------------------------------------------------------------------------------
const SHARE = 'sse-server.share';
let connection;

// With this after the address the page reads by EventSource though it has another reader.
const BY_BROWSER = '#EventSource';

async function watch() {
  const url = location.pathname + location.search;
  if (client !== undefined && location.hash !== BY_BROWSER) {
    try {
      connection = new PackageReader(await import(`${base}/page/client.js`), url, onState, onEvent);
    } catch { /* the script did not come: there is another reader */ }
  }
  connection ??= new BrowserReader(url, onState, onEvent);
  start();
}

function start() {
  for (const part of document.querySelectorAll('header, #bar, main')) part.hidden = false;
  $('channels').append(...channels.map(name => element('bdi', '', name)));
  $('change').href = `${base}/events/`;
  $('p-channel').append(...channels.map(name => new Option(name, name)));
  if (channels.length === 1) $('p-channel').replaceWith(Object.assign(element('output', 'fixed', channels[0]), { id: 'p-channel' }));
  $('p-keys').textContent = /Mac|iP(hone|ad)/.test(navigator.platform) ? '\u2318 Enter' : 'Ctrl+Enter';
  if (matchMedia('(min-width: 861px)').matches) $('publish-panel').open = $('command-panel').open = true;
  try { $('p-token').value = sessionStorage.getItem(TOKEN) ?? ''; } catch { /* storage is off */ }

  $('connect').addEventListener('click', () => {
    if (connection.state === 'closed') connection.connect();
    else connection.close('disconnected by you');
  });
  $('cut').addEventListener('click', () => connection.cut());
  tellReader();
  if (connection.canShare) offerSharing();
  $('try-now').addEventListener('click', () => connection.connect());
  $('pause').addEventListener('click', () => { paused = !paused; render(); });
  $('clear').addEventListener('click', () => { pending.length = 0; $('events').replaceChildren(); render(); });

  $('p-event').addEventListener('change', () => connection.listenFor(eventType()));
  $('publish').addEventListener('submit', event => { event.preventDefault(); publish(); });
  $('publish').addEventListener('keydown', event => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); publish(); }
  });
  $('publish').addEventListener('input', renderCommands);
  $('p-token').addEventListener('input', () => {
    try { sessionStorage.setItem(TOKEN, $('p-token').value); } catch { /* storage is off */ }
  });
  $('p-show').addEventListener('click', () => {
    const show = $('p-token').type === 'password';
    $('p-token').type = show ? 'text' : 'password';
    $('p-show').textContent = show ? 'Hide' : 'Show';
    $('p-show').setAttribute('aria-pressed', show);
  });
  for (const button of document.querySelectorAll('[data-copy]')) button.addEventListener('click', () => copy(button));
  renderCommands();

  setInterval(() => { if (retryAt) countDown(); }, 100);
  connection.connect();
}

// Who reads, what it cannot do, and how to have the other one.
function tellReader() {
  for (const type of namedTypes.map(name => name.trim()).filter(Boolean)) connection.listenFor(type);
  const isPackage = connection instanceof PackageReader;
  $('reader').textContent = connection.constructor.title;
  $('reader-note').textContent = isPackage ? ''
    : 'It shows events of the type message, and of types that this form or the address has named.'
      + (client === undefined ? ' This build of the server has no sse-client-wasm in it, which shows all.' : '');
  $('other-reader').hidden = client === undefined;
  $('other-reader').textContent = isPackage ? 'Read by EventSource instead' : 'Read by sse-client-wasm instead';
  $('other-reader').href = isPackage ? BY_BROWSER : '#';
  addEventListener('hashchange', () => location.reload());
}

// The choice is kept, so that a second tab shares at once.
function offerSharing() {
  $('share-term').hidden = $('share-fact').hidden = false;
  try { connection.isShared = localStorage.getItem(SHARE) === 'yes'; } catch { /* storage is off */ }
  $('share').checked = connection.isShared;
  $('share').addEventListener('change', () => {
    try { localStorage.setItem(SHARE, $('share').checked ? 'yes' : 'no'); } catch { /* storage is off */ }
    connection.share($('share').checked);
  });
}

function choose() {
  $('choose').hidden = false;
  document.title = 'Choose a channel · sse-server';
  $('choose-form').addEventListener('submit', event => {
    event.preventDefault();
    location.assign(`${base}/events/?channel=${encodeURIComponent($('choose-name').value)}`);
  });
  $('choose-name').focus();
}

if (channels.length > 0) watch();
else choose();
