// The page: what is found in it and in its worker is left in `results`.

import { found } from './found.js';

const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
const there = new Promise((resolve) => {
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = ({ message }) => resolve(`it does not run: ${message}`);
});
const here = await found().catch(String);
window.results = { window: here, worker: await there };
