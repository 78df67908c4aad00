"""spec 02 10, 11, 12: the driver's signs of life, and a cancel that reaches agent and tools."""

from __future__ import annotations

import threading

import pytest
from gevent.event import Event
from greenroom.actors import (
    AgentError,
    PromptCanceledError,
    ScopedInterruptNotFoundError,
    SessionError,
    SessionSupervisionConfig,
)
from greenroom.actors.testing.driver import ScriptedDriver
from greenroom.transport.agent.protocol import HealthState, PromptActivityReport

REPORT = PromptActivityReport


class ReportingDriver(ScriptedDriver):
    """Says that it waits for the agent, as the ACP driver does, and lets a test say more."""

    def __init__(self, story, **options):
        super().__init__(story, **options)
        self.reporters = []

    def prompt(self, ctx, process, request):
        from datetime import UTC, datetime

        turn = super().prompt(ctx, process, request)
        self.reporters.append(request.activity_reporter)
        assert request.activity_heartbeat_interval == 30
        request.activity_reporter(REPORT(datetime.now(UTC), detail="first"))
        return turn


class InterruptingDriver(ScriptedDriver):
    """Offers the scoped interrupt; an error is raised instead of a report."""

    error: Exception | None = None

    def __init__(self, story):
        super().__init__(story)
        self.interrupted = []

    def interrupt(self, ctx, session_id, turn_id):
        self.interrupted.append((session_id, turn_id))
        if self.error is not None:
            raise self.error


def until(holds):
    """Wait for something another thread does."""
    waited = threading.Event()
    for _ in range(2000):
        if holds():
            return
        waited.wait(0.005)
    raise AssertionError("it did not happen")


def test_12_2_the_report_inside_prompt_is_seen_although_the_turn_began_later(play):
    gate = Event()
    driver = ReportingDriver(lambda turn: gate.wait(10))
    manager, session, _ = play(None, driver=driver)
    stream = session.prompt("x")
    watch = lambda: session._live.state.watch  # noqa: E731
    until(lambda: watch() is not None and watch().kind == "agent_waiting")
    assert watch().detail == "first"
    manager._hub.post(gate.set)
    stream.result(timeout=10)


def test_17_a_report_from_a_thread_after_the_end_of_the_turn_is_ignored(play):
    from datetime import UTC, datetime

    driver = ReportingDriver(lambda turn: turn.say("hi"))
    _, session, _ = play(None, driver=driver)
    session.prompt("x").result(timeout=10)
    until(lambda: not session.is_prompting)
    before = session._live.state
    driver.reporters[0](REPORT(datetime.now(UTC), kind="tool", detail="late"))
    assert session.prompt("y").result(timeout=10).type == "done"
    assert before.watch is None


def test_12_4_a_sick_process_is_told_of_once_with_its_marker(play):
    gate = Event()
    driver = ReportingDriver(lambda turn: gate.wait(10))
    manager, session, _ = play(None, driver=driver, session_supervision=SessionSupervisionConfig())
    process = driver.processes[0]
    process.health_state = lambda: HealthState(last_error="no pulse", consecutive_failures=3)
    stream = session.prompt("x")
    event = stream.next(timeout=10)
    assert event.type == "runtime_warning"
    assert "no pulse" in event.text
    manager._hub.post(gate.set)
    stream.result(timeout=10)
    until(lambda: not session.is_prompting)
    titles = [row.event.title for row in manager.events(session.id) if row.event.title]
    assert titles.count("transcript_marker.session_unhealthy") == 1


def test_11_1_a_cancel_ends_what_works_for_the_turn_and_is_marked(play):
    driver = InterruptingDriver(lambda turn: turn.cancelled.wait(10))
    driver.error = ScopedInterruptNotFoundError("nothing works for it")
    manager, session, _ = play(None, driver=driver)
    stream = session.prompt("x")
    session.cancel(timeout=10)
    assert driver.interrupted == [(session.id, stream.turn_id)]
    assert stream.result(timeout=10).type == "done"
    titles = [row.event.title for row in manager.events(session.id) if row.event.title]
    assert titles == ["transcript_marker.prompt_cancel"]


def test_11_1_a_tool_that_can_not_be_ended_is_told_to_the_caller(play):
    driver = InterruptingDriver(lambda turn: turn.cancelled.wait(10))
    driver.error = AgentError("it holds on")
    _, session, _ = play(None, driver=driver)
    stream = session.prompt("x")
    with pytest.raises(AgentError, match="holds on"):
        session.cancel(timeout=10)
    assert stream.result(timeout=10).type == "done"


def test_11_1_a_cancel_while_the_driver_takes_the_prompt_ends_its_context(play):
    """spec 02 17: the execution context is cancelled at once, not after setup."""
    seen = threading.Event()

    class Slow(ScriptedDriver):
        def prompt(self, ctx, process, request):
            seen.set()
            ctx.cancelled.wait(10)
            ctx.check()

    manager, session, _ = play(None, driver=Slow(lambda turn: None))
    outcome = []

    def prompt():
        try:
            session.prompt("x")
        except SessionError as error:
            outcome.append(error)

    caller = threading.Thread(target=prompt)
    caller.start()
    assert seen.wait(10)
    session.cancel(timeout=10)
    caller.join(10)
    assert [type(error) for error in outcome] == [PromptCanceledError]
    types = [row.type for row in manager.events(session.id)]
    assert types == ["user_message", "transcript_marker.created", "error"]
    assert not session.is_prompting


def test_a_call_that_comes_too_late_is_answered(play):
    """No caller waits for an actor that is gone."""
    driver = InterruptingDriver(lambda turn: turn.cancelled.wait(10))
    _, session, _ = play(None, driver=driver)
    live = session._live
    session.stop()
    from greenroom.actors import SessionNotActiveError
    from greenroom.actors.core.inputs import CancelRequested

    answer = session._manager._hub.call(lambda: live.ask(CancelRequested))
    with pytest.raises(SessionNotActiveError):
        answer.get(timeout=10)
