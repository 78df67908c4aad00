"""S7: kill -9 of a runtime with ten busy sessions, again and again (03 13)."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors import SessionManager, State, StopReason
from greenroom.actors.testing.driver import ScriptedDriver

ROUNDS = 20
CHAOS_ROUNDS = 200
SESSIONS = 10

RUNTIME = """
import json, os, sys, threading
import gevent
from greenroom.actors import SessionManager
from greenroom.actors.testing.driver import ScriptedDriver

home, workspace, *ids = sys.argv[1:]

def story(turn):
    number = 0
    while True:
        number += 1
        turn.say(f"{turn.turn_id} {number}")
        gevent.sleep(0)

def follow(session):
    stream = session.prompt("go on")
    for event in stream:
        # One write, so that a line is whole or not there.
        told = [session.id, stream.turn_id, event.text]
        os.write(1, json.dumps(told).encode() + b"\\n")

# Whoever reads a stream here may be slow: the machine is busy.
options = {"driver": ScriptedDriver(story), "agents": {"s": ["s"]}, "prompt_buffer_size": 1 << 20}
with SessionManager(home=home, **options) as manager:
    if ids:
        sessions = [manager.resume(one) for one in ids]
    else:
        sessions = [
            manager.create(agent_name="s", workspace_path=workspace) for _ in range(COUNT)
        ]
    threads = [threading.Thread(target=follow, args=(one,)) for one in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
""".replace("COUNT", str(SESSIONS))


def one_round(home: Path, workspace: str, ids: list[str], lines: int) -> list[list[Any]]:
    """Run until every session has told something, and so many lines came; kill; what was told."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUNTIME, str(home), workspace, *ids], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    told: list[list[Any]] = []
    while len(told) < lines or len({line[0] for line in told}) < SESSIONS:
        line = process.stdout.readline()
        assert line, "the runtime ended by itself"
        told.append(json.loads(line))
    process.send_signal(signal.SIGKILL)
    # What it told before it died counts too; a last line that was cut does not.
    rest = process.stdout.read().splitlines(True)
    told += [json.loads(line) for line in rest if line.endswith(b"\n")]
    process.stdout.close()
    assert process.wait(30) == -signal.SIGKILL
    return told


def run(home: Path, workspace: str, rounds: int, check_gap_free: Any) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ids: list[str] = []
    seen: dict[tuple[str, str], list[str]] = {}
    for _ in range(rounds):
        for session_id, turn_id, text in one_round(home, workspace, ids, chance.randrange(1, 400)):
            seen.setdefault((session_id, turn_id), []).append(text)
        ids = sorted({session_id for session_id, _ in seen})
        assert len(ids) == SESSIONS
    driver = ScriptedDriver(lambda turn: turn.say("still here"))
    with SessionManager(home=home, driver=driver, agents={"s": ["s"]}) as manager:
        for session_id in ids:
            info = manager.status(session_id)
            assert (info.state, info.stop_reason) == (State.STOPPED, StopReason.AGENT_CRASHED)
            session = manager.resume(session_id)
            assert session.prompt("are you there?").result(timeout=60).type == "done"
            session.stop()
            rows = manager.events(session_id)
            check_gap_free(rows)
            assert len({row.id for row in rows}) == len(rows)
            for (told_by, turn_id), texts in seen.items():
                if told_by == session_id:
                    stored = [row.event.text for row in rows if row.turn_id == turn_id]
                    assert stored[1 : len(texts) + 1] == texts
    assert len(seen) == rounds * SESSIONS


@pytest.mark.timeout(300)
def test_s7_a_killed_runtime_loses_nothing_of_ten_busy_sessions(
    home: Path, workspace: str, check_gap_free: Any
) -> None:
    run(home, workspace, ROUNDS, check_gap_free)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_s7_at_length(home: Path, workspace: str, check_gap_free: Any) -> None:
    run(home, workspace, CHAOS_ROUNDS, check_gap_free)
