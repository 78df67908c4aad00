"""Agents die, and so do runtimes: what is left, and how a session goes on.

Part one kills the agent of a supervised session in the middle of a turn: the session restarts it by
itself. Part two kills a whole runtime, a process of its own: what it stored is all there, the cut
turn is marked, and the next runtime resumes the session.

python examples/crash_and_resume.py
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile

from greenroom.actors import EventType, RestartPolicy, SessionManager
from greenroom.storage import ui_message_text
from greenroom.transport import Subscriber


def a_killed_agent(home: str) -> None:
    print("== The agent is killed; the session restarts it and sends the cut input again")
    policy = RestartPolicy("transient", backoff_s=0.1, replay_interrupted=True)
    with SessionManager(home=home) as manager:
        session = manager.create(agent_name="demo", workspace_path=".", restart=policy)
        with Subscriber(home, session_id=session.id) as events:
            session.prompt("@@slow 8 0.05")
            for row in events:
                told = row.event.text or row.event.error or row.event.stop_reason
                print(f"  {row.sequence:>3} {row.type}: {told.strip()[:80]}")
                if row.sequence == 5:
                    print(f"kill -9 {session.agent_pid}")
                    os.kill(session.agent_pid, signal.SIGKILL)
                if row.type == EventType.DONE:
                    break
        print(f"the session is {session.state}, its agent is now {session.agent_pid}")
        session.stop()


RUNTIME = """
import sys
from greenroom.actors import SessionManager
with SessionManager(home=sys.argv[1]) as manager:
    session = manager.create(agent_name="demo", workspace_path=".")
    for event in session.prompt("@@say Remember the number 42.\\n@@slow 1000 0.05"):
        print(session.id, flush=True)
"""


def a_killed_runtime(home: str) -> None:
    print("\n== The whole runtime is killed; another one goes on")
    with subprocess.Popen(
        [sys.executable, "-c", RUNTIME, home], stdout=subprocess.PIPE, text=True
    ) as runtime:
        assert runtime.stdout is not None
        session_id = [runtime.stdout.readline().strip() for _ in range(10)][-1]
        print(f"kill -9 {runtime.pid}, after ten events of {session_id}")
        runtime.kill()
    with SessionManager(home=home) as manager:
        info = manager.status(session_id)
        print(f"found: {info.state}, {info.stop_reason}")
        session = manager.resume(session_id)
        for event in session.prompt("@@say Still 42."):
            if event.type == EventType.AGENT_MESSAGE:
                print(f"resumed, it says: {event.text}")
        rows = manager.events(session_id)
        numbers = [row.sequence for row in rows]
        print(f"{len(rows)} events, gap-free: {numbers == list(range(1, len(rows) + 1))}")
        session.stop()
        for message in manager.transcript(session_id):
            text = " ".join(ui_message_text(message).split())
            if text:
                print(f"{message.role:>9} | {text[:70]}")


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        a_killed_agent(home)
        a_killed_runtime(home)


if __name__ == "__main__":
    main()
