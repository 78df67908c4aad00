"""DESIGN A8 and A10: nothing of a session is left behind; a whole runtime ends in time."""

from __future__ import annotations

import gc
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gevent import Greenlet
from greenroom.actors import SessionManager, State, StopReason


class Events:
    """What a notifier was told, in order."""

    def __init__(self):
        self.told = []

    def on_session_created(self, session):
        self.told.append(("created", session.id))

    def on_session_stopped(self, session):
        self.told.append(("stopped", session.id))

    def on_agent_event(self, session_id, event):
        if event.type == "session_stopped":
            self.told.append(("row", session_id))


def leftovers(home, processes_of, mark):
    """What a process holds: greenlets, descriptors, children, temporary files."""
    gc.collect()
    greenlets = sum(isinstance(o, Greenlet) and not o.dead for o in gc.get_objects())
    temporary = list(Path(home).rglob(".greenroom-atomic-*"))
    return greenlets, len(os.listdir("/proc/self/fd")), len(processes_of(mark)), len(temporary)


def cycle(manager, workspace):
    session = manager.create(agent_name="well", workspace_path=workspace)
    assert session.prompt("hello").result(timeout=60).type == "done"
    session.stop(timeout=60)


def run_cycles(count, home, workspace, agents, processes_of):
    mark = f"mark-of-{os.getpid()}"
    with SessionManager(home=home, agents={"well": [*agents["well"], mark]}) as manager:
        for _ in range(5):
            cycle(manager, workspace)
        before = leftovers(home, processes_of, mark)
        for _ in range(count):
            cycle(manager, workspace)
        after = leftovers(home, processes_of, mark)
        assert not manager.list()
        assert len(manager.list_all()) == count + 5
    assert after[0] <= before[0] + 1
    assert after[1] <= before[1] + 2
    assert after[2:] == before[2:] == (0, 0)


@pytest.mark.timeout(600)
def test_a8_cycles_leave_nothing_behind(home, workspace, agents, processes_of):
    run_cycles(100, home, workspace, agents, processes_of)


@pytest.mark.chaos
def test_a8_a_thousand_cycles_leave_nothing_behind(home, workspace, agents, processes_of):
    run_cycles(1000, home, workspace, agents, processes_of)


def stop_runtime(count, hostile, home, workspace, agents, processes_of):
    """Sessions of which some have a hostile agent in a turn; how long ``close`` takes."""
    mark = f"stop-mark-{os.getpid()}"
    moods = ("deaf", "stopped", "silent", "endless")
    argv = {mood: [*agents[mood], mark] for mood in (*moods, "well")}
    events = Events()
    manager = SessionManager(home=home, agents=argv, notifier=events)
    names = [moods[n % 4] if n < hostile else "well" for n in range(count)]
    with ThreadPoolExecutor(8) as pool:
        sessions = list(
            pool.map(lambda n: manager.create(agent_name=n, workspace_path=workspace), names)
        )
    for session, name in zip(sessions, names, strict=True):
        if name != "well":
            Path(workspace, mark).unlink(missing_ok=True)
            session.prompt("now")
            while not Path(workspace, mark).exists():
                time.sleep(0)
    begun = time.monotonic()
    manager.close()
    took_s = time.monotonic() - begun
    assert not processes_of(mark)
    for session in sessions:
        mine = [kind for kind, session_id in events.told if session_id == session.id]
        assert mine == ["created", "row", "stopped"]
    with SessionManager(home=home, agents=argv) as again:
        for info in again.list_all():
            assert (info.state, info.stop_reason) == (State.STOPPED, StopReason.SHUTDOWN)
        assert len(again.list_all()) == count
    return took_s


@pytest.mark.timeout(300)
def test_a10_a_runtime_ends_with_its_sessions(home, workspace, agents, processes_of):
    """Each is finalized once: created, its last row, reported stopped, in this order."""
    stop_runtime(12, 4, home, workspace, agents, processes_of)


@pytest.mark.chaos
def test_a10_200_sessions_of_which_10_are_hostile(home, workspace, agents, processes_of):
    took_s = stop_runtime(200, 10, home, workspace, agents, processes_of)
    assert took_s <= 8.0
