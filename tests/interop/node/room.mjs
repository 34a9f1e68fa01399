// Node `@livekit/rtc-node` in a room: commands come as JSON lines on stdin, answers and what was seen go as JSON lines to
// stdout. tests/interop/README.md has the commands and what is seen; the script ends when its stdin does.

import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

// Otherwise the SDK's debug log stands between the lines.
process.env.NODE_ENV = 'production';
const rtc = await import('@livekit/rtc-node');

const [TONE_HZ, RATE, AMPLITUDE, NON_SILENT] = [440, 48_000, 8_000, 1_000];
const WAIT = 20_000;
const QUALITIES = { low: 0, high: 2 };

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const pattern = (size) => Uint8Array.from({ length: size }, (_, i) => (i * 7) % 251);
const source = (publication) =>
  ({ [rtc.TrackSource.SOURCE_MICROPHONE]: 'microphone', [rtc.TrackSource.SOURCE_CAMERA]: 'camera' })[
    publication.source
  ] ?? 'other';

/** What the SDK's classes have no method for, though the library below them can do it. */
const request = (message) => globalThis._ffiClientInstance.request({ message });

const room = new rtc.Room();
const published = {};
/** The last that was said of each participant's picture. */
const pictures = new Map();

room
  .on('participantConnected', (who) => say({ saw: 'joined', who: who.identity }))
  .on('participantDisconnected', (who) => say({ saw: 'left', who: who.identity }))
  .on('reconnecting', () => say({ saw: 'reconnecting' }))
  .on('reconnected', () => say({ saw: 'reconnected' }))
  .on('disconnected', (reason) => say({ saw: 'disconnected', reason: rtc.DisconnectReason[reason] }))
  .on('trackMuted', (track, who) => say({ saw: 'muted', who: who.identity, source: source(track) }))
  .on('trackUnmuted', (track, who) => say({ saw: 'unmuted', who: who.identity, source: source(track) }))
  .on('participantAttributesChanged', (changed, who) => say({ saw: 'attributes', who: who.identity, changed }))
  .on('participantMetadataChanged', (metadata, who) => say({ saw: 'metadata', who: who.identity, metadata }))
  .on('dataReceived', (payload, who, kind, topic) => {
    const reliable = kind === rtc.DataPacketKind.KIND_RELIABLE;
    say({ saw: 'data', who: who?.identity ?? '', payload: new TextDecoder().decode(payload), reliable, topic });
  })
  .on('trackSubscribed', (track, publication, { identity }) => {
    say({ saw: 'subscribed', who: identity, source: source(publication) });
    (track.kind === rtc.TrackKind.KIND_AUDIO ? hear : watch)(track, identity);
  });

room.registerTextStreamHandler('text', async (reader, { identity }) => {
  say({ saw: 'text', who: identity, text: await reader.readAll() });
});

room.registerByteStreamHandler('bytes', async (reader, { identity }) => {
  const data = Buffer.concat(await reader.readAll());
  const intact = data.equals(pattern(data.length));
  say({ saw: 'bytes', who: identity, name: reader.info.name, size: data.length, intact });
});

async function hear(track, who) {
  let loud = 0;
  for await (const frame of new rtc.AudioStream(track, RATE, 1)) {
    if (frame.data.some((sample) => Math.abs(sample) > NON_SILENT) && ++loud === 10) {
      say({ saw: 'audio', who });
    }
  }
}

async function watch(track, who) {
  for await (const { frame } of new rtc.VideoStream(track)) {
    const { width, height } = frame;
    const last = pictures.get(who);
    if (width !== last?.width || height !== last.height) {
      pictures.set(who, { saw: 'video', who, width, height });
      say(pictures.get(who));
    }
  }
}

async function tone(out) {
  const count = RATE / 50;
  for (let at = 0; ; at += count) {
    const frame = rtc.AudioFrame.create(RATE, 1, count);
    frame.data.forEach((_, i) => {
      frame.data[i] = AMPLITUDE * Math.sin((2 * Math.PI * TONE_HZ * (at + i)) / RATE);
    });
    await out.captureFrame(frame);
  }
}

async function picture(out, width, height) {
  const size = width * height;
  for (let shade = 0; ; shade = (shade + 5) % 200) {
    const frame = new Uint8Array((size * 3) / 2).fill(128);
    frame.fill(shade + 20, 0, size / 2).fill(220 - shade, size / 2, size);
    out.captureFrame(new rtc.VideoFrame(frame, width, height, rtc.VideoBufferType.I420));
    await sleep(1000 / 15);
  }
}

const commands = {
  async connect({ url, token, mode, key, raw }) {
    const keyProviderOptions = { sharedKey: Buffer.from(key ?? ''), keyDerivationFunction: raw ? 1 : 0 };
    const encryption = key === undefined ? undefined : { keyProviderOptions, encryptionType: 1 };
    // Both options are the library's; the SDK passes them on, though its types don't have them.
    await room.connect(url, token, { singlePeerConnection: mode === 'single', connectTimeoutMs: 10_000n, encryption });
    room.localParticipant.registerRpcMethod('answer', async ({ callerIdentity, payload }) => {
      if (payload === 'refuse') {
        throw new rtc.RpcError(1234, 'refused');
      }
      return `${callerIdentity} said ${payload}`;
    });
    for (const identity of room.remoteParticipants.keys()) {
      say({ saw: 'joined', who: identity });
    }
  },

  async data({ payload, reliable, topic }) {
    await room.localParticipant.publishData(new TextEncoder().encode(payload), { reliable, topic });
  },

  async text({ text }) {
    await room.localParticipant.sendText(text, { topic: 'text' });
  },

  async bytes({ size }) {
    const writer = await room.localParticipant.streamBytes({ name: 'pattern.bin', totalSize: size, topic: 'bytes' });
    await writer.write(pattern(size));
    await writer.close();
  },

  async rpc({ to, payload }) {
    try {
      const call = { destinationIdentity: to, method: 'answer', payload, responseTimeout: 10_000 };
      return { answer: await room.localParticipant.performRpc(call) };
    } catch (error) {
      if (error instanceof rtc.RpcError) {
        return { code: error.code, message: error.message };
      }
      throw error;
    }
  },

  async microphone() {
    const out = new rtc.AudioSource(RATE, 1, 200);
    const track = rtc.LocalAudioTrack.createAudioTrack('microphone', out);
    const options = new rtc.TrackPublishOptions({ source: rtc.TrackSource.SOURCE_MICROPHONE });
    published.microphone = await room.localParticipant.publishTrack(track, options);
    tone(out);
  },

  async camera({ simulcast }) {
    const [width, height] = [1280, 720];
    const out = new rtc.VideoSource(width, height);
    const track = rtc.LocalVideoTrack.createVideoTrack('camera', out);
    const options = new rtc.TrackPublishOptions({
      source: rtc.TrackSource.SOURCE_CAMERA,
      simulcast,
      videoCodec: rtc.VideoCodec.VP8,
    });
    published.camera = await room.localParticipant.publishTrack(track, options);
    picture(out, width, height);
  },

  async mute({ muted }) {
    const trackHandle = published.microphone.track.ffi_handle.handle;
    request({ case: 'localTrackMute', value: { trackHandle, mute: muted } });
  },

  async layer({ who, quality }) {
    // The size may be the one that is asked for already; then nothing changes.
    if (pictures.has(who)) {
      say(pictures.get(who));
    }
    for (const publication of room.remoteParticipants.get(who).trackPublications.values()) {
      if (publication.kind === rtc.TrackKind.KIND_VIDEO) {
        const value = { trackPublicationHandle: publication.ffiHandle.handle, quality: QUALITIES[quality] };
        request({ case: 'setRemoteTrackPublicationQuality', value });
      }
    }
  },

  async describe({ attributes, metadata }) {
    await room.localParticipant.setAttributes(attributes);
    await room.localParticipant.updateMetadata(metadata);
  },

  async leave() {
    await room.disconnect();
  },
};

async function obey({ id, do: name, ...command }) {
  try {
    const late = new AbortController();
    const timeout = sleep(WAIT, undefined, late).then(() => {
      throw new Error(`${name} took too long`);
    });
    timeout.catch(() => {});
    const answer = await Promise.race([commands[name](command), timeout]).finally(() => late.abort());
    say({ id, ok: answer ?? {} });
  } catch (error) {
    // Whatever the SDK throws is the row's result.
    say({ id, error: `${error?.name ?? 'error'}: ${error?.message ?? error}` });
  }
}

createInterface({ input: process.stdin })
  .on('line', (line) => obey(JSON.parse(line)))
  // The SDK's threads may hang at exit after a lost connection; the row has its result by now.
  .on('close', () => process.kill(process.pid, 'SIGKILL'));
say({ saw: 'ready' });
