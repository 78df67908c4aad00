"""The main job, end to end: what `make demo` shows.

A real agent process speaks ACP over stdio; its events go to the session's journal and out over
ZeroMQ, where a separate process prints them. The agent is steered while it works, asks for a
permission, is killed in the middle of a turn, and the session recovers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from greenroom.actors import EventType, PromptStream, Session, SessionManager
from greenroom.storage import ui_message_text

BUS = "\033[36m" if sys.stdout.isatty() else ""
DIM = "\033[2m" if sys.stdout.isatty() else ""
BOLD = "\033[1m" if sys.stdout.isatty() else ""
OFF = "\033[0m" if sys.stdout.isatty() else ""

WELCOME = """\
# The green room

Where actors wait before they go on stage. This workspace was made for the demo;
the agent will read this file through the client, plan, ask and answer.
"""


def title(text: str) -> None:
    print(f"\n{BOLD}== {text}{OFF}", flush=True)


class SubscriberProcess:
    """`greenroom tail` in a process of its own; its lines are printed as they come."""

    def __init__(self, home: str) -> None:
        command = [sys.executable, "-m", "greenroom.actors.cli", "tail", "--from", "0"]
        self._process = subprocess.Popen(
            [*command, "--home", home], stdout=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._arrived = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._arrived:
                self.lines.append(line)
                self._arrived.notify_all()
            print(f"{BUS}   bus | {line.rstrip()[:110]}{OFF}", flush=True)

    def wait_for(self, count: int, seconds: float = 20.0) -> bool:
        """Wait until that many events were printed."""
        with self._arrived:
            return self._arrived.wait_for(lambda: len(self.lines) >= count, seconds)

    def close(self) -> None:
        """End the process."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(10)


def follow(session: Session, stream: PromptStream, *, steer: str = "", kill_after: int = 0) -> None:
    """Read a turn: allow what it asks for, steer it once, or kill its agent."""
    for seen, event in enumerate(stream, 1):
        if event.type == EventType.PLAN and steer:
            staged = session.steer(steer)
            print(f"{DIM}caller | steering {staged.status}: {steer}{OFF}", flush=True)
            steer = ""
        elif event.type == EventType.PERMISSION and not event.decision:
            print(f"{DIM}caller | allowed: {event.title}{OFF}", flush=True)
            session.approve(decision="allow-once", request_id=event.request_id)
        if kill_after and seen == kill_after:
            print(f"{DIM}caller | kill -9 {session.agent_pid}{OFF}", flush=True)
            os.kill(session.agent_pid, signal.SIGKILL)
    ended = stream.result()
    told = f"{ended.type} {ended.stop_reason or ended.error}" if ended else "no terminal event"
    print(f"{DIM}caller | the turn ended: {told}{OFF}", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        workspace = Path(place, "workspace")
        workspace.mkdir()
        (workspace / "README.md").write_text(WELCOME)
        home = str(Path(place, "home"))
        with SessionManager(home=home) as manager:
            title(f"A runtime at {home}, and a subscriber in another process")
            subscriber = SubscriberProcess(home)

            title("A session with the demo agent: it plans, reads, asks, runs; we steer it")
            session = manager.create(agent_name="demo", workspace_path=str(workspace))
            print(f"{DIM}caller | {session!r}, agent process {session.agent_pid}{OFF}", flush=True)
            stream = session.prompt("What is this place?")
            follow(session, stream, steer="@@say Yes, and I can be steered while I work.")

            title("The agent is killed in the middle of a turn")
            stream = session.prompt("@@slow 40 0.1")
            follow(session, stream, kill_after=5)
            manager.wait_for_finalizations(timeout=20)
            info = manager.status(session.id)
            print(f"{DIM}caller | session {info.state}, reason {info.stop_reason}{OFF}")

            title("The same session goes on with a new agent process")
            session = manager.resume(session.id)
            print(f"{DIM}caller | {session!r}, agent process {session.agent_pid}{OFF}", flush=True)
            follow(session, session.prompt("@@say I am back, and I remember."))
            session.stop()

            stored = manager.events(session.id)
            complete = subscriber.wait_for(len(stored))
            subscriber.close()

            title("The transcript, from the journal")
            for message in manager.transcript(session.id):
                text = ui_message_text(message)
                if text:
                    print(f"{message.role:>9} | " + text.replace("\n", "\n          | "))

        numbers = [row.sequence for row in stored]
        gap_free = numbers == list(range(1, len(stored) + 1))
        title(
            f"{len(stored)} events stored, gap-free: {gap_free}; "
            f"the subscriber printed {len(subscriber.lines)}"
        )
        if not (gap_free and complete and len(subscriber.lines) == len(stored)):
            raise SystemExit("the subscriber and the store differ")


if __name__ == "__main__":
    main()
