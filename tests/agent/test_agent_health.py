"""Evidence of an agent's health (D36; 07 R3) and the heartbeat of a turn (04 4.2; 02 12.2)."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime

import gevent
import pytest
from gevent.event import Event
from greenroom.actors.errors import SessionValueError
from greenroom.transport.agent import activity, health
from greenroom.transport.agent.context import CallContext
from greenroom.transport.agent.driver import ACPDriver
from greenroom.transport.agent.protocol import (
    HealthReporting,
    HealthState,
    PromptRequest,
)

from .conftest import until

DEAF = "handshake()\ntime.sleep(300)"


def prompt(stage, process, reporter, **more):
    request = PromptRequest("turn-h", "x", activity_reporter=reporter, **more)
    return stage.driver.prompt(CallContext(), process, request)


def test_nothing_known_is_no_evidence(stage):
    process = stage.start()
    assert isinstance(process, HealthReporting)
    assert process.health_state() == HealthState()
    assert not process.health_state().is_unhealthy
    stage.play(process, "@@say x")
    assert not process.health_state().is_unhealthy


@pytest.mark.parametrize(
    ("state", "is_unhealthy"),
    [
        (HealthState(), False),
        (HealthState(healthy=True, message="fine"), False),
        (HealthState(message="broken"), True),
        (HealthState(last_checked_at=datetime.now(UTC)), True),
        (HealthState(consecutive_failures=1), True),
        (HealthState(last_error="x"), True),
        (HealthState(details={"a": 1}), True),
    ],
)
def test_unhealthy_takes_evidence(state, is_unhealthy):
    assert state.is_unhealthy is is_unhealthy


def test_d36_a_write_that_stalls_is_evidence_and_a_frame_clears_it(stage, monkeypatch):
    monkeypatch.setattr(health, "WRITE_STALL_S", 0.02)
    process = stage.start(
        stage.script(
            """
            handshake()
            while not os.path.exists("speak"): time.sleep(0.002)
            say("alive, but not reading")
            while not os.path.exists("read"): time.sleep(0.002)
            serve()
            """
        )
    )
    stream = stage.prompt(process, "x" * 2_000_000)
    until(lambda: process.health_state().is_unhealthy)
    assert "has not read its input" in process.health_state().message
    heard = process.link.heard_at
    monkeypatch.setattr(health, "WRITE_STALL_S", 1.0)
    (stage.cwd / "speak").touch()
    until(lambda: process.link.heard_at != heard)
    assert not process.health_state().is_unhealthy
    (stage.cwd / "read").touch()
    assert [event.type for event in stream][-1] == "done"
    assert process.link.write_stalled_s == 0


def test_d36_r3_a_cancel_nobody_heeds_is_evidence_until_a_clean_turn(stage):
    process = stage.start(
        stage.script(
            """
            handshake()
            first = await_prompt()
            say("deaf")
            serve()
            """
        ),
        driver=ACPDriver(cancel_grace=0.05),
    )
    stream = stage.prompt(process, "x")
    stream.take()
    stage.driver.cancel(CallContext(), process)
    list(stream)
    assert process.health_state().is_unhealthy
    assert "last turn" in process.health_state().message
    assert stage.play(process, "again")[-1].type == "done"
    assert not process.health_state().is_unhealthy


# ---- heartbeats


def test_one_report_at_once_then_one_in_every_interval(stage):
    process = stage.start(stage.script("handshake()\nawait_prompt()\ntime.sleep(300)"))
    reports, thrice = [], Event()

    def report(got):
        reports.append(got)
        if len(reports) == 3:
            thrice.set()

    prompt(stage, process, report, activity_heartbeat_interval=0.01)
    assert len(reports) == 1
    assert reports[0].kind == "agent_waiting"
    assert reports[0].detail == "waiting for session/prompt response"
    assert thrice.wait(10)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    count = len(reports)
    gevent.get_hub().threadpool.apply(os.getpid)
    assert len(reports) == count


def test_the_end_of_the_turn_ends_the_reports(stage):
    process = stage.start(stage.script("handshake()\nserve()"))
    reports = []
    stream = prompt(stage, process, reports.append, activity_heartbeat_interval=0.001)
    list(stream)
    count = len(reports)
    stage.play(process, "without a reporter")
    assert len(reports) == count


def test_by_default_an_interval_is_thirty_seconds(stage):
    class Loop:
        def timer(self, after, repeat):
            seen.append((after, repeat))
            return self

        def start(self, call):
            pass

    seen = []
    for interval in (0, 5):
        request = PromptRequest(
            "t", "x", activity_reporter=print, activity_heartbeat_interval=interval
        )
        assert activity.Heartbeat.of(request, Loop()) is not None
    assert seen == [(30.0, 30.0), (5, 5)]
    assert activity.Heartbeat.of(PromptRequest("t", "x"), Loop()) is None


def test_a_reporter_that_fails_disturbs_nothing(stage, caplog):
    process = stage.start(stage.script("handshake()\nserve()"))

    def fail(report):
        raise ZeroDivisionError("a defect of the host")

    events = list(prompt(stage, process, fail, activity_heartbeat_interval=0.001))
    assert events[-1].type == "done"
    assert caplog.text.count("the reporter of activity failed") == 1


def test_a_negative_interval(stage):
    process = stage.start(stage.script("handshake()\nserve()"))
    with pytest.raises(SessionValueError):
        prompt(stage, process, print, activity_heartbeat_interval=-1.0)
    assert stage.play(process, "x")[-1].type == "done"
