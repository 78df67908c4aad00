"""Turns that the agent opens itself, step by step (07 4.6, 4.9, 4.10)."""

from __future__ import annotations

import pytest
from greenroom.actors.core import activity, effects, inputs, supervision
from greenroom.actors.core.activity import CancelTurn
from greenroom.actors.core.state import own_turn_id
from greenroom.actors.core.work_inputs import AgentTurnOpened, AgentWorkChanged
from greenroom.actors.model.event import AgentEvent, EventType
from greenroom.actors.model.restart import RestartPolicy
from greenroom.actors.model.session import StopCause
from greenroom.actors.model.settings import SessionSupervisionConfig
from greenroom.actors.model.turn import BusyInputMode

from .conftest import START, Bench, events_of

SAID = AgentEvent(type=EventType.AGENT_MESSAGE, text="by myself")
DONE = AgentEvent(type=EventType.DONE, stop_reason="end_turn")


@pytest.fixture
def session():
    bench = Bench()
    bench.activate()
    return bench


def test_an_idle_session_takes_it_as_its_turn(session):
    session.feed(AgentTurnOpened("own", 5.0))
    turn = session.state.turn
    assert (turn.turn_id, turn.source, turn.meta.synthetic.reason) == (
        "own",
        "synthetic",
        "agent_initiated",
    )
    assert session.state.watch.started_s == 5.0
    rows = events_of(session.arrive(SAID, DONE))
    assert [(row.turn_id, row.scheduler_reason) for row in rows] == [("own", "agent_initiated")] * 2
    session.feed(inputs.AgentStreamClosed("own"))
    assert (session.state.turn, session.state.last_turn_id) == (None, "own")


def test_input_waits_for_its_end(session):
    session.feed(AgentTurnOpened("own"))
    ask, _ = session.prompt("refused")
    assert type(session.answers[ask]).__name__ == "PromptInProgressError"
    session.prompt("later", mode=BusyInputMode.QUEUE)
    session.arrive(DONE)
    after = session.feed(inputs.AgentStreamClosed("own"))
    assert [effect.message for effect in after if isinstance(effect, effects.SendPrompt)] == [
        "later"
    ]


def test_it_can_be_cancelled(session):
    session.feed(AgentTurnOpened("own"))
    _, told = session.ask(inputs.CancelRequested)
    assert [effect.turn_id for effect in told if isinstance(effect, effects.CancelPrompt)] == [
        "own"
    ]


def test_beside_a_turn_its_events_are_recorded_under_its_own_id(session):
    running = session.run_turn()
    session.feed(AgentTurnOpened("own"))
    assert session.turn_id == running
    rows = events_of(session.arrive(SAID, DONE, SAID, turn_id="own"))
    assert [(row.turn_id, row.type, row.scheduler_reason) for row in rows] == [
        ("own", "agent_message", "agent_initiated"),
        ("own", "done", "agent_initiated"),
    ]
    assert events_of(session.arrive(SAID, turn_id="own")) == []  # it has ended
    session.end_turn()
    assert session.state.turn is None  # and is not taken up any more
    session.feed(inputs.AgentStreamClosed("own"))
    assert session.state.own_turns == ()


def test_one_that_goes_on_becomes_the_turn_before_anything_that_waits(session):
    session.run_turn()
    session.prompt("later", mode=BusyInputMode.QUEUE)
    session.feed(AgentTurnOpened("own", 3.0))
    session.feed(AgentTurnOpened("another"))
    session.arrive(SAID, turn_id="own")
    session.end_turn()
    assert session.turn_id == "own"
    session.feed(inputs.AgentStreamClosed("another"))
    assert session.state.own_turns == ()
    assert [row.type for row in events_of(session.arrive(DONE))] == ["done"]
    session.feed(inputs.AgentStreamClosed("own"))
    assert session.state.turn.message == "later"


def test_a_session_that_stops_takes_none_up(session):
    session.ask(inputs.StopRequested, cause=StopCause.USER_REQUESTED)
    session.feed(AgentTurnOpened("own"))
    assert session.state.turn is None
    assert [row.turn_id for row in events_of(session.arrive(SAID, turn_id="own"))] == ["own"]
    assert session.feed(inputs.AgentStreamClosed("nobody's")) == (effects.CloseStream("nobody's"),)


def test_4_6_no_stall_is_counted_while_the_agent_waits_for_its_user():
    config = SessionSupervisionConfig(
        activity_heartbeat_interval=1000.0,
        progress_notify_interval=0.0,
        inactivity_warning_after=5.0,
        inactivity_timeout=10.0,
    )
    watch, _ = supervision.started(
        turn_id="t", turn_source="user", config=config, now=START, at_s=0.0, blocked=True
    )
    assert supervision.next_tick_s(watch, 0.0) == 1000.0
    watch, decisions = supervision.ticked(watch, START, 100.0)
    assert decisions == ()
    watch = activity.blocked(watch, False, START, 100.0)
    assert supervision.next_tick_s(watch, 100.0) == 5.0
    watch = activity.blocked(watch, True, START, 104.0)
    watch = activity.blocked(watch, False, START, 200.0)
    _, decisions = supervision.ticked(watch, START, 210.0)
    assert any(isinstance(decision, CancelTurn) for decision in decisions)


def test_4_6_4_10_what_the_agent_does_is_known(session):
    session.feed(AgentWorkChanged("blocked", ("t-1",), 1.0))
    assert (session.state.blocked, session.state.background) == (True, ("t-1",))
    session.run_turn()
    assert session.state.watch.blocked
    session.feed(AgentWorkChanged("running", (), 9.0))
    assert (session.state.blocked, session.state.background) == (False, ())
    assert (session.state.watch.blocked, session.state.watch.last_activity_s) == (False, 9.0)
    before = session.state.watch
    session.feed(AgentWorkChanged("unknown", (), 10.0))
    assert session.state.watch is before


def test_names_of_own_turns_are_the_incarnations(session):
    names = {own_turn_id(session.state, number) for number in range(1, 50)}
    assert len(names) == 49
    assert own_turn_id(session.state, 1) in names


@pytest.mark.parametrize("mode", ["transient", "permanent", "temporary"])
def test_r3_a_suspect_agent_is_replaced_where_the_policy_restarts(mode):
    bench = Bench(restart=RestartPolicy(mode))
    bench.activate()
    turn_id = bench.run_turn()
    bench.prompt("later", mode=BusyInputMode.QUEUE)
    bench.arrive(AgentEvent(type=EventType.ERROR, error="what cancel?"))
    after = bench.feed(inputs.AgentStreamClosed(turn_id, suspect=True))
    stops = [effect for effect in after if isinstance(effect, effects.StopAgent)]
    sent = [effect for effect in after if isinstance(effect, effects.SendPrompt)]
    if mode == "temporary":
        assert (len(stops), len(sent)) == (0, 1)
        return
    assert (len(stops), len(sent)) == (1, 0)
    bench.feed(inputs.AgentExited())
    assert bench.state.restarting
