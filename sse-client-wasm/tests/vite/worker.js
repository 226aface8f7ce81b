// The same in a worker.

import { found } from './found.js';

found().catch(String).then((found) => postMessage(found));
