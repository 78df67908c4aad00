"""Real agent processes for the driver's tests, and the check that none is left behind."""

from __future__ import annotations

import array
import fcntl
import gc
import os
import sys
import termios
import textwrap
import time
from pathlib import Path

import pytest
from gevent.event import Event
from greenroom.transport.agent.context import CallContext
from greenroom.transport.agent.driver import ACPDriver
from greenroom.transport.agent.groups import group_lives
from greenroom.transport.agent.protocol import PromptRequest, StartOpts

DEMO = (sys.executable, "-m", "greenroom.transport.demo")

PRELUDE = """
import json, os, signal, subprocess, sys, time

def send(**message):
    os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\\n")

def read():
    line = sys.stdin.readline()
    if not line:
        raise SystemExit(0)
    return json.loads(line)

def say(text, session="s-1"):
    content = {"type": "text", "text": text}
    update = {"sessionUpdate": "agent_message_chunk", "content": content}
    send(method="session/update", params={"sessionId": session, "update": update})

def handshake(**capabilities):
    while True:
        message = read()
        if message.get("method") == "initialize":
            result = {"protocolVersion": 1, "agentCapabilities": capabilities}
            send(id=message["id"], result=result)
        elif message.get("method") == "session/new":
            send(id=message["id"], result={"sessionId": "s-1"})
            return

def await_prompt():
    while True:
        message = read()
        if message.get("method") == "session/prompt":
            return message["id"]

def end(request_id, reason="end_turn"):
    send(id=request_id, result={"stopReason": reason})

def serve():
    while True:
        request_id = await_prompt()
        say("served")
        end(request_id)
"""


POLL_S = 0.002
NEVER = Event()


def until(condition, seconds=10.0, in_the_way=lambda: "the condition never came"):
    """Wait in the hub for a condition of the outside world that nothing announces.

    :param in_the_way: says what is in the way, for the failure.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, in_the_way()
        NEVER.wait(POLL_S)


def fds():
    """Our open descriptors, without those of earlier tests' garbage."""
    gc.collect()
    return set(os.listdir("/proc/self/fd"))


def children():
    """Our child processes, zombies included."""
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()


def is_running(pid):
    """Whether a process lives; an orphan that its new parent has not reaped yet does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def in_pipe(process):
    """Bytes that lie unread in the agent's stdout."""
    found = array.array("i", [0])
    fcntl.ioctl(process.link._stdout, termios.FIONREAD, found)
    return found[0]


def soon():
    """A context no passing test comes near the end of."""
    return CallContext.after(20)


class Stage:
    """Starts agents in one workspace and stops them all at the end.

    :param cwd: the workspace.
    :param scripts: where scripted agents are written.
    """

    def __init__(self, cwd, scripts):
        self.cwd = cwd
        self.driver = ACPDriver()
        self._scripts = scripts
        self._started = []
        self._turns = 0

    def script(self, text):
        """Argv of an agent that runs this Python text after the prelude."""
        path = self._scripts / f"agent{len(list(self._scripts.iterdir()))}.py"
        path.write_text(PRELUDE + textwrap.dedent(text))
        return (sys.executable, "-S", "-u", str(path))

    def start(self, command=DEMO, *, driver=None, ctx=None, pace="0", env=(), **opts):
        variables = (
            ("GREENROOM_DEMO_PACE", pace),
            ("GREENROOM_DEMO_STATE", str(self._scripts.parent / "state")),
            *env,
        )
        process = (driver or self.driver).start(
            ctx or soon(),
            StartOpts("tested", tuple(command), str(self.cwd), env=variables, **opts),
        )
        self._started.append(process)
        return process

    def prompt(self, process, text):
        self._turns += 1
        return self.driver.prompt(
            soon(), process, PromptRequest(f"turn-{self._turns}", textwrap.dedent(text))
        )

    def play(self, process, text):
        """One whole turn as a list."""
        return list(self.prompt(process, text))

    def stop(self, process, seconds=20.0):
        self.driver.stop(CallContext.after(seconds), process)

    def clear(self):
        impatient = ACPDriver(stop_timeout=0.3)
        for process in self._started:
            impatient.stop(soon(), process)
            assert process.done.is_set()
            assert not group_lives(process.pid)


@pytest.fixture
def stage(tmp_path):
    cwd, scripts = tmp_path / "ws", tmp_path / "scripts"
    cwd.mkdir()
    scripts.mkdir()
    (cwd / "README.md").write_text("# A tiny project\n")
    made = Stage(cwd, scripts)
    yield made
    made.clear()
