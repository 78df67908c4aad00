"""The command line beside a running `greenroom serve`: every verb from a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess

from .conftest import GREENROOM


def test_the_life_of_a_session_by_commands(daemon, greenroom, tmp_path):
    session = greenroom("new", "--name", "mine")
    assert "hello" in greenroom("prompt", session, "@@say hello")
    greenroom("prompt", session, "--yes", "@@run touch made")
    assert (tmp_path / "made").exists()
    listed = json.loads(greenroom("ls", "--json"))
    assert (listed["id"], listed["state"], listed["name"]) == (session, "active", "mine")
    told = greenroom("transcript", session)
    assert "## user" in told
    assert "hello" in told
    rows = [json.loads(line) for line in greenroom("history", "--json", session).splitlines()]
    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
    greenroom("stop", session)
    assert "no live session" in greenroom("prompt", session, "x", code=3)
    assert "active" in greenroom("resume", session)
    assert "again" in greenroom("prompt", session, "@@say again")
    greenroom("rm", session)
    assert greenroom("ls") == ""
    assert "not found" in greenroom("transcript", session, code=3)


def test_steer_interrupt_and_approve_from_other_processes(daemon, greenroom, environment):
    session = greenroom("new")
    tail = subprocess.Popen(
        [*GREENROOM, "tail", "--from", "0", "--json", session],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def follow(kind):
        """Read on until an event of that kind."""
        for line in tail.stdout:
            row = json.loads(line)
            if row["type"] == kind:
                return row["event"]
        raise AssertionError(f"no {kind}")

    try:
        first = greenroom("prompt", "--mode", "queue", "--no", session, "@@say warm")
        assert "warm" in first
        runner = subprocess.Popen(
            [*GREENROOM, "prompt", "--json", "--yes", session, "@@run true\n@@hang"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        follow("tool_result")
        assert greenroom("steer", session, "@@say steered") == "staged"
        assert greenroom("prompt", "--mode", "queue", session, "@@say later") == (
            "queued at position 2"
        )
        assert greenroom("interrupt", session) == "interrupted"
        assert follow("done")["stop_reason"] in ("cancelled", "end_turn")
        runner.communicate(timeout=30)
        assert "pending" in greenroom("approve", session, "unknown", code=1)
    finally:
        tail.kill()
        tail.communicate()


def test_sigterm_stops_the_sessions(daemon, greenroom):
    session = greenroom("new")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(30) == 0
    assert "stopped (shutdown)" in greenroom("ls")
    assert "greenroom serve" in greenroom("prompt", session, "x", code=1)
    assert "## " not in greenroom("transcript", session)


def test_a_killed_daemon_is_not_taken_for_a_running_one(daemon, greenroom):
    session = greenroom("new")
    greenroom("prompt", session, "@@say remembered")
    daemon.kill()
    daemon.wait(30)
    assert "greenroom serve" in greenroom("new", code=1)
    assert "remembered" in greenroom("transcript", session)
    assert "stopped (agent_crashed)" in greenroom("ls")
