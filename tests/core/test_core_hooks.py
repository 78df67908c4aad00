"""spec 02 3, 6, 15, 01 9.4, 06 1: the dispatch points of a turn and a stop, without a world."""

from __future__ import annotations

from dataclasses import replace

import pytest
from greenroom.actors.core import effects as fx
from greenroom.actors.core import inputs
from greenroom.actors.errors import (
    HookDeniedError,
    HookFailedError,
    PromptCanceledError,
    PromptInProgressError,
    SessionNotActiveError,
)
from greenroom.actors.model.event import AgentEvent, EventType
from greenroom.actors.model.hooks import HookEvent
from greenroom.actors.model.session import State, StopCause
from greenroom.actors.model.turn import BusyInputMode

TURN_HOOKS = frozenset({HookEvent.INPUT_PRE_SUBMIT, HookEvent.TURN_START, HookEvent.TURN_END})


@pytest.fixture
def heard(make_bench):
    """An active session whose host listens to turns and stops."""
    bench = make_bench(hooks=TURN_HOOKS | {HookEvent.SESSION_PRE_STOP})
    bench.activate()
    return bench


def answer(bench, effect, error=None, **changes):
    payload = replace(effect.payload, **changes)
    return bench.feed(inputs.HookDispatched(effect.key, payload, error))


def admit(bench, message="hello"):
    """A prompt whose gates let it pass; its effects."""
    _, (first,) = bench.prompt(message)
    (second,) = answer(bench, first)
    return answer(bench, second)


def test_a2_a3_gates_are_asked_in_order_and_nothing_is_stored_before(heard, kinds, events_of):
    _, effects = heard.prompt("hello")
    assert kinds(effects) == ["DispatchHook"]
    first = effects[0]
    assert (first.payload.event, first.payload.message) == ("input.pre_submit", "hello")
    assert (first.payload.input_class, first.key) == ("user_message", heard.turn_id)
    assert heard.state.is_prompting, "the turn is reserved before the first hook hears of it"
    (second,) = answer(heard, first, message="  patched  ")
    assert (second.payload.event, second.payload.user_message) == ("turn.start", "  patched  ")
    effects = answer(heard, second, deny=True)
    assert kinds(effects) == ["Commit", "SendPrompt"], "a denial by turn.start is ignored"
    assert [e.text for e in events_of(effects)] == ["  patched  "], "not trimmed again"
    assert effects[1].message == "  patched  "


def test_3_a_prompt_that_loses_the_race_is_told_to_no_hook(heard):
    heard.prompt("first")
    ask, effects = heard.prompt("second")
    assert isinstance(heard.answers[ask], PromptInProgressError)
    assert not [e for e in effects if isinstance(e, fx.DispatchHook)]


@pytest.mark.parametrize("error", [HookDeniedError("no", reason="x"), HookFailedError("bug")])
def test_a2_a_gate_that_fails_ends_the_prompt_with_nothing_stored(heard, kinds, error):
    ask, (first,) = heard.prompt("hello")
    effects = answer(heard, first, error)
    assert kinds(effects) == ["Refuse"]
    assert heard.answers[ask] is error
    assert not heard.state.is_prompting


def test_a2_a_message_patched_to_blank_is_refused(heard, events_of):
    ask, (first,) = heard.prompt("hello")
    effects = answer(heard, first, message=" \n")
    assert isinstance(heard.answers[ask], HookFailedError)
    assert events_of(effects) == []


def test_a3_every_turn_start_has_a_turn_end_even_when_it_raised(heard, kinds):
    _, (first,) = heard.prompt("hello")
    (second,) = answer(heard, first)
    effects = answer(heard, second, HookFailedError("bug"))
    assert kinds(effects) == ["Refuse", "ObserveHook"]
    assert effects[1].payload.event is HookEvent.TURN_END


def test_p12_turn_end_is_told_behind_the_terminal_event_and_holds_the_end_of_the_turn(heard, kinds):
    admit(heard)
    turn_id = heard.turn_id
    heard.feed(inputs.PromptStarted(turn_id))
    effects = heard.arrive(AgentEvent(type=EventType.DONE))
    assert kinds(effects) == ["Commit", "ObserveHook"]
    ended = effects[1]
    effects = heard.feed(inputs.AgentStreamClosed(turn_id))
    assert kinds(effects) == []
    assert heard.state.is_prompting, "turn.end is awaited"
    assert kinds(answer(heard, ended)) == ["CloseStream"]
    assert not heard.state.is_prompting


def test_6_a_stream_that_ends_without_a_terminal_event_has_its_turn_end_too(heard, kinds):
    admit(heard)
    turn_id = heard.turn_id
    heard.feed(inputs.PromptStarted(turn_id))
    effects = heard.feed(inputs.AgentStreamClosed(turn_id))
    assert kinds(effects) == ["Commit", "ObserveHook"]
    (closing,) = answer(heard, effects[1])
    assert closing == fx.CloseStream(turn_id)


def test_17_a_cancel_during_a_hook_takes_the_prompt_back_at_once(heard, kinds):
    ask, (first,) = heard.prompt("hello")
    cancel, effects = heard.ask(inputs.CancelRequested)
    assert isinstance(heard.answers[ask], PromptCanceledError)
    assert heard.answers[cancel] is None
    assert kinds(effects) == ["Commit", "Refuse", "Reply"]
    assert answer(heard, first) == (), "what the hook says now is no news"


def test_3_a_caller_that_leaves_takes_its_prompt_back(heard, active, kinds):
    ask, _ = heard.prompt("hello")
    heard.feed(inputs.PromptAbandoned(ask))
    assert not heard.state.is_prompting
    ask, _ = active.prompt("hello")
    (effect,) = active.feed(inputs.PromptAbandoned(ask))
    assert effect == fx.CancelPrompt(active.turn_id, before_start=True)
    active.feed(inputs.PromptStarted(active.turn_id))
    assert active.feed(inputs.PromptAbandoned(ask)) == (), "the agent has it: it goes on"


def test_7_7_a_queued_input_that_a_gate_refuses_is_failed_and_the_next_one_goes_on(
    heard, kinds, events_of
):
    admit(heard)
    turn_id = heard.turn_id
    heard.feed(inputs.PromptStarted(turn_id))
    for text in ("one", "two"):
        heard.prompt(text, mode=BusyInputMode.QUEUE)
    first_entry = heard.state.queue.entries[0]
    ended = heard.arrive(AgentEvent(type=EventType.DONE))[1]
    answer(heard, ended)
    (*_, asked) = heard.feed(inputs.AgentStreamClosed(turn_id))
    assert (asked.payload.message, asked.payload.event) == ("one", "input.pre_submit")
    effects = answer(heard, asked, HookDeniedError("no"))
    assert [e.title for e in events_of(effects)] == ["transcript_marker.prompt_dropped"]
    stored = effects[0].changes[0].document
    assert (stored["id"], stored["status"], stored["failure_summary"]) == (
        first_entry.id,
        "failed",
        "no",
    )
    assert effects[-1].payload.message == "two"
    assert [entry.text for entry in heard.state.queue.entries] == ["two"]


def test_7_8_an_entry_taken_back_while_its_hook_runs_never_runs(heard, events_of):
    admit(heard)
    turn_id = heard.turn_id
    heard.feed(inputs.PromptStarted(turn_id))
    heard.prompt("one", mode=BusyInputMode.QUEUE)
    answer(heard, heard.arrive(AgentEvent(type=EventType.DONE))[1])
    (*_, asked) = heard.feed(inputs.AgentStreamClosed(turn_id))
    heard.ask(inputs.QueuedPromptCancelRequested, queue_entry_id=heard.state.queue.entries[0].id)
    (second,) = answer(heard, asked)
    effects = answer(heard, second)
    assert events_of(effects) == []
    assert not heard.state.is_prompting


def test_7_4_an_interrupt_during_a_hook_starts_its_own_prompt_at_once(heard):
    first, (asked,) = heard.prompt("first")
    _, effects = heard.prompt("second", mode=BusyInputMode.INTERRUPT)
    assert isinstance(heard.answers[first], PromptCanceledError)
    (dispatched,) = [e for e in effects if isinstance(e, fx.DispatchHook)]
    assert dispatched.payload.message == "second"
    assert heard.state.replacement is None
    assert answer(heard, asked) == ()


def stop(bench, cause=StopCause.USER_REQUESTED, **fields):
    return bench.ask(inputs.StopRequested, cause=cause, **fields)


def test_9_4_a_stop_waits_for_pre_stop_and_takes_only_the_name(heard, kinds):
    _, (asked,) = stop(heard)
    assert heard.state.meta.state is State.ACTIVE
    _, nothing = stop(heard, StopCause.SHUTDOWN)
    assert nothing == (), "one dispatch for all that wait"
    effects = answer(heard, asked, session_name="renamed", agent_name="other")
    assert kinds(effects) == ["WriteMeta", "StopAgent", "StopAgent"]
    assert (heard.state.meta.name, heard.state.meta.agent_name) == ("renamed", "demo")
    assert heard.state.stop_cause is StopCause.USER_REQUESTED, "the first cause wins"


def test_9_4_a_denied_stop_changes_nothing(heard, kinds):
    ask, (asked,) = stop(heard)
    before = heard.state.meta
    effects = answer(heard, asked, HookDeniedError("no"))
    assert kinds(effects) == ["Refuse"]
    assert isinstance(heard.answers[ask], HookDeniedError)
    assert heard.state.meta == before
    assert not heard.state.stop_gate


def test_9_4_a_stop_that_can_not_be_denied_asks_and_goes_on(heard, kinds):
    _, effects = stop(heard, StopCause.TIMEOUT, deniable=False)
    assert kinds(effects) == ["DispatchHook", "WriteMeta", "StopAgent"]
    (report,) = answer(heard, effects[0], HookDeniedError("no"))
    assert isinstance(report, fx.Report)
    assert answer(heard, effects[0]) == ()


def test_9_4_an_exit_while_pre_stop_is_asked_answers_who_waited(heard):
    ask, (asked,) = stop(heard)
    heard.feed(inputs.AgentExited())
    heard.feed(inputs.Finalized())
    assert heard.answers[ask] is None
    assert answer(heard, asked) == ()


def test_17_a_stop_during_admission_refuses_the_prompt_and_keeps_queued_input(heard, kinds):
    ask, (_first,) = heard.prompt("hello")
    _, (asked,) = stop(heard)
    effects = answer(heard, asked)
    assert isinstance(heard.answers[ask], SessionNotActiveError)
    assert kinds(effects) == ["WriteMeta", "Refuse", "StopAgent"]


def test_17_a_stop_waits_for_the_driver_to_have_taken_the_prompt(active, kinds):
    active.prompt("hello")
    _, effects = stop(active)
    assert kinds(effects) == ["WriteMeta", "ArmTimer"]
    effects = active.feed(inputs.PromptStarted(active.turn_id))
    assert kinds(effects) == ["Reply", "StopAgent", "DisarmTimer"]


def test_17_a_stop_does_not_wait_for_ever(active, kinds):
    active.prompt("hello")
    _, (_meta, timer) = stop(active)
    effects = active.feed(inputs.TimerFired(timer.name))
    assert "StopAgent" in kinds(effects)


def test_17_an_agent_that_dies_while_it_takes_a_prompt_ends_the_session(active, kinds):
    active.prompt("hello")
    active.feed(inputs.AgentExited("exit status 1"))
    effects = active.feed(inputs.PromptStartFailed(active.turn_id, SessionNotActiveError("x")))
    assert "Finalize" in kinds(effects)


def test_9_4_a_cooperative_stop_only_asks_the_agent(active, kinds):
    ask, effects = stop(active, cooperative=True)
    assert kinds(effects) == ["WriteMeta", "RequestStop"]
    assert active.state.meta.state is State.STOPPING
    active.feed(inputs.StopDelivered(ask))
    assert active.answers[ask] is None
    effects = active.feed(inputs.AgentExited())
    assert kinds(effects) == ["Commit", "Finalize"]
    assert active.state.stop_cause is StopCause.USER_REQUESTED


def test_9_4_a_cooperative_stop_that_can_not_be_delivered(active):
    ask, _ = stop(active, cooperative=True)
    error = SessionNotActiveError("x")
    active.feed(inputs.StopDelivered(ask, error))
    assert active.answers[ask] is error
    assert active.state.meta.state is State.STOPPING
    later, effects = stop(active)
    assert effects[-1] == fx.StopAgent(StopCause.USER_REQUESTED)
    active.feed(inputs.AgentExited())
    active.feed(inputs.Finalized())
    assert active.answers[later] is None


def test_6_the_host_is_told_of_the_end_before_the_next_input_starts(make_bench, kinds):
    bench = make_bench(notifies_turn_end=True)
    bench.activate()
    turn_id = bench.run_turn()
    bench.prompt("queued", mode=BusyInputMode.QUEUE)
    effects = bench.end_turn()
    assert kinds(effects) == ["Commit", "NotifyTurnEnd"]
    assert not bench.state.is_prompting, "the notifier may prompt"
    ask, _ = bench.prompt("by the notifier")
    effects = bench.feed(inputs.TurnEndNotified(turn_id))
    assert kinds(effects) == ["CloseStream"], "what it started goes first"
    bench.feed(inputs.PromptStarted(bench.turn_id))
    assert ask in bench.answers
    second = bench.turn_id
    bench.end_turn()
    queued, _ = bench.prompt("later", mode=BusyInputMode.QUEUE)
    assert bench.answers[queued].queued, "it does not overtake what was queued before"
    effects = bench.feed(inputs.TurnEndNotified(second))
    assert kinds(effects) == ["CloseStream", "Commit", "SendPrompt"]


def test_6_a_session_that_ends_while_the_host_is_told_closes_the_stream(make_bench, kinds):
    bench = make_bench(notifies_turn_end=True)
    bench.activate()
    turn_id = bench.run_turn()
    bench.end_turn()
    effects = bench.feed(inputs.AgentExited())
    assert fx.CloseStream(turn_id) in effects
    assert bench.feed(inputs.TurnEndNotified(turn_id)) == ()


def test_6_a_notifier_that_comes_late_is_told_of_later_turns(active, kinds):
    active.feed(inputs.TurnEndNotifierSet(True))
    active.run_turn()
    assert "NotifyTurnEnd" in kinds(active.end_turn())
    active.feed(inputs.TurnEndNotifierSet(False))
    active.feed(inputs.TurnEndNotified(active.state.last_turn_id))
    active.run_turn()
    assert "CloseStream" in kinds(active.end_turn())


def test_9_6_a_stop_while_the_last_turn_of_a_dead_agent_drains_ends_the_comeback(make_bench, kinds):
    from greenroom.actors.model.restart import RestartPolicy

    bench = make_bench(restart=RestartPolicy("transient"))
    bench.activate()
    turn_id = bench.run_turn()
    bench.feed(inputs.AgentExited("exit status 1"))
    assert bench.state.comeback is not None
    ask, effects = stop(bench)
    assert kinds(effects) == ["WriteMeta"]
    effects = bench.feed(inputs.AgentStreamClosed(turn_id))
    assert "Finalize" in kinds(effects)
    bench.feed(inputs.Finalized())
    assert bench.answers[ask] is None
    assert bench.state.meta.stop_reason == "user_canceled"
