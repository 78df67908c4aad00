"""spec 02 2, 10, 17 and 01 7.5, 7.8, by the step: prompts of the daemon; what an agent is told."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from greenroom.actors.core import effects as fx
from greenroom.actors.core import inputs
from greenroom.actors.core.provider_env import (
    check_overrides,
    is_supported_reasoning_effort,
    session_env,
    validate_reasoning_effort,
)
from greenroom.actors.errors import (
    HookDeniedError,
    InvalidRuntimeOverrideError,
    PromptInProgressError,
    SessionNotActiveError,
    SessionValueError,
    StoreClosedError,
)
from greenroom.actors.model.hooks import HookEvent
from greenroom.actors.model.prompt_meta import PromptMeta, PromptSyntheticMeta
from greenroom.actors.model.session import State
from greenroom.actors.model.turn import BusyInputMode

META = PromptMeta("synthetic", synthetic=PromptSyntheticMeta(reason="nightly", task_id="t-1"))


def submit(bench, message="wake", **fields):
    return bench.ask(partial(inputs.SyntheticPromptSubmitted, message=message, meta=META, **fields))


def test_10_idle_is_submitted_with_its_own_input_row(active, events_of):
    ask, effects = submit(active)
    (row,) = events_of(effects)
    assert (row.type, row.synthetic) == ("synthetic_reentry", META.synthetic.as_json())
    assert (row.task_id, row.scheduler_reason) == ("t-1", "nightly")
    (reply,) = active.feed(inputs.PromptStarted(active.turn_id))
    assert (reply.ask, reply.stream_turn_id) == (ask, active.turn_id)
    assert [e.scheduler_reason for e in events_of(active.end_turn())] == ["nightly"]
    assert active.state.synthetic.out is None


def test_10_busy_waits_with_a_stream_at_once_and_runs_at_the_end(active, events_of):
    active.run_turn()
    ask, effects = submit(active, turn_id=" turn-mine ")
    assert effects == (fx.Reply(ask, stream_turn_id="turn-mine"),)
    effects = active.end_turn()
    assert [e.type for e in events_of(effects)][-1] == "synthetic_reentry"
    assert active.turn_id == "turn-mine"


def test_10_refusals(active, make_bench):
    blank, _ = submit(active, message=" ")
    assert isinstance(active.answers[blank], SessionValueError)
    active.run_turn()
    busy, _ = submit(active, skip_if_busy=True)
    assert isinstance(active.answers[busy], PromptInProgressError)
    bench = make_bench()
    early, _ = submit(bench)
    assert isinstance(bench.answers[early], SessionNotActiveError)


@pytest.mark.parametrize("waits", [True, False])
def test_10_it_interrupts_only_an_agent_that_waits(active, kinds, waits):
    turn_id = active.run_turn()
    if waits:
        active.feed(inputs.ActivityReported(turn_id, at_s=1.0))
    _, effects = submit(active, interrupt_if_agent_waiting=True)
    told = ["Reply", "Commit", "CancelPrompt"] if waits else ["Reply"]
    assert kinds(effects) == told


def test_10_an_end_of_the_session_tells_those_that_wait(active):
    active.run_turn()
    submit(active, turn_id="turn-a")
    turn_id = active.turn_id
    active.feed(inputs.AgentExited())
    effects = active.feed(inputs.AgentStreamClosed(turn_id))
    (dropped,) = [e for e in effects if isinstance(e, fx.DropStream)]
    assert (dropped.turn_id, dropped.event.type) == ("turn-a", "error")


def test_10_a_gate_that_refuses_one_that_waited_ends_its_stream(make_bench, kinds):
    bench = make_bench(hooks=frozenset({HookEvent.INPUT_PRE_SUBMIT}))
    bench.activate()
    ask, (asked,) = submit(bench)
    effects = bench.feed(inputs.HookDispatched(asked.key, asked.payload, HookDeniedError("no")))
    assert kinds(effects) == ["Refuse"], "its caller has no stream yet"
    assert isinstance(bench.answers[ask], HookDeniedError)
    _, (asked,) = bench.prompt("x")
    bench.feed(inputs.HookDispatched(asked.key, asked.payload))
    bench.feed(inputs.PromptStarted(bench.turn_id))
    submit(bench)
    turn_id = bench.turn_id
    bench.feed(inputs.AgentStreamClosed(turn_id))
    asked = next(e for e in bench.all_effects if isinstance(e, fx.DispatchHook))
    effects = bench.feed(inputs.HookDispatched(asked.key, asked.payload, HookDeniedError("no")))
    assert kinds(effects) == ["DropStream"]
    assert bench.state.synthetic.out is None


def test_10_one_whose_row_can_not_be_stored_is_told_on_its_stream(active, kinds):
    first = active.run_turn()
    submit(active, turn_id="turn-a")
    active.feed(inputs.AgentStreamClosed(first))
    effects = active.feed(inputs.PromptStartFailed("turn-a", StoreClosedError("disk")))
    assert kinds(effects)[0] == "DropStream"


def test_3_a_replacement_whose_caller_leaves_does_not_run(active):
    active.run_turn()
    ask, _ = active.prompt("second", mode=BusyInputMode.INTERRUPT)
    (refused,) = active.feed(inputs.PromptAbandoned(ask))
    assert isinstance(refused.error, PromptInProgressError)
    assert active.state.replacement is None
    assert active.feed(inputs.PromptAbandoned(999)) == ()


def test_11_1_a_cancel_nobody_waits_for_leaves_no_second_marker(active):
    turn_id = active.run_turn()
    assert active.feed(inputs.CancelSettled(turn_id)) == ()


def test_9_4_a_cooperative_stop_of_what_is_over_is_answered(active):
    from greenroom.actors.model.session import StopCause

    ask, _ = active.ask(partial(inputs.StopRequested, cooperative=True), cause=StopCause.SHUTDOWN)
    active.feed(inputs.AgentExited())
    active.feed(inputs.StopDelivered(ask))
    active.feed(inputs.Finalized())
    assert active.answers[ask] is None
    active.put_state(State.STOPPED)
    later, _ = active.ask(partial(inputs.StopRequested, cooperative=True), cause=StopCause.SHUTDOWN)
    assert active.answers[later] is None


def test_7_5_overrides_need_a_provider():
    check_overrides("p", "m", "xhigh")
    check_overrides("", " ", "")
    for model, effort in (("m", ""), ("", "high")):
        with pytest.raises(InvalidRuntimeOverrideError):
            check_overrides("", model, effort)
    assert is_supported_reasoning_effort(" low ")
    with pytest.raises(InvalidRuntimeOverrideError):
        validate_reasoning_effort("LOW")


def test_7_8_what_an_agent_is_told_of_its_session(active):
    meta = replace(active.state.meta, provider="claude", model="m", channel="")
    env = dict(session_env(meta))
    assert env["ANTHROPIC_MODEL"] == env["GREENROOM_MODEL"] == "m"
    assert "GREENROOM_SESSION_CHANNEL" not in env
    assert "ANTHROPIC_MODEL" not in dict(session_env(replace(meta, provider="other")))
