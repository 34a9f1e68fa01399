"""A `livekit-agents` worker without a model, which answers text with text.

What it saw goes as JSON lines to stdout; the script ends when its stdin does.
"""

import asyncio
import json
import os
import sys
import threading

from livekit.agents import AgentServer, JobContext, JobExecutorType, cli


def say(**line):
    print(json.dumps(line), flush=True)


# Jobs are threads: nothing of a worker that was ended is left in a room.
server = AgentServer(job_executor_type=JobExecutorType.THREAD, host="127.0.0.1")
server.on("worker_registered", lambda *_: say(saw="registered"))


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
    say(saw="job", room=context.job.room.name, metadata=context.job.metadata)


def end_with_stdin():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end_with_stdin, daemon=True).start()
say(saw="ready")
cli.run_app(server)
