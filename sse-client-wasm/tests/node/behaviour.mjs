// What the package does outside browsers: in Node, Deno and Bun, which all have Node's servers.

import { run } from './harness.mjs';
import './requests.mjs';
import './oddities.mjs';

await run();
