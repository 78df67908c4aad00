"""`greenroom attach`, typed into by a pipe and by a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import termios
import time

import pytest

from .conftest import GREENROOM

ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[=>])")


@pytest.fixture
def attach(environment, tmp_path):
    def run(session, typed, *args):
        ran = subprocess.run(
            [*GREENROOM, "attach", *args, session],
            env=environment,
            cwd=tmp_path,
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    return run


def test_lines_of_a_pipe_are_sent_and_all_of_it_is_shown(daemon, greenroom, attach):
    session = greenroom("new")
    told = attach(session, "@@say first\n\n:nonsense\n@@say second\n:status\n")
    assert 'no command ":nonsense"' in told
    assert told.index("first") < told.rindex("second")
    assert told.count("done (end_turn)") == 2
    assert f"{session} active" in told


def test_what_the_agent_asks_is_answered_by_a_key(daemon, greenroom, tmp_path, environment):
    session = greenroom("new")
    with Attached(environment, tmp_path, session) as person:
        person.type("@@run touch made\r")
        person.read_until("allow? y / a / n / r")
        person.type("y\r")
        person.read_until("done (end_turn)")
        assert (tmp_path / "made").exists()
        person.type("@@hang\r")
        person.read_until("» @@hang")
        person.read_until(">")
        person.type("\x03")
        person.read_until("done (cancelled)")
        person.type(":help\r")
        person.read_until(":detach")
        person.read_until(">")
        person.type("\x04")
        assert person.process.wait(30) == 0


def test_a_session_that_is_stopped_ends_it(daemon, greenroom, tmp_path, environment):
    session = greenroom("new")
    with Attached(environment, tmp_path, session) as person:
        person.type("@@say here\r")
        person.read_until("done (end_turn)")
        greenroom("stop", session)
        person.read_until("session stopped")
        assert person.process.wait(30) == 0


def test_without_a_runtime_a_stored_session_is_resumed_and_stopped(
    greenroom,
    attach,
    environment,
    tmp_path,
):
    greenroom("run", "@@say hello")
    session = greenroom("ls").split()[0]
    told = attach(session, "@@say again\n", "--last", "50")
    assert told.index("hello") < told.rindex("again")
    assert "stopped (user_canceled)" in greenroom("ls")
    assert "not found" in greenroom("attach", "no-such-session", code=3)


class Attached:
    """Somebody at a terminal."""

    def __init__(self, environment, cwd, session):
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        self.process = subprocess.Popen(
            [*GREENROOM, "attach", session],
            env={**environment, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._told = ""

    def type(self, text):
        os.write(self._master, text.encode())

    def read_until(self, text):
        """Read what the terminal shows until it has shown this, and forget it."""
        end = time.monotonic() + 60
        while text not in self._told:
            assert time.monotonic() < end, self._told[-2000:]
            if select.select([self._master], [], [], 1)[0]:
                told = os.read(self._master, 65536).decode(errors="replace")
                self._told += ESCAPES.sub("", told)
        self._told = self._told.partition(text)[2]

    def __enter__(self):
        self.read_until(">")
        return self

    def __exit__(self, *exc_info):
        self.process.kill()
        self.process.wait(30)
        os.close(self._master)
