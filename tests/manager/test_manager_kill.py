"""kill -9 of the agent and of the whole runtime during a turn: nothing anybody saw is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
from greenroom.actors import SessionManager, State, StopReason
from greenroom.transport import Subscriber

ROUNDS = 20
CHATTER = "\n".join(["@@say word after word after word"] * 40 + ["@@hang"])


def test_kill_9_of_the_agent_during_a_turn(manager, workspace, read_turn, check_gap_free):
    """20 rounds: the turn ends with an error, everything seen is stored, the session resumes."""
    random.seed(20)
    session = manager.create(agent_name="demo", workspace_path=workspace)
    with Subscriber(manager.endpoints, session_id=session.id) as subscriber:
        published = []
        for _ in range(ROUNDS):
            stream = session.prompt(CHATTER)
            seen, deadly = [], random.randint(1, 60)
            for event in stream:
                seen.append(event)
                if len(seen) == deadly:
                    os.kill(session.agent_pid, signal.SIGKILL)
            ended = stream.result(timeout=10)
            assert ended.type == "error"
            assert ended.failure.kind == "process_exit"
            manager.wait_for_finalizations(timeout=10)
            info = manager.status(session.id)
            assert (info.state, info.stop_reason) == (State.STOPPED, StopReason.AGENT_CRASHED)
            stored = manager.events(session.id, turn_id=stream.turn_id)
            told = [r.event.text for r in stored if r.type != "transcript_marker.created"]
            assert told[1:] == [event.text for event in seen]
            session = manager.resume(session.id)
        read_turn(session, session.prompt("@@say still here"))
        session.stop()
        rows = manager.events(session.id)
        check_gap_free(rows)
        while len(published) < len(rows):
            published += subscriber.read(timeout=10)
    assert [(r.epoch, r.sequence, r.id) for r in published] == [
        (r.epoch, r.sequence, r.id) for r in rows
    ]
    assert {row.epoch for row in rows} == set(range(1, ROUNDS + 2))


RUNTIME = """
import json, sys
from greenroom.actors import SessionManager

home, workspace, session_id, prompt = sys.argv[1:]
with SessionManager(home=home) as manager:
    if session_id:
        session = manager.resume(session_id)
    else:
        session = manager.create(agent_name="demo", workspace_path=workspace)
    print(json.dumps({"session": session.id}), flush=True)
    stream = session.prompt(prompt)
    print(json.dumps({"turn": stream.turn_id}), flush=True)
    for event in stream:
        print(json.dumps([event.type, event.text]), flush=True)
"""


class Tail(threading.Thread):
    """Follows everything of a home, across the deaths of its runtimes."""

    def __init__(self, home):
        super().__init__(daemon=True)
        self.rows = []
        self._home = home
        self._known = threading.Event()
        self.start()

    def begin(self):
        """A runtime serves the home: the subscriber can find it."""
        self._known.set()

    def run(self):
        self._known.wait(60)
        with Subscriber(self._home) as subscriber:
            for row in subscriber:
                self.rows.append(row)
                if row.type == "session_stopped":
                    break
            self.rows += subscriber.read(timeout=5)


@pytest.mark.timeout(180)
def test_kill_9_of_the_runtime_during_a_turn(home, workspace, tmp_path, check_gap_free):
    """20 rounds: what a caller or a subscriber saw is in the store, and the session resumes."""
    random.seed(21)
    script = tmp_path / "runtime.py"
    script.write_text(textwrap.dedent(RUNTIME))
    tail = Tail(home)
    session_id, seen_by_turn = "", {}
    for _ in range(ROUNDS):
        process = subprocess.Popen(
            [sys.executable, str(script), str(home), workspace, session_id, CHATTER],
            stdout=subprocess.PIPE,
            text=True,
        )
        deadly, seen, turn = random.randint(1, 60), [], ""
        for line in process.stdout:
            told = json.loads(line)
            if "session" in told:
                session_id = told["session"]
                tail.begin()
            elif "turn" in told:
                turn = told["turn"]
            else:
                seen.append(tuple(told))
                if len(seen) == deadly:
                    process.send_signal(signal.SIGKILL)
        process.stdout.close()
        assert process.wait(10) == -signal.SIGKILL
        seen_by_turn[turn] = seen

    with SessionManager(home=home) as manager:
        info = manager.status(session_id)
        assert (info.state, info.stop_reason) == (State.STOPPED, StopReason.AGENT_CRASHED)
        session = manager.resume(session_id)
        assert session.prompt("@@say still here").result(timeout=20).type == "done"
        session.stop()
        rows = manager.events(session_id)
        check_gap_free(rows)
        for turn, seen in seen_by_turn.items():
            stored = [(r.type, r.event.text) for r in rows if r.turn_id == turn][1:]
            assert stored[: len(seen)] == seen
        tail.join(30)
    assert [(r.epoch, r.sequence, r.id) for r in tail.rows] == [
        (r.epoch, r.sequence, r.id) for r in rows
    ]
