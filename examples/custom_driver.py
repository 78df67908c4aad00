"""A driver of your own: here, each prompt is one run of a command-line program.

The program reads the prompt from standard input, and what it prints is the agent's answer. Nothing
else changes: sessions, queue, storage, bus and supervision are what they are for agents that speak
a protocol.

python examples/custom_driver.py
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime

import gevent
from gevent.event import Event
from greenroom.actors import (
    AgentEvent,
    AgentNotAvailableError,
    ApproveRequest,
    Caps,
    EventType,
    PendingPermissionNotFoundError,
    SessionManager,
)
from greenroom.transport import AgentProcess, CallContext, PromptRequest, StartOpts


def in_thread(call, *args):
    """The hub must never block: pipes are read, and processes awaited, in gevent's threads."""
    return gevent.get_hub().threadpool.apply(call, args)


class Run:
    """One turn: a run of the program. A ``DriverStream``."""

    suspect = False

    def __init__(self, process: Program, request: PromptRequest) -> None:
        self.turn_id = request.turn_id
        self._process = process
        self._cancelled = False
        self._child = subprocess.Popen(
            [process.command, *process.args],
            cwd=process.cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        gevent.spawn(in_thread, self._tell, request.message.encode())

    def take(self) -> list[AgentEvent]:
        """Wait for what the program prints; then its end; then there is nothing more."""
        if self._process.run is not self:
            return []
        if printed := in_thread(self._child.stdout.read, 65536):
            return [self._event(EventType.AGENT_MESSAGE, text=printed.decode(errors="replace"))]
        status = in_thread(self._child.wait)
        self._child.stdout.close()
        self._process.run = None
        if self._cancelled:
            return [self._event(EventType.DONE, stop_reason="cancelled")]
        if status:
            error = f"{self._process.command} ended with status {status}"
            return [self._event(EventType.ERROR, error=error)]
        return [self._event(EventType.DONE, stop_reason="end_turn")]

    def cancel(self) -> None:
        """Kill the program and all it started."""
        self._cancelled = True
        os.killpg(self._child.pid, signal.SIGKILL)

    def _tell(self, prompt: bytes) -> None:
        with contextlib.suppress(BrokenPipeError), self._child.stdin as pipe:
            pipe.write(prompt)

    def _event(self, type: str, **fields: str) -> AgentEvent:
        return AgentEvent(type=type, turn_id=self.turn_id, **fields)

    def __iter__(self) -> Iterator[AgentEvent]:
        while events := self.take():
            yield from events


class Program:
    """The program between its runs: what a session holds. An ``AgentProcess``."""

    on_event = on_turn = on_work = None
    suspect = False

    def __init__(self, opts: StartOpts) -> None:
        self.pid = 0  # there is none between two runs
        self.agent_name = opts.agent_name
        self.command, *args = opts.command
        self.args = tuple(args)
        self.cwd = opts.cwd
        self.session_id = opts.session_id
        self.caps = Caps(agent_info=self.command)
        self.started_at = datetime.now(UTC)
        self.done = Event()
        self.run: Run | None = None

    def wait(self) -> Exception | None:
        """Wait until the session stops it."""
        self.done.wait()
        return None

    def stderr(self) -> str:
        """It goes to ours."""
        return ""

    def caps_snapshot(self) -> Caps:
        """Always the same."""
        return self.caps

    def approve_permission(self, ctx: CallContext, request: ApproveRequest) -> None:
        """It never asks."""
        raise PendingPermissionNotFoundError("a program asks for nothing")


class ProgramDriver:
    """Starts programs. An ``AgentDriver``."""

    def start(self, ctx: CallContext, opts: StartOpts) -> Program:
        """Nothing runs until the first prompt; but tell now what could not."""
        if shutil.which(opts.command[0]) is None:
            raise AgentNotAvailableError(f"{opts.command[0]} is not installed")
        return Program(opts)

    def prompt(self, ctx: CallContext, process: AgentProcess, request: PromptRequest) -> Run:
        """Run the program."""
        process.run = Run(process, request)
        return process.run

    def cancel(self, ctx: CallContext, process: AgentProcess) -> None:
        """End the run."""
        if process.run is not None:
            process.run.cancel()

    def steer(self, ctx: CallContext, process: AgentProcess, steer_id: str, text: str) -> str:
        """A program that has read its input takes no more; the text is sent after it."""
        return "not_running"

    def stop(self, ctx: CallContext, process: AgentProcess) -> None:
        """End the run and the session's hold on it."""
        self.cancel(ctx, process)
        process.done.set()


LOUD = "import sys\nfor line in sys.stdin: print(line.rstrip().upper() + '!', flush=True)"


def main() -> None:
    agents = {"loud": [sys.executable, "-c", LOUD], "sleepy": ["sleep", "1000"]}
    with (
        tempfile.TemporaryDirectory() as home,
        SessionManager(home=home, driver=ProgramDriver(), agents=agents) as manager,
    ):
        session = manager.create(agent_name="loud", workspace_path=".")
        for text in ("hello there", "a second prompt\nof two lines"):
            stream = session.prompt(text)
            print("".join(event.text for event in stream), end="")
            print(f"[{stream.result().stop_reason}]")
        sleepy = manager.create(agent_name="sleepy", workspace_path=".")
        stream = sleepy.prompt("wake up")
        sleepy.cancel()
        print(f"[{stream.result().stop_reason}]")
        for row in manager.events(session.id):
            print(f"  stored {row.sequence}: {row.type}")


if __name__ == "__main__":
    main()
