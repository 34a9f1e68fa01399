// `useSession` of LiveKit's React components in Chromium, with the demo agent of the server whose URL is the argument;
// the server gives the token. With the name of a room as another argument, it edits messages there with a session of ours.
// It says how that went in a JSON line on stdout and ends.

import { open, say } from './chromium.mjs';

const server = process.argv[2].replace(/^ws/, 'http').replace(/\/$/, '');
const page = await open('session.js', (line) => {
  say(line);
  process.exit(line.outcome === 'ok' ? 0 : 1);
});
say({ saw: 'ready' });
await page.evaluate(([url, room]) => window.run(url, 'echo', room), [server, process.argv[3]]);
