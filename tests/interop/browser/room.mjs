// `livekit-client` in Chromium in a room: commands come as JSON lines on stdin and go to page.js, whose answers and
// what it saw go as JSON lines to stdout.
//
// tests/interop/README.md has the commands and what is seen; the script ends when its stdin does.

import { createInterface } from 'node:readline';
import { open, say } from './chromium.mjs';

const page = await open('page.js');
say({ saw: 'ready' });
for await (const line of createInterface({ input: process.stdin })) {
  page.evaluate((command) => window.obey(command), JSON.parse(line)).catch((error) => console.error(error));
}
process.exit(0);
