// The page of session.mjs: a session with the demo agent, as LiveKit's React components hold it.

import { useAgent, useSession, useSessionMessages } from '@livekit/components-react';
import { TokenSource } from 'livekit-client';
import { useEffect, useRef } from 'react';
import { createRoot } from 'react-dom/client';

const WAIT = 20_000;

const { say } = window;
const sleep = (time) => new Promise((done) => setTimeout(done, time));

/** What of the last render a promise waits for. */
function watcher() {
  const watcher = { now: {}, changed: () => {} };
  watcher.until = async (what, is) => {
    const late = Date.now() + WAIT;
    while (!is(watcher.now)) {
      if (Date.now() > late) {
        const { agent, messages } = watcher.now;
        const said = messages.messages.map(({ type, message }) => `${type} ${message}`).join(', ');
        throw new Error(`no ${what}; the agent is ${agent.state}, the messages are: ${said}`);
      }
      await Promise.race([sleep(WAIT), new Promise((done) => (watcher.changed = done))]);
    }
  };
  return watcher;
}

async function talk({ now, until }) {
  await now().session.start({ tracks: { microphone: { enabled: true } } });
  await until('listening agent', ({ agent }) => agent.state === 'listening');
  await now().messages.send('hello');
  await until('answer', ({ messages }) =>
    messages.messages.some(({ type, message }) => type === 'agentTranscript' && message === 'You said: hello'),
  );
  await until('own message', ({ messages }) =>
    messages.messages.some(({ type, message, from }) => type === 'chatMessage' && message === 'hello' && from?.isLocal),
  );
  await now().session.end();
  await until('end', ({ session }) => session.connectionState === 'disconnected');
}

/** Reads a message of ours and its edit, and then writes one and edits it, which we wait for. */
async function edit({ now, until }) {
  await now().session.start({ tracks: { microphone: { enabled: false } } });
  const theirs = ({ messages }) => messages.messages.find(({ type, from }) => type === 'chatMessage' && !from?.isLocal);
  await until('message of ours', (now) => theirs(now)?.message === 'helo');
  const { id, timestamp } = theirs(now());
  await until('edit of ours', (now) => theirs(now)?.message === 'hello');
  const edited = theirs(now());
  if (edited.id !== id || edited.timestamp !== timestamp || !edited.editTimestamp) {
    throw new Error(`the edit is another message: ${JSON.stringify({ ...edited, from: undefined })}`);
  }
  const own = await now().messages.send('hi');
  const writer = await now().session.room.localParticipant.streamText({
    topic: 'lk.chat',
    streamId: own.id,
    type: 'update',
    version: 1,
  });
  await writer.write('hi there');
  await writer.close();
  await until('end', ({ session }) => session.connectionState === 'disconnected');
}

function Talk({ tokens, agentName, roomName, watched }) {
  const session = useSession(tokens, roomName ? { agentName, roomName } : { agentName });
  const agent = useAgent(session);
  const messages = useSessionMessages(session);
  const begun = useRef(false);
  watched.now = { session, agent, messages };
  useEffect(() => watched.changed());
  useEffect(() => {
    if (!begun.current) {
      begun.current = true;
      // The start waits for the agent, with no bound of its own.
      const late = sleep(2 * WAIT).then(() => Promise.reject(new Error(`the agent is ${watched.now.agent.state}`)));
      const act = roomName ? edit : talk;
      Promise.race([act({ now: () => watched.now, until: watched.until }), late]).then(
        () => say({ saw: 'session', outcome: 'ok' }),
        (error) => say({ saw: 'session', outcome: `${error.name}: ${error.message}` }),
      );
    }
  }, [watched]);
  return null;
}

window.run = (baseUrl, agentName, roomName) => {
  const tokens = TokenSource.developmentTokenServer('roomkey', { baseUrl });
  const page = <Talk tokens={tokens} agentName={agentName} roomName={roomName} watched={watcher()} />;
  createRoot(document.body).render(page);
};
