// The Node side of the interop rows: one command a run, JSON in on stdin, JSON out on stdout.

import { text } from 'node:stream/consumers';

const [command] = process.argv.slice(2);

/** A token with what a token can have, so that nothing gets lost on the way unnoticed. */
async function mint({ key, secret }) {
  const { AccessToken, RoomConfiguration } = await import('livekit-server-sdk');
  const token = new AccessToken(key, secret, {
    identity: 'node',
    name: 'Zoë 🧑‍🚀',
    ttl: 600,
    metadata: '{"a":1}',
    attributes: { lang: 'de' },
  });
  token.addGrant({ roomJoin: true, room: 'lobby', canPublish: false, canPublishData: true, hidden: true });
  token.addSIPGrant({ call: true });
  token.roomConfig = RoomConfiguration.fromJson({
    emptyTimeout: 30,
    maxParticipants: 7,
    syncStreams: true,
    tags: { team: 'blue' },
    agents: [{ agentName: 'helper', metadata: 'm', deployment: 'staging', restartPolicy: 'JRP_NEVER' }],
  });
  return { token: await token.toJwt() };
}

async function verify({ key, secret, token }) {
  const { TokenVerifier } = await import('livekit-server-sdk');
  let claims;
  try {
    claims = await new TokenVerifier(key, secret).verify(token);
  } catch (error) {
    return { refused: error.name };
  }
  return { ...claims, roomConfig: claims.roomConfig?.toJson?.() ?? claims.roomConfig };
}

/** A token endpoint as LiveKit's docs describe it; it ends when its stdin does. */
async function endpoint({ key, secret }) {
  const { default: express } = await import('express');
  const { AccessToken, RoomConfiguration } = await import('livekit-server-sdk');
  const app = express();
  app.use(express.json());
  app.post('/token', async (request, response) => {
    const { body } = request;
    const token = new AccessToken(key, secret, {
      identity: body.participant_identity,
      name: body.participant_name,
      metadata: body.participant_metadata,
      attributes: body.participant_attributes,
      ttl: 600,
    });
    token.addGrant({ roomJoin: true, room: body.room_name });
    if (body.room_config) {
      token.roomConfig = RoomConfiguration.fromJson(body.room_config, { ignoreUnknownFields: true });
    }
    response.status(201).json({ server_url: 'ws://localhost:7880', participant_token: await token.toJwt() });
  });
  const server = app.listen(0, '127.0.0.1', () => {
    process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${server.address().port}/token` })}\n`);
  });
  process.stdin.on('end', () => server.close(() => process.exit(0))).resume();
}

/** Fetches as the browser SDK does, once for each of the options. */
async function fetchAll({ url, id, options }) {
  const { TokenSource } = await import('livekit-client');
  const source = id
    ? TokenSource.developmentTokenServer(id, { baseUrl: url })
    : TokenSource.endpoint(url, { headers: { authorization: 'Bearer me' } });
  const answers = [];
  for (const each of options) {
    answers.push(await source.fetch(each));
  }
  return { answers };
}

const commands = { mint, verify, fetch: fetchAll };
if (command === 'endpoint') {
  await endpoint(JSON.parse(process.argv[3]));
} else {
  process.stdout.write(JSON.stringify(await commands[command](JSON.parse(await text(process.stdin)))));
  process.exit(0);
}
