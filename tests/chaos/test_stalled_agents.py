"""DESIGN A6: agents that stall are found and started again; busy ones are left alone."""

from __future__ import annotations

import os
import time

import pytest
from greenroom.actors import SessionManager
from greenroom.actors.model.restart import RestartPolicy
from greenroom.actors.model.settings import SessionSupervisionConfig

TIMEOUT_S = 3.0
GRACE_S = 1.0
SUPERVISION = SessionSupervisionConfig(
    activity_heartbeat_interval=0.5,
    progress_notify_interval=0,
    inactivity_warning_after=2.0,
    inactivity_timeout=TIMEOUT_S,
    timeout_cancel_grace=GRACE_S,
    prompt_deadline=0,
)
RECOVERED = "Session recovered after agent restart."
BATCH = 10


def recovered(manager, session):
    rows = manager.events(session.id, type="transcript_marker.created")
    return [row for row in rows if row.event.text == RECOVERED]


def stall(manager, workspace, names):
    """One batch at once; how long the slowest took to come back."""
    policy = RestartPolicy("transient", backoff_s=0.1)
    sessions = [
        manager.create(agent_name=name, workspace_path=workspace, restart=policy) for name in names
    ]
    begun = time.monotonic()
    streams = [session.prompt("now") for session in sessions]
    for stream in streams:
        ended = stream.result(timeout=120)
        assert ended is None or ended.type in ("error", "done")
    for session in sessions:
        while not recovered(manager, session):
            assert time.monotonic() - begun < 120, session.info()
            os.sched_yield()
    took_s = time.monotonic() - begun
    for session in sessions:
        assert session.prompt("again").result(timeout=60).type == "done"
        assert len(recovered(manager, session)) == 1
        session.stop(timeout=60)
    return took_s


def run_stalled(count, home, workspace, agents, processes_of):
    mark = f"stall-mark-{os.getpid()}"
    moods = ("silent", "stopped", "deaf", "endless")
    names = [f"{moods[n % len(moods)]}-{n}" for n in range(count)]
    argv = {name: [*agents[name.split("-")[0]], f"{mark}-{name}"] for name in names}
    slowest = 0.0
    options = {"agents": argv, "session_supervision": DEADLINE}
    with SessionManager(home=home, **options) as manager:
        for at in range(0, count, BATCH):
            slowest = max(slowest, stall(manager, workspace, names[at : at + BATCH]))
    assert not processes_of(mark), "no orphans"
    return slowest


DEADLINE = SessionSupervisionConfig(
    activity_heartbeat_interval=0.5,
    progress_notify_interval=0,
    inactivity_warning_after=2.0,
    inactivity_timeout=TIMEOUT_S,
    timeout_cancel_grace=GRACE_S,
    prompt_deadline=TIMEOUT_S,
)
"""Endless output is activity: only the deadline ends it."""


@pytest.mark.timeout(300)
def test_a6_stalled_agents_are_started_again(home, workspace, agents, processes_of):
    run_stalled(4, home, workspace, agents, processes_of)


@pytest.mark.chaos
def test_a6_100_of_100_stalled_agents(home, workspace, agents, processes_of):
    slowest = run_stalled(100, home, workspace, agents, processes_of)
    assert slowest <= TIMEOUT_S + GRACE_S + 7


def run_busy(count, home, workspace, agents, processes_of):
    mark = f"busy-mark-{os.getpid()}"
    argv = {"busy": [*agents["busy"], mark]}
    with SessionManager(home=home, agents=argv, session_supervision=SUPERVISION) as manager:
        for _ in range(0, count, BATCH):
            sessions = [
                manager.create(agent_name="busy", workspace_path=workspace, restart="transient")
                for _ in range(min(BATCH, count))
            ]
            streams = [session.prompt(str(int(TIMEOUT_S) + 3)) for session in sessions]
            for session, stream in zip(sessions, streams, strict=True):
                assert stream.result(timeout=120).type == "done"
                assert recovered(manager, session) == []
                session.stop(timeout=60)


@pytest.mark.chaos
def test_a6_0_of_100_busy_agents_are_touched(home, workspace, agents, processes_of):
    run_busy(100, home, workspace, agents, processes_of)
