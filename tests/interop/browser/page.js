// The page of room.mjs: obeys commands and says what it sees.

import {
  DataPacket_Kind,
  DisconnectReason,
  ExternalE2EEKeyProvider,
  Room,
  RoomEvent,
  RpcError,
  Track,
  VideoQuality,
} from 'livekit-client';

/** Sound that is more than noise has more energy than this; the fake microphone beeps. */
const LOUD = 0.001;
const POLL = 100;
const WAIT = 20_000;

const { say } = window;
/** Each participant's picture: what says its size. */
const pictures = new Map();
let room;

const pattern = (size) => Uint8Array.from({ length: size }, (_, i) => (i * 7) % 251);
const sleep = (time) => new Promise((done) => setTimeout(done, time));
const named = (source) => ([Track.Source.Microphone, Track.Source.Camera].includes(source) ? source : 'other');

const remote = (saw) => (publication, who) =>
  who.isLocal || say({ saw, who: who.identity, source: named(publication.source) });

function listen() {
  room
    .on(RoomEvent.ParticipantConnected, (p) => say({ saw: 'joined', who: p.identity }))
    .on(RoomEvent.ParticipantDisconnected, (p) => say({ saw: 'left', who: p.identity }))
    .on(RoomEvent.SignalReconnecting, () => say({ saw: 'reconnecting' }))
    .on(RoomEvent.Reconnecting, () => say({ saw: 'reconnecting' }))
    .on(RoomEvent.Reconnected, () => say({ saw: 'reconnected' }))
    .on(RoomEvent.Disconnected, (reason) => say({ saw: 'disconnected', reason: DisconnectReason[reason] ?? '' }))
    .on(RoomEvent.TrackMuted, remote('muted'))
    .on(RoomEvent.TrackUnmuted, remote('unmuted'))
    .on(RoomEvent.ParticipantAttributesChanged, (changed, p) => say({ saw: 'attributes', who: p.identity, changed }))
    .on(RoomEvent.ParticipantMetadataChanged, (old, p) =>
      say({ saw: 'metadata', who: p.identity, metadata: p.metadata }),
    )
    .on(RoomEvent.DataReceived, (data, p, kind, topic) => {
      const payload = new TextDecoder().decode(data);
      say({ saw: 'data', who: p?.identity ?? '', payload, reliable: kind === DataPacket_Kind.RELIABLE, topic });
    })
    .on(RoomEvent.TrackSubscribed, (track, publication, p) => {
      say({ saw: 'subscribed', who: p.identity, source: named(publication.source) });
      (track.kind === Track.Kind.Audio ? hear : watch)(track, p.identity);
    });
  room.registerTextStreamHandler('text', async (reader, { identity }) =>
    say({ saw: 'text', who: identity, text: await reader.readAll() }),
  );
  room.registerByteStreamHandler('bytes', async (reader, { identity }) => {
    const data = new Uint8Array(await new Blob(await reader.readAll()).arrayBuffer());
    const intact = pattern(data.length).every((byte, i) => byte === data[i]);
    say({ saw: 'bytes', who: identity, name: reader.info.name, size: data.length, intact });
  });
  room.registerRpcMethod('answer', async ({ callerIdentity, payload }) => {
    if (payload === 'refuse') {
      throw new RpcError(1234, 'refused');
    }
    return `${callerIdentity} said ${payload}`;
  });
}

/** Plays the track, and says so once what was decoded is no silence. */
async function hear(track, who) {
  document.body.append(track.attach());
  while (room.state !== 'disconnected') {
    const stats = await track.getRTCStatsReport();
    if ([...(stats?.values() ?? [])].some((it) => it.type === 'inbound-rtp' && it.totalAudioEnergy > LOUD)) {
      say({ saw: 'audio', who });
      return;
    }
    await sleep(POLL);
  }
}

/** Plays the track, and says each size its picture gets. */
function watch(track, who) {
  const element = track.attach();
  document.body.append(element);
  const seen = () => {
    const { videoWidth: width, videoHeight: height } = element;
    if (width) {
      say({ saw: 'video', who, width, height });
    }
  };
  element.addEventListener('resize', seen);
  pictures.set(who, seen);
}

const commands = {
  async connect({ url, token, mode, key, raw }) {
    const options = { singlePeerConnection: mode === 'single' };
    if (key !== undefined) {
      const keyProvider = new ExternalE2EEKeyProvider();
      // Bytes are for HKDF, text for PBKDF2.
      await keyProvider.setKey(raw ? new TextEncoder().encode(key).buffer : key);
      options.encryption = { keyProvider, worker: new Worker('/worker.js') };
    }
    room = new Room(options);
    listen();
    if (key !== undefined) {
      await room.setE2EEEnabled(true);
    }
    await room.connect(url, token, { maxRetries: 0 });
    for (const participant of room.remoteParticipants.values()) {
      say({ saw: 'joined', who: participant.identity });
    }
  },
  data: ({ payload, reliable, topic }) =>
    room.localParticipant.publishData(new TextEncoder().encode(payload), { reliable, topic }),
  async text({ text }) {
    await room.localParticipant.sendText(text, { topic: 'text' });
  },
  async bytes({ size }) {
    const writer = await room.localParticipant.streamBytes({ name: 'pattern.bin', totalSize: size, topic: 'bytes' });
    await writer.write(pattern(size));
    await writer.close();
  },
  async rpc({ to, payload }) {
    const call = { destinationIdentity: to, method: 'answer', payload, responseTimeout: 10_000 };
    try {
      return { answer: await room.localParticipant.performRpc(call) };
    } catch (error) {
      return { code: error.code, message: error.message };
    }
  },
  async microphone() {
    const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    await room.localParticipant.setMicrophoneEnabled(true, plain);
  },
  async camera({ simulcast }) {
    const capture = { resolution: { width: 1280, height: 720, frameRate: 15 } };
    await room.localParticipant.setCameraEnabled(true, capture, { simulcast, videoCodec: 'vp8' });
  },
  async mute({ muted }) {
    await room.localParticipant.setMicrophoneEnabled(!muted);
  },
  async describe({ attributes, metadata }) {
    await room.localParticipant.setAttributes(attributes);
    await room.localParticipant.setMetadata(metadata);
  },
  async layer({ who, quality }) {
    // It may have the wanted size already.
    pictures.get(who)?.();
    const wanted = { low: VideoQuality.LOW, high: VideoQuality.HIGH }[quality];
    for (const publication of room.remoteParticipants.get(who).videoTrackPublications.values()) {
      publication.setVideoQuality(wanted);
    }
  },
  leave: () => room.disconnect(),
};

window.obey = async ({ id, do: name, ...rest }) => {
  try {
    const late = sleep(WAIT).then(() => Promise.reject(new Error('it took too long')));
    say({ id, ok: (await Promise.race([commands[name](rest), late])) ?? {} });
  } catch (error) {
    say({ id, error: `${error.name}: ${error.message}` });
  }
};
