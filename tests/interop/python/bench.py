"""Python `livekit`, measured as `roomkey-interop`'s `client` measures ours: `bench.py MODE`, a task as a line of JSON on
stdin, what was seen as a line of JSON on stdout. crates/roomkey-interop/src/bin/client/worker.rs has the modes.
"""

import asyncio
import json
import sys
import time

import numpy
from livekit import rtc

RATE, FRAME, MESSAGE = 48_000, 960, 15_000


def say(**line):
    print(json.dumps(line), flush=True)


def rss():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


async def join(task, token=None, room=None):
    room = room or rtc.Room()
    await room.connect(task["url"], token or task["tokens"][0])
    return room


async def publish(room):
    source = rtc.AudioSource(RATE, 1, queue_size_ms=60)
    track = rtc.LocalAudioTrack.create_audio_track("tone", source)
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    await room.local_participant.publish_track(track, options)
    return source


async def connect(task):
    times, published = [], []
    for index, token in enumerate(task["tokens"]):
        since = time.monotonic()
        room = await join(task, token)
        joined = time.monotonic()
        await publish(room)
        if index > 0:
            times.append((joined - since) * 1000)
            published.append((time.monotonic() - since) * 1000)
        await room.disconnect()
    say(milliseconds=times, published=published)


async def idle(task):
    before = rss()
    rooms = [await join(task, token) for token in task["tokens"]]
    await asyncio.sleep(3)
    since = time.process_time()
    await asyncio.sleep(task["seconds"])
    say(before=before, rss=rss(), cpu=time.process_time() - since, rooms=len(rooms))


def tone(number):
    turns = (numpy.arange(FRAME) + number * FRAME) * 440 / RATE
    samples = (numpy.sin(turns * 2 * numpy.pi) * 0.4 * 32767).astype(numpy.int16)
    return rtc.AudioFrame(samples.tobytes(), RATE, 1, FRAME)


async def speak(task):
    room = await join(task)
    source = await publish(room)
    frames, since = task["seconds"] * 50, time.process_time()
    for number in range(frames):
        await source.capture_frame(tone(number))
    say(frames=frames, cpu=time.process_time() - since)


async def hear(task):
    found = asyncio.get_running_loop().create_future()
    room = rtc.Room()
    room.on("track_subscribed", lambda track, *_: found.done() or found.set_result(track))
    await join(task, room=room)
    stream = rtc.AudioStream(await asyncio.wait_for(found, 30), sample_rate=RATE, num_channels=1)
    samples, since, begun = 0, time.process_time(), time.monotonic()
    async for event in stream:
        samples += event.frame.samples_per_channel
        if time.monotonic() - begun > task["seconds"]:
            break
    say(frames=samples // FRAME, cpu=time.process_time() - since)


async def send(task):
    room = await join(task)
    while not any(p.identity == "receiver" for p in room.remote_participants.values()):
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    number, since, begun = 0, time.process_time(), time.monotonic()
    while time.monotonic() - begun < task["seconds"]:
        message = number.to_bytes(8, "big") + bytes(MESSAGE - 8)
        await room.local_participant.publish_data(message, reliable=True)
        number += 1
    await room.local_participant.publish_data(b"end", reliable=True)
    say(messages=number, cpu=time.process_time() - since)
    await asyncio.sleep(2)


async def receive(task):
    seen = {"next": 0, "wrong": 0, "since": None, "last": 0, "cpu": 0}
    over = asyncio.Event()

    def data(packet):
        # What is still on its way after the time is not waited for.
        late = seen["since"] is not None and time.monotonic() - seen["since"] > task["seconds"]
        if packet.data == b"end" or late:
            over.set()
            return
        if seen["since"] is None:
            seen["since"], seen["cpu"] = time.monotonic(), time.process_time()
        seen["wrong"] += int.from_bytes(packet.data[:8], "big") != seen["next"]
        seen["next"] += 1
        seen["last"] = time.monotonic()

    room = rtc.Room()
    room.on("data_received", data)
    await join(task, room=room)
    say(ready=True)
    await asyncio.wait_for(over.wait(), task["seconds"] + 90)
    elapsed = seen["last"] - seen["since"]
    say(messages=seen["next"], wrong=seen["wrong"], seconds=elapsed, cpu=time.process_time() - seen["cpu"])


MODES = {"connect": connect, "idle": idle, "speak": speak, "hear": hear, "send": send, "receive": receive}

asyncio.run(MODES[sys.argv[1]](json.loads(sys.stdin.readline())))
