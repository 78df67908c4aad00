"""A home of its own, commands run in it, and a daemon that owns it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

GREENROOM = (sys.executable, "-m", "greenroom.actors.cli")


@pytest.fixture
def environment(tmp_path):
    return {
        **os.environ,
        "GREENROOM_HOME": str(tmp_path / "home"),
        "GREENROOM_DEMO_PACE": "0",
        "GREENROOM_DEMO_STATE": str(tmp_path / "demo-state"),
    }


@pytest.fixture
def greenroom(environment, tmp_path):
    """Runs one command to its end."""

    def run(*args, code=0):
        ran = subprocess.run(
            [*GREENROOM, *args],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == code, (ran.stdout, ran.stderr)
        return ran.stdout.strip() if code == 0 else ran.stderr.strip()

    return run


@pytest.fixture
def daemon(environment, tmp_path):
    """A running daemon; ended at the end, if it still runs."""
    process = subprocess.Popen(
        [*GREENROOM, "serve"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
