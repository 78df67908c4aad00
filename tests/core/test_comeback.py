"""spec 01 9.6: an agent that comes back, decided by the step."""

from __future__ import annotations

from dataclasses import replace

import pytest
from greenroom.actors.core import effects as fx
from greenroom.actors.core import inputs
from greenroom.actors.core.comeback import RESTART_TIMER
from greenroom.actors.core.lifecycle import DRAIN_TIMER
from greenroom.actors.errors import SessionNotActiveError
from greenroom.actors.model.agent import Caps
from greenroom.actors.model.event import AgentEvent, EventType
from greenroom.actors.model.failure import FailureKind, SessionFailure
from greenroom.actors.model.restart import RestartPolicy
from greenroom.actors.model.session import State, StopCause, StopReason

FAILURE = SessionFailure(FailureKind.PROCESS_EXIT, "gone")
CRASH = inputs.AgentExited("exit status 9", FAILURE)


@pytest.fixture
def transient(make_bench):
    bench = make_bench(restart=RestartPolicy("transient", max_restarts=2, window_s=1000))
    bench.activate(supports_steering=True)
    return bench


def back(bench, acp_id="acp-1"):
    """The agent was started again."""
    return bench.feed(inputs.AgentStarted(0, acp_id, Caps(), 78, bench.now, True))


def markers(events):
    return [event.title.removeprefix("transcript_marker.") for event in events if event.title]


def test_a_crash_while_idle_restarts_after_the_backoff(transient, events_of, kinds):
    effects = transient.feed(CRASH)
    assert kinds(effects) == ["WriteMeta", "ArmTimer"]
    assert effects[1] == fx.ArmTimer(RESTART_TIMER, 0.5)
    assert transient.state.meta.state is State.STARTING
    assert transient.feed(inputs.TimerFired(RESTART_TIMER)) == (fx.RestartAgent(),)
    effects = back(transient)
    assert transient.state.meta.state is State.ACTIVE
    assert transient.state.meta.acp_session_id == "acp-1"
    assert transient.state.meta.stop_reason is None
    (note,) = events_of(effects)
    assert markers([note]) == ["session_recovered"]
    assert note.turn_id.startswith("turn-")
    evidence = note.raw.value["evidence"]
    assert (evidence["restart_count"], evidence["failure_kind"]) == (1, "process_exit")
    _, effects = transient.prompt("go on")
    assert isinstance(effects[1], fx.SendPrompt)


def test_the_cut_turn_is_recorded_first_and_carries_the_marker(transient, events_of, kinds):
    turn_id = transient.run_turn("long work")
    transient.prompt("later", mode="queue")
    effects = transient.feed(CRASH)
    assert effects == (fx.ArmTimer(DRAIN_TIMER, 5.0),)
    transient.arrive(AgentEvent(type=EventType.ERROR, error="gone", failure=FAILURE))
    effects = transient.feed(inputs.AgentStreamClosed(turn_id))
    assert kinds(effects) == ["CloseStream", "DisarmTimer", "WriteMeta", "ArmTimer"]
    transient.feed(inputs.TimerFired(RESTART_TIMER))
    effects = back(transient)
    rows = events_of(effects)
    assert rows[0].turn_id == turn_id
    assert [row.text for row in rows if row.type == "user_message"] == ["later"]


def test_a_cut_turn_is_queued_again_only_where_the_policy_says_so(make_bench, events_of):
    policy = RestartPolicy("transient", replay_interrupted=True)
    bench = make_bench(restart=policy)
    bench.activate()
    turn_id = bench.run_turn("do it")
    bench.feed(CRASH)
    bench.feed(inputs.AgentStreamClosed(turn_id))
    bench.feed(inputs.TimerFired(RESTART_TIMER))
    rows = events_of(back(bench))
    assert markers(rows) == ["session_recovered", "prompt_queued", "prompt_accepted"]
    assert [row.text for row in rows if row.type == "user_message"] == ["do it"]


@pytest.mark.parametrize("cancelled", [False, True])
def test_the_word_of_its_end_may_come_before_the_agent_is_gone(make_bench, events_of, cancelled):
    """A turn that its caller has called off is not a cut one: it is not sent again."""
    bench = make_bench(restart=RestartPolicy("transient", replay_interrupted=True))
    bench.activate()
    turn_id = bench.run_turn("do it")
    if cancelled:
        bench.ask(inputs.CancelRequested)
    bench.arrive(AgentEvent(type=EventType.ERROR, error="pipe lost", failure=FAILURE))
    bench.feed(inputs.AgentStreamClosed(turn_id))
    bench.feed(CRASH)
    bench.feed(inputs.TimerFired(RESTART_TIMER))
    rows = events_of(back(bench))
    assert [row.text for row in rows if row.type == "user_message"] == ["do it"] * (not cancelled)


def test_a_full_queue_keeps_a_cut_input_out_and_says_so(make_bench, kinds):
    bench = make_bench(restart=RestartPolicy("transient", replay_interrupted=True))
    bench.activate()
    turn_id = bench.run_turn("do it")
    for n in range(3):
        bench.prompt(str(n), mode="queue")
    bench.feed(CRASH)
    bench.feed(inputs.AgentStreamClosed(turn_id))
    bench.feed(inputs.TimerFired(RESTART_TIMER))
    assert "Report" in kinds(back(bench))


def test_a_turn_whose_stream_does_not_close_is_not_waited_for_for_ever(transient, kinds):
    transient.run_turn()
    transient.feed(CRASH)
    effects = transient.feed(inputs.TimerFired(DRAIN_TIMER))
    assert kinds(effects)[-2:] == ["WriteMeta", "ArmTimer"]
    assert transient.state.turn is None


def test_an_error_that_says_the_agent_is_gone_takes_its_process_down(transient, kinds, events_of):
    turn_id = transient.run_turn()
    transient.prompt("queued", mode="queue")
    transient.arrive(AgentEvent(type=EventType.ERROR, error="pipe lost", failure=FAILURE))
    effects = transient.feed(inputs.AgentStreamClosed(turn_id))
    assert kinds(effects) == ["CloseStream", "StopAgent"], "queued input waits for the new agent"
    ask, _ = transient.prompt("too early")
    assert isinstance(transient.answers[ask], SessionNotActiveError)
    effects = transient.feed(inputs.AgentExited())
    assert effects[-1] == fx.ArmTimer(RESTART_TIMER, 0.5)
    transient.feed(inputs.TimerFired(RESTART_TIMER))
    rows = events_of(back(transient))
    assert [row.text for row in rows if row.type == "user_message"] == ["queued"]


@pytest.mark.parametrize(
    ("mode", "exited", "restarts"),
    [
        ("temporary", CRASH, False),
        ("transient", CRASH, True),
        ("transient", inputs.AgentExited(), False),
        ("permanent", inputs.AgentExited(), True),
        ("permanent", CRASH, True),
    ],
)
def test_modes(make_bench, kinds, mode, exited, restarts):
    bench = make_bench(restart=RestartPolicy(mode))
    bench.activate()
    effects = bench.feed(exited)
    assert ("ArmTimer" in kinds(effects)) is restarts
    assert ("Finalize" in kinds(effects)) is not restarts


def test_more_restarts_than_allowed_end_the_session(transient, kinds):
    for n in range(2):
        effects = transient.feed(CRASH)
        assert effects[-1] == fx.ArmTimer(RESTART_TIMER, 0.5 * 2**n)
        transient.feed(inputs.TimerFired(RESTART_TIMER))
        back(transient)
    effects = transient.feed(CRASH)
    final = next(effect for effect in effects if isinstance(effect, fx.Finalize)).meta
    assert (final.state, final.stop_reason) == (State.STOPPED, StopReason.AGENT_CRASHED)


def test_a_restart_that_fails_ends_the_session(transient):
    transient.feed(CRASH)
    transient.feed(inputs.TimerFired(RESTART_TIMER))
    failure = SessionFailure(FailureKind.HANDSHAKE, "no answer")
    effects = transient.feed(inputs.AgentStartFailed(0, failure))
    final = next(effect for effect in effects if isinstance(effect, fx.Finalize)).meta
    assert (final.stop_reason, final.failure) == (StopReason.AGENT_CRASHED, failure)


def test_a_stop_ends_a_pending_restart(transient, kinds):
    transient.feed(CRASH)
    ask, effects = transient.ask(inputs.StopRequested, cause=StopCause.USER_REQUESTED)
    assert fx.DisarmTimer(RESTART_TIMER) in effects
    final = next(effect for effect in effects if isinstance(effect, fx.Finalize)).meta
    assert final.stop_reason is StopReason.USER_CANCELED
    assert transient.feed(inputs.TimerFired(RESTART_TIMER)) == ()
    before = transient.state
    assert back(transient) == ()
    late = inputs.AgentStartFailed(0, FAILURE)
    assert transient.feed(late) == ()
    assert transient.state == before
    transient.feed(inputs.Finalized())
    assert transient.answers[ask] is None


def test_input_can_be_queued_while_the_agent_is_away(transient, events_of):
    transient.run_turn()
    transient.arrive(AgentEvent(type=EventType.ERROR, error="gone", failure=FAILURE))
    for text in ("dying", "away"):
        ask, _ = transient.prompt(text, mode="queue")
        assert transient.answers[ask].status == "queued"
        refused, _ = transient.prompt(text)
        assert isinstance(transient.answers[refused], SessionNotActiveError)
        transient.feed(CRASH)
        if transient.state.turn:
            transient.feed(inputs.AgentStreamClosed(transient.turn_id))
    transient.feed(inputs.TimerFired(RESTART_TIMER))
    rows = events_of(back(transient))
    assert [row.text for row in rows if row.type == "user_message"] == ["dying"]


def test_a_requested_stop_never_restarts(transient, kinds):
    transient.ask(inputs.StopRequested, cause=StopCause.USER_REQUESTED)
    assert "Finalize" in kinds(transient.feed(CRASH))


def test_a_session_without_liveness_restarts_too(transient):
    meta = replace(transient.state.meta, liveness=None)
    transient.state = replace(transient.state, meta=meta)
    transient.feed(inputs.AgentExited("died"))
    assert transient.state.meta.liveness is None
    (note,) = [
        e for effect in back(transient) if isinstance(effect, fx.Commit) for e in effect.events
    ]
    assert "failure_kind" not in note.raw.value["evidence"]


def test_9_6_a_stop_while_the_last_words_are_waited_for_ends_the_restart(transient):
    """A requested stop never restarts and ends a pending restart."""
    turn_id = transient.run_turn()
    transient.feed(CRASH)
    assert transient.state.comeback is not None
    transient.ask(inputs.StopRequested, cause=StopCause.SHUTDOWN)
    assert transient.state.comeback is None
    effects = transient.feed(inputs.AgentStreamClosed(turn_id))
    (final,) = (effect for effect in effects if isinstance(effect, fx.Finalize))
    assert final.meta.stop_reason is StopReason.SHUTDOWN


def test_07_8_a_conversation_the_agent_lost_is_never_shown_as_the_old_one(transient, events_of):
    transient.feed(CRASH)
    transient.feed(inputs.TimerFired(RESTART_TIMER))
    marked, told = events_of(back(transient, "acp-2"))
    assert markers([marked]) == ["session_recovered"]
    assert told.type == "runtime_warning"
    assert "no longer has this conversation" in told.text
    transient.feed(CRASH)
    transient.feed(inputs.TimerFired(RESTART_TIMER))
    assert len(events_of(back(transient, "acp-2"))) == 1


def test_07_8_so_is_one_that_was_lost_before_a_resume(make_bench):
    bench = make_bench(lost=True)
    told = bench.activate()
    assert [e.type for effect in told if isinstance(effect, fx.Commit) for e in effect.events] == [
        "runtime_warning"
    ]
    assert not bench.state.lost
