"""Python `livekit` in a room: commands come as JSON lines on stdin, answers and what was seen go as JSON lines to stdout.

tests/interop/README.md has the commands and what is seen; the script ends when its stdin does.
"""

import asyncio
import json
import math
import os
import sys

from livekit import rtc

TONE_HZ, RATE, AMPLITUDE = 440, 48_000, 8_000
NON_SILENT = 1_000
WAIT = 20
LONGEST_LINE = 1 << 20


def say(**line):
    print(json.dumps(line), flush=True)


def pattern(size):
    return bytes(i * 7 % 251 for i in range(size))


def source(publication):
    return {rtc.TrackSource.SOURCE_MICROPHONE: "microphone", rtc.TrackSource.SOURCE_CAMERA: "camera"}.get(
        publication.source, "other"
    )


class Peer:
    def __init__(self):
        self.room = rtc.Room()
        self.tasks = set()
        self.published = {}
        self.pictures = {}
        self.listen()

    def spawn(self, coroutine):
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def listen(self):
        on = self.room.on
        on("participant_connected", lambda p: say(saw="joined", who=p.identity))
        on("participant_disconnected", lambda p: say(saw="left", who=p.identity))
        on("reconnecting", lambda: say(saw="reconnecting"))
        on("reconnected", lambda: say(saw="reconnected"))
        on("disconnected", lambda reason: say(saw="disconnected", reason=rtc.DisconnectReason.Name(reason)))
        on("track_muted", lambda p, t: say(saw="muted", who=p.identity, source=source(t)))
        on("track_unmuted", lambda p, t: say(saw="unmuted", who=p.identity, source=source(t)))
        on("participant_attributes_changed", lambda changed, p: say(saw="attributes", who=p.identity, changed=changed))
        on("participant_metadata_changed", lambda p, old, new: say(saw="metadata", who=p.identity, metadata=new))
        on("data_received", self.data)
        on("track_subscribed", self.subscribed)
        self.room.register_text_stream_handler("text", lambda reader, who: self.spawn(self.text(reader, who)))
        self.room.register_byte_stream_handler("bytes", lambda reader, who: self.spawn(self.bytes(reader, who)))

    def data(self, packet):
        reliable = packet.kind == rtc.DataPacketKind.KIND_RELIABLE
        who = packet.participant.identity if packet.participant else ""
        say(saw="data", who=who, payload=packet.data.decode(), reliable=reliable, topic=packet.topic)

    async def text(self, reader, who):
        say(saw="text", who=who, text=await reader.read_all())

    async def bytes(self, reader, who):
        data = b"".join([chunk async for chunk in reader])
        say(saw="bytes", who=who, name=reader.info.name, size=len(data), intact=data == pattern(len(data)))

    def subscribed(self, track, publication, participant):
        say(saw="subscribed", who=participant.identity, source=source(publication))
        follow = self.hear if track.kind == rtc.TrackKind.KIND_AUDIO else self.watch
        self.spawn(follow(track, participant.identity))

    async def hear(self, track, who):
        loud = 0
        async for event in rtc.AudioStream(track, sample_rate=RATE, num_channels=1):
            if max(map(abs, memoryview(event.frame.data).cast("B").cast("h")), default=0) > NON_SILENT:
                loud += 1
                if loud == 10:
                    say(saw="audio", who=who)

    async def watch(self, track, who):
        size = None
        async for event in rtc.VideoStream(track):
            if size != (event.frame.width, event.frame.height):
                size = (event.frame.width, event.frame.height)
                self.pictures[who] = {"width": size[0], "height": size[1]}
                say(saw="video", who=who, **self.pictures[who])

    async def connect(self, url, token, mode, key=None, raw=False):
        options = rtc.RoomOptions(single_peer_connection=mode == "single", connect_timeout=10)
        if key is not None:
            # What the package does not name: HKDF is for keys that are random already.
            derivation = {"key_derivation_function": 1} if raw else {}
            keys = rtc.KeyProviderOptions(shared_key=key.encode(), **derivation)
            options.encryption = rtc.E2EEOptions(key_provider_options=keys)
        await self.room.connect(url, token, options)

        async def answer(call):
            if call.payload == "refuse":
                raise rtc.RpcError(1234, "refused")
            return f"{call.caller_identity} said {call.payload}"

        self.room.local_participant.register_rpc_method("answer", answer)
        for participant in self.room.remote_participants.values():
            say(saw="joined", who=participant.identity)

    async def data_out(self, payload, reliable, topic):
        await self.room.local_participant.publish_data(payload, reliable=reliable, topic=topic)

    async def text_out(self, text):
        await self.room.local_participant.send_text(text, topic="text")

    async def bytes_out(self, size):
        writer = await self.room.local_participant.stream_bytes("pattern.bin", total_size=size, topic="bytes")
        await writer.write(pattern(size))
        await writer.aclose()

    async def rpc(self, to, payload):
        try:
            return {
                "answer": await self.room.local_participant.perform_rpc(
                    destination_identity=to, method="answer", payload=payload, response_timeout=10
                )
            }
        except rtc.RpcError as error:
            return {"code": error.code, "message": error.message}

    async def microphone(self):
        out = rtc.AudioSource(RATE, 1, queue_size_ms=200)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", out)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        self.published["microphone"] = await self.room.local_participant.publish_track(track, options)
        self.spawn(self.tone(out))

    async def tone(self, out):
        count, at = RATE // 50, 0
        while True:
            frame = rtc.AudioFrame.create(RATE, 1, count)
            for i in range(count):
                frame.data[i] = int(AMPLITUDE * math.sin(2 * math.pi * TONE_HZ * (at + i) / RATE))
            at += count
            await out.capture_frame(frame)

    async def camera(self, simulcast):
        width, height = 1280, 720
        out = rtc.VideoSource(width, height)
        track = rtc.LocalVideoTrack.create_video_track("camera", out)
        options = rtc.TrackPublishOptions(
            source=rtc.TrackSource.SOURCE_CAMERA,
            simulcast=simulcast,
            video_codec=rtc.VideoCodec.VP8,
        )
        self.published["camera"] = await self.room.local_participant.publish_track(track, options)
        self.spawn(self.picture(out, width, height))

    async def picture(self, out, width, height):
        size, shade = width * height, 0
        while True:
            shade = (shade + 5) % 200
            frame = bytes([shade + 20]) * (size // 2) + bytes([220 - shade]) * (size - size // 2) + b"\x80" * (size // 2)
            out.capture_frame(rtc.VideoFrame(width, height, rtc.VideoBufferType.I420, frame))
            await asyncio.sleep(1 / 15)

    async def mute(self, muted):
        track = self.published["microphone"].track
        track.mute() if muted else track.unmute()

    async def describe(self, attributes, metadata):
        await self.room.local_participant.set_attributes(attributes)
        await self.room.local_participant.set_metadata(metadata)

    async def layer(self, who, quality):
        # The size may be the one that is asked for already; then nothing changes.
        if who in self.pictures:
            say(saw="video", who=who, **self.pictures[who])
        quality = {"low": rtc.VideoQuality.VIDEO_QUALITY_LOW, "high": rtc.VideoQuality.VIDEO_QUALITY_HIGH}[quality]
        for publication in self.room.remote_participants[who].track_publications.values():
            if publication.kind == rtc.TrackKind.KIND_VIDEO:
                publication.set_video_quality(quality)

    async def leave(self):
        await self.room.disconnect()

    async def obey(self, line):
        command = json.loads(line)
        number, name = command.pop("id"), command.pop("do")
        do = {"data": self.data_out, "text": self.text_out, "bytes": self.bytes_out}.get(name) or getattr(self, name)
        try:
            answer = await asyncio.wait_for(do(**command), WAIT)
            say(id=number, ok=answer or {})
        except Exception as error:  # whatever the SDK raises is the row's result
            say(id=number, error=f"{type(error).__name__}: {error}")


async def main():
    peer = Peer()
    lines = asyncio.StreamReader(limit=LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    say(saw="ready")
    while line := await lines.readline():
        peer.spawn(peer.obey(line))
    # The SDK's threads may hang at exit after a lost connection; the row has its result by now.
    os._exit(0)


asyncio.run(main())
