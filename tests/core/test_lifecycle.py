"""spec 01 2.3, 7.12, 7.13, 9.4, 9.5, 10.1: what the step decides about a session's life."""

from __future__ import annotations

from dataclasses import replace

import pytest
from greenroom.actors.core import busy_input, inputs
from greenroom.actors.core import effects as fx
from greenroom.actors.core.lifecycle import DRAIN_TIMER, QUEUE_RETRY_S, QUEUE_TIMER
from greenroom.actors.core.state import TRANSITIONS, InputQueue, transition
from greenroom.actors.core.stopping import STOP_RETRY_S, STOP_TIMER
from greenroom.actors.errors import (
    AgentError,
    InvalidStateTransitionError,
    SessionNotActiveError,
    StorageError,
    StoreSyncFailedError,
)
from greenroom.actors.model.event import AgentEvent, EventType
from greenroom.actors.model.failure import FailureKind, SessionFailure
from greenroom.actors.model.restart import RestartPolicy
from greenroom.actors.model.session import State, StopCause, StopReason

EXIT = inputs.AgentExited("exit status 9", SessionFailure(FailureKind.PROCESS_EXIT, "gone"), "log")


def finalize_of(effects):
    return next(effect for effect in effects if isinstance(effect, fx.Finalize))


@pytest.mark.parametrize("source", State)
@pytest.mark.parametrize("target", State)
def test_2_3_only_the_table_of_transitions(bench, source, target):
    bench.put_state(source)
    if source is target or (source, target) in TRANSITIONS:
        assert transition(bench.state, target, bench.now).meta.state is target
    else:
        with pytest.raises(InvalidStateTransitionError) as raised:
            transition(bench.state, target, bench.now)
        assert (raised.value.from_state, raised.value.to_state) == (source, target)


def test_7_12_activation_clears_the_stop_fields(bench):
    effects = bench.activate()
    meta = bench.state.meta
    assert (meta.state, meta.acp_session_id) == (State.ACTIVE, "acp-1")
    assert meta.liveness is not None
    assert meta.liveness.subprocess_pid == 77
    assert effects[0] == fx.WriteMeta(meta)
    assert bench.answers == {1: meta}


def test_2_4_a_resumed_crash_stays_visible(bench):
    from dataclasses import replace

    crashed = replace(bench.state.meta, stop_reason=StopReason.AGENT_CRASHED, stop_detail="died")
    bench.state = replace(bench.state, meta=crashed)
    bench.activate()
    assert bench.state.meta.stop_reason is StopReason.AGENT_CRASHED
    bench.put_state(State.STARTING)
    gone = replace(bench.state.meta, stop_reason=StopReason.USER_CANCELED)
    bench.state = replace(bench.state, meta=gone)
    bench.activate()
    assert bench.state.meta.stop_reason is None


def test_7_13_a_failed_start_is_recorded_and_finalized(bench, events_of):
    failure = SessionFailure(FailureKind.HANDSHAKE, "no answer")
    ask, effects = bench.ask(inputs.AgentStartFailed, failure=failure)
    error, stopped = events_of(effects)
    assert (error.type, stopped.type) == ("error", "session_stopped")
    assert error.turn_id != stopped.turn_id
    assert error.timestamp == stopped.timestamp
    final = finalize_of(effects).meta
    assert (final.state, final.stop_reason, final.failure) == (
        State.STOPPED,
        StopReason.ERROR,
        failure,
    )
    assert ask not in bench.answers
    bench.feed(inputs.Finalized())
    assert bench.answers[ask] is None


def test_8_6_a_failed_resume_goes_back_to_the_meta_it_came_from(bench):
    from dataclasses import replace

    before = replace(bench.state.meta, stop_reason=StopReason.USER_CANCELED, acp_session_id="old")
    failure = SessionFailure(FailureKind.STARTUP, "x")
    _, effects = bench.ask(inputs.AgentStartFailed, failure=failure, restore=before)
    final = finalize_of(effects).meta
    assert (final.stop_reason, final.acp_session_id) == (StopReason.USER_CANCELED, "old")
    assert final.state is State.STOPPED


def test_9_4_stop_exit_finalize(active, kinds, events_of):
    ask, effects = active.ask(inputs.StopRequested, cause=StopCause.NONE, deadline_s=3)
    assert kinds(effects) == ["WriteMeta", "StopAgent"]
    assert effects[1] == fx.StopAgent(StopCause.USER_REQUESTED, 3)
    assert active.state.meta.state is State.STOPPING
    effects = active.feed(inputs.AgentExited())
    stopped, note = events_of(effects)
    assert (stopped.type, note.title) == (
        "session_stopped",
        "transcript_marker.prompt_interrupted",
    )
    assert stopped.turn_id == note.turn_id
    final = finalize_of(effects).meta
    assert (final.state, final.stop_reason) == (State.STOPPED, StopReason.USER_CANCELED)
    assert active.feed(inputs.AgentExited()) == ()
    effects = active.feed(inputs.Finalized())
    assert kinds(effects) == ["Reply", "Retire"]
    assert active.answers[ask] is None
    assert active.state.meta.state is State.STOPPED


def test_9_4_a_starting_session_is_not_stopped(bench):
    ask, _ = bench.ask(inputs.StopRequested, cause=StopCause.USER_REQUESTED)
    assert isinstance(bench.answers[ask], SessionNotActiveError)


def test_9_4_two_stops_one_finalization_first_cause(active, kinds):
    first, _ = active.ask(inputs.StopRequested, cause=StopCause.SHUTDOWN)
    second, effects = active.ask(inputs.StopRequested, cause=StopCause.TIMEOUT)
    assert kinds(effects) == ["StopAgent"]
    effects = active.feed(inputs.AgentExited())
    assert kinds(effects).count("Finalize") == 1
    assert finalize_of(effects).meta.stop_reason is StopReason.SHUTDOWN
    third, effects = active.ask(inputs.StopRequested, cause=StopCause.USER_REQUESTED)
    assert effects == ()
    active.feed(inputs.Finalized())
    assert {first, second, third} <= set(active.answers)


def test_9_4_a_stop_after_the_exit_waits_for_the_finalization(active, kinds):
    active.run_turn()
    active.feed(EXIT)
    ask, effects = active.ask(inputs.StopRequested, cause=StopCause.USER_REQUESTED)
    assert kinds(effects) == []
    effects = active.feed(inputs.AgentStreamClosed(active.turn_id))
    assert finalize_of(effects).meta.stop_reason is StopReason.AGENT_CRASHED
    active.feed(inputs.Finalized())
    assert active.answers[ask] is None


def test_9_4_a_failed_stop_is_told_and_can_be_retried(active, kinds):
    ask, _ = active.ask(inputs.StopRequested, cause=StopCause.USER_REQUESTED)
    error = OSError("no")
    active.feed(inputs.AgentStopFailed(error))
    assert active.answers[ask] is error
    assert active.state.meta.state is State.STOPPING
    again, effects = active.ask(inputs.StopRequested, cause=StopCause.USER_REQUESTED)
    assert kinds(effects) == ["StopAgent"]
    active.feed(inputs.AgentExited())
    assert active.feed(inputs.AgentStopFailed(error)) == ()
    active.feed(inputs.Finalized())
    assert active.answers[again] is None


def test_10_1_step_errors_reach_the_stop_caller(active):
    ask, _ = active.ask(inputs.StopRequested, cause=StopCause.USER_REQUESTED)
    active.feed(inputs.AgentExited())
    active.feed(inputs.Finalized((StorageError("disk"),)))
    assert isinstance(active.answers[ask], ExceptionGroup)
    assert active.state.meta.state is State.STOPPED


def test_9_5_idle_exits(active, events_of):
    effects = active.feed(inputs.AgentExited())
    assert finalize_of(effects).meta.stop_reason is StopReason.COMPLETED
    assert [event.type for event in events_of(effects)] == ["session_stopped"]


def test_9_5_an_exit_with_an_error_is_a_crash(active, events_of):
    effects = active.feed(EXIT)
    final = finalize_of(effects).meta
    assert final.stop_reason is StopReason.AGENT_CRASHED
    error, stopped, note = events_of(effects)
    assert note.title == "transcript_marker.provider_failure"
    assert (error.type, error.text, error.failure) == ("error", "log", EXIT.failure)
    assert (stopped.type, stopped.failure) == ("session_stopped", EXIT.failure)
    assert final.liveness is not None
    assert final.liveness.subprocess_pid == 0


def test_9_5_an_exit_without_a_typed_failure_gets_one(active):
    effects = active.feed(inputs.AgentExited("died"))
    assert finalize_of(effects).meta.failure == SessionFailure(FailureKind.PROCESS_EXIT, "died")


def test_9_5_a_clean_exit_during_a_prompt_is_a_crash(active, kinds):
    turn_id = active.run_turn()
    effects = active.feed(inputs.AgentExited())
    assert effects[-1] == fx.ArmTimer(DRAIN_TIMER, 5.0)
    assert "Finalize" not in kinds(effects)
    effects = active.feed(inputs.AgentStreamClosed(turn_id))
    final = finalize_of(effects).meta
    assert final.stop_reason is StopReason.AGENT_CRASHED
    assert final.stop_detail == "process exited during active prompt"
    assert fx.DisarmTimer(DRAIN_TIMER) in effects


def test_10_1_a_stream_that_does_not_close_is_not_waited_for_for_ever(active):
    active.run_turn()
    active.feed(EXIT)
    effects = active.feed(inputs.TimerFired(DRAIN_TIMER))
    assert finalize_of(effects)
    assert active.state.turn is None
    assert active.feed(inputs.TimerFired(DRAIN_TIMER)) == ()


def test_11_3_a_fatal_prompt_failure_stops_the_session(active, kinds):
    turn_id = active.run_turn()
    failure = SessionFailure(FailureKind.PROCESS_EXIT, "agent gone")
    active.arrive(AgentEvent(type=EventType.ERROR, error="agent gone", failure=failure))
    effects = active.feed(inputs.AgentStreamClosed(turn_id))
    assert kinds(effects) == ["CloseStream", "WriteMeta", "StopAgent"]
    assert active.state.stop_cause is StopCause.PROCESS_EXITED
    effects = active.feed(inputs.AgentExited("killed"))
    assert finalize_of(effects).meta.stop_reason is StopReason.AGENT_CRASHED


def test_3_a_rejected_commit_gives_the_queue_back_as_it_is_stored(active):
    active.run_turn()
    active.prompt("queued", mode="queue")
    assert len(active.state.queue.entries) == 1
    effects = active.feed(inputs.CommitFailed(StorageError("full disk"), (), 4))
    assert active.state.queue.entries == ()
    assert active.state.queue.generation == 4
    assert effects == (
        fx.AcceptCommits(),
        fx.Report("error", "full disk"),
        fx.ArmTimer(QUEUE_TIMER, QUEUE_RETRY_S),
    )


def test_8_3_queued_input_waits_while_the_store_refuses_and_is_tried_again(active, kinds):
    """A write that fails at once again and again must not become a loop."""
    active.run_turn()
    active.prompt("queued", mode="queue")
    documents = tuple(busy_input.document(entry) for entry in active.state.queue.entries)
    active.feed(inputs.CommitFailed(StorageError("full disk"), documents))
    assert "SendPrompt" not in kinds(active.end_turn())
    assert "SendPrompt" in kinds(active.feed(inputs.TimerFired(QUEUE_TIMER)))


def test_8_3_a_store_whose_sync_failed_is_not_tried_again(active, kinds):
    effects = active.feed(inputs.CommitFailed(StoreSyncFailedError("fsync")))
    assert kinds(effects) == ["AcceptCommits", "Report"]


@pytest.mark.parametrize("mode", ["temporary", "transient"])
def test_9_5_an_agent_that_ends_while_its_prompt_is_refused_takes_the_session_along(
    make_bench, mode
):
    """The end of a turn in its set-up is the end of a turn."""
    bench = make_bench(restart=RestartPolicy(mode))
    bench.activate()
    bench.prompt()
    turn_id = bench.turn_id
    bench.feed(inputs.AgentExited("exit status 1"))
    effects = bench.feed(inputs.PromptStartFailed(turn_id, AgentError("gone")))
    if mode == "temporary":
        assert finalize_of(effects)
    else:
        assert bench.state.restarting
        assert any(isinstance(effect, fx.ArmTimer) for effect in effects)


def test_12_5_a_mandatory_stop_that_fails_is_tried_again_until_the_agent_is_gone(active):
    active.run_turn()
    active.state = replace(active.state, stalled="activity_timeout")
    effects = active.feed(inputs.AgentStopFailed(AgentError("deaf")))
    assert effects == (fx.ArmTimer(STOP_TIMER, STOP_RETRY_S),)
    (stop,) = active.feed(inputs.TimerFired(STOP_TIMER))
    assert isinstance(stop, fx.StopAgent)
    active.feed(EXIT)
    assert active.feed(inputs.TimerFired(STOP_TIMER)) == ()


def test_11_3_a_stop_a_caller_asked_for_is_the_callers_to_repeat(active, kinds):
    active.ask(inputs.StopRequested, cause=StopCause.USER_REQUESTED)
    assert kinds(active.feed(inputs.AgentStopFailed(AgentError("deaf")))) == ["Refuse"]
    assert active.feed(inputs.TimerFired(STOP_TIMER)) == ()


def test_7_12_queued_input_goes_on_once_the_start_is_complete(make_bench, kinds):
    """``on_session_created`` comes before everything else about an incarnation (01 19)."""
    bench = make_bench()
    bench.activate()
    bench.state = replace(bench.state, queue=InputQueue(0, 1, (entry_of(bench.state),)), held=True)
    assert "SendPrompt" in kinds(bench.feed(inputs.Activated()))


def entry_of(state):
    entry = busy_input.new_entry(state, "waited", "queue", state.meta.created_at)[1]
    return replace(entry, seq=1)


def test_11_3_nothing_is_sent_to_a_dead_process_while_its_bundle_is_written(active, kinds):
    """The exit is told first; what is known of it comes with ``AgentExited``."""
    effects = active.feed(inputs.AgentGone("exit status 1"))
    assert kinds(effects) == ["WriteMeta"]
    assert active.state.meta.state is State.STOPPING
    ask, _ = active.prompt("late")
    assert isinstance(active.answers[ask], SessionNotActiveError)
    effects = active.feed(inputs.AgentExited("exit status 1"))
    assert "Finalize" in kinds(effects)
    assert active.state.meta.stop_reason == "agent_crashed"
    assert active.feed(inputs.AgentGone("exit status 1")) == ()


def test_11_3_an_agent_that_comes_back_queues_what_arrives_meanwhile(make_bench):
    from greenroom.actors.model.restart import RestartPolicy
    from greenroom.actors.model.turn import BusyInputMode

    bench = make_bench(restart=RestartPolicy("transient"))
    bench.activate()
    assert bench.feed(inputs.AgentGone("exit status 1")) == ()
    ask, _ = bench.prompt("later", mode=BusyInputMode.QUEUE)
    assert bench.answers[ask].queued
    bench.feed(inputs.AgentExited("exit status 1"))
    assert bench.state.restarting


def test_11_3_a_requested_stop_keeps_its_cause(active):
    active.ask(inputs.StopRequested, cause=StopCause.SHUTDOWN)
    assert active.feed(inputs.AgentGone("exit status 1")) == ()
    active.feed(inputs.AgentExited("exit status 1"))
    assert active.state.meta.stop_reason == "shutdown"


def test_3_a_turn_that_the_driver_never_answered_for_has_its_end_when_the_agent_is_gone(
    make_bench, events_of
):
    """Its input is stored, so history must not be open-ended (02 3)."""
    bench = make_bench(restart=RestartPolicy("transient"))
    bench.activate()
    bench.prompt()
    turn_id = bench.turn_id
    bench.feed(inputs.AgentExited("exit status 1"))
    effects = bench.feed(inputs.TimerFired(DRAIN_TIMER))
    ended = [event for event in events_of(effects) if event.is_terminal]
    assert [event.turn_id for event in ended] == [turn_id]
    assert bench.state.restarting
    assert bench.feed(inputs.PromptStartFailed(turn_id, AgentError("late"))) == ()
