"""A `livekit-agents` worker whose model repeats what it is told, in chat and in texts of the topic `text`.

What it saw goes as JSON lines to stdout; the script ends when its stdin does.
"""

import asyncio
import json
import os
import sys
import threading

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobExecutorType, cli, llm
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS
from livekit.agents.voice.room_io import RoomOptions


def say(**line):
    print(json.dumps(line), flush=True)


# Jobs are threads: nothing of a worker that was ended is left in a room.
server = AgentServer(job_executor_type=JobExecutorType.THREAD, host="127.0.0.1")
server.on("worker_registered", lambda *_: say(saw="registered"))


class Repeating(llm.LLM):
    def chat(self, *, chat_ctx, tools=None, conn_options=DEFAULT_API_CONNECT_OPTIONS, **_):
        return Repetition(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class Repetition(llm.LLMStream):
    async def _run(self):
        last = [message for message in self.chat_ctx.messages() if message.role == "user"][-1]
        for piece in ("you said: ", last.text_content):
            delta = llm.ChoiceDelta(role="assistant", content=piece)
            self._event_ch.send_nowait(llm.ChatChunk(id="answer", delta=delta))


@server.rtc_session(agent_name=os.environ.get("INTEROP_AGENT_NAME", ""))
async def job(context: JobContext):
    room, tasks = context.room, set()

    async def answer(reader):
        await room.local_participant.send_text(f"you said: {await reader.read_all()}", topic="text")

    def heard(reader, _who):
        task = asyncio.create_task(answer(reader))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    room.register_text_stream_handler("text", heard)
    await context.connect()
    # Neither speech nor hearing: the session has chat, transcriptions and the agent's state.
    session = AgentSession(llm=Repeating(), vad=None, turn_handling={"turn_detection": "manual"})
    options = RoomOptions(audio_input=False, audio_output=False)
    await session.start(Agent(instructions=""), room=room, room_options=options)
    say(saw="job", room=context.job.room.name, metadata=context.job.metadata)


def end_with_stdin():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end_with_stdin, daemon=True).start()
say(saw="ready")
cli.run_app(server)
