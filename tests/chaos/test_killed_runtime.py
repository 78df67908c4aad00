"""DESIGN S7: kill -9 of a runtime with busy sessions; what anybody was told is there, goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys

import pytest
from greenroom.actors import SessionManager, State

RUNTIME = """
import json, os, sys, threading
from greenroom.actors import SessionManager
from greenroom.actors.model.settings import SessionBusyInputConfig

home, workspace, known, count, *argv = sys.argv[1:]
known = json.loads(known)
lock = threading.Lock()

def tell(*what):
    with lock:
        os.write(1, json.dumps(what).encode() + b"\\n")

def work(manager, session, number):
    told = session.send_prompt(f"30 {os.getpid()} {number}", mode="queue")
    tell("prompt", session.id, told.new_turn_id, told.queue_entry_id)
    queued = session.send_prompt(f"30 queued {os.getpid()} {number}", mode="queue")
    tell("queued", session.id, queued.queue_entry_id, queued.new_turn_id)
    if told.events is not None:
        for event in told.events:
            tell("event", session.id, event.turn_id, event.type, event.text)

config = SessionBusyInputConfig(queue_cap=1000)
with SessionManager(
    home=home, agents={"busy": argv}, session_busy_input_config=config
) as manager:
    if known:
        sessions = [manager.resume(name) for name in known]
    else:
        sessions = [
            manager.create(agent_name="busy", workspace_path=workspace) for _ in range(int(count))
        ]
    tell("sessions", [session.id for session in sessions])
    workers = [
        threading.Thread(target=work, args=(manager, session, n))
        for n, session in enumerate(sessions)
    ]
    for worker in workers:
        worker.start()
    threading.Event().wait()
"""


class Told:
    """What the callers of all lives were told."""

    def __init__(self, count):
        self.count = count
        self.sessions = []
        self.events = {}
        self.inputs = []

    def take(self, line):
        kind, *what = json.loads(line)
        if kind == "sessions":
            (self.sessions,) = what
        elif kind == "event":
            session_id, turn_id, *event = what
            self.events.setdefault((session_id, turn_id), []).append(tuple(event))
        else:
            self.inputs.append(tuple(what))


def run_life(told, home, workspace, script, argv, chance):
    """A runtime that is killed after some of what it says."""
    process = subprocess.Popen(
        [
            sys.executable,
            str(script),
            str(home),
            workspace,
            json.dumps(told.sessions),
            str(told.count),
            *argv,
        ],
        stdout=subprocess.PIPE,
    )
    # Each life says at least so much: its sessions, and two acknowledged inputs of each.
    lines_left = chance.randrange(2, 2 * told.count + 1)
    try:
        for line in process.stdout:
            told.take(line)
            lines_left -= 1
            if lines_left == 0:
                process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.stdout.close()
    assert process.wait(60) == -signal.SIGKILL


def check(told, manager):
    for session_id in told.sessions:
        rows = manager.events(session_id)
        assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
        assert len({row.id for row in rows}) == len(rows)
        dispatched = [row.event.request_id for row in rows if row.event.request_id]
        assert len(set(dispatched)) == len(dispatched), "a queued input ran twice"
        by_turn = {}
        for row in rows:
            if row.type in ("agent_message", "done", "error"):
                by_turn.setdefault(row.turn_id, []).append((row.type, row.event.text))
        for (owner, turn_id), seen in told.events.items():
            if owner == session_id:
                spoken = [event for event in seen if event[0] in ("agent_message", "done", "error")]
                assert by_turn.get(turn_id, [])[: len(spoken)] == spoken
        turns = {row.turn_id for row in rows if row.type == "user_message"}
        marks = "".join(str(row.event.raw) for row in rows if "marker" in row.type)
        for owner, *names in told.inputs:
            if owner == session_id:
                for name in filter(None, names):
                    assert name in turns or name in marks, f"{name} was acknowledged and is lost"


def run_rounds(rounds, count, home, workspace, agents, tmp_path, processes_of):
    chance = random.Random(7)
    mark = f"kill-mark-{os.getpid()}"
    argv = [*agents["busy"], mark]
    script = tmp_path / "runtime.py"
    script.write_text(RUNTIME)
    told = Told(count)
    for _ in range(rounds):
        run_life(told, home, workspace, script, argv, chance)
    with SessionManager(home=home, agents={"busy": argv}) as manager:
        assert {info.id for info in manager.list_all()} >= set(told.sessions)
        check(told, manager)
        session = manager.resume(told.sessions[0])
        assert session.state is State.ACTIVE
    assert not processes_of(mark)


@pytest.mark.timeout(600)
def test_s7_kill_9_of_a_runtime_with_busy_sessions(home, workspace, agents, tmp_path, processes_of):
    run_rounds(6, 3, home, workspace, agents, tmp_path, processes_of)


@pytest.mark.chaos
def test_s7_200_rounds_of_10_sessions(home, workspace, agents, tmp_path, processes_of):
    run_rounds(200, 10, home, workspace, agents, tmp_path, processes_of)
