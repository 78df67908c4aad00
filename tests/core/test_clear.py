"""01 13: who may clear, and what the next conversation begins with."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import timedelta

import pytest
from greenroom.actors.core import effects as fx
from greenroom.actors.core import inputs
from greenroom.actors.core.busy_input import document
from greenroom.actors.core.clear import cleared_meta, fenced_queue
from greenroom.actors.errors import PromptInProgressError, SessionNotActiveError
from greenroom.actors.model.failure import FailureKind, failure
from greenroom.actors.model.session import SessionLivenessMeta, State, StopCause, StopReason
from greenroom.actors.model.turn import BusyInputMode, QueueEntry, QueueStatus


def test_13_1_an_idle_session_stops_with_its_own_cause(active):
    ask, effects = active.ask(inputs.ClearRequested, deadline_s=3.0)
    assert fx.StopAgent(StopCause.CLEAR_CONVERSATION, 3.0) in effects
    assert ask not in active.answers
    active.feed(inputs.AgentExited())
    active.feed(inputs.Finalized())
    assert active.answers[ask] is None
    assert active.state.meta.stop_reason is StopReason.COMPLETED
    assert active.state.meta.stop_detail == "conversation cleared"


def test_13_1_a_working_session_refuses_and_nothing_changes(active):
    active.run_turn()
    before = active.state
    ask, effects = active.ask(inputs.ClearRequested)
    assert isinstance(active.answers[ask], PromptInProgressError)
    assert active.state is before
    assert [type(effect) for effect in effects] == [fx.Refuse]


def test_13_1_so_does_one_whose_turn_is_about_to_be_replaced(active):
    active.run_turn()
    active.ask(inputs.PromptSubmitted, message="instead", mode=BusyInputMode.INTERRUPT)
    active.state = replace(active.state, turn=None)
    assert active.state.replacement is not None
    ask, _ = active.ask(inputs.ClearRequested)
    assert isinstance(active.answers[ask], PromptInProgressError)


def test_13_1_a_starting_session_refuses(bench):
    ask, _ = bench.ask(inputs.ClearRequested)
    assert isinstance(bench.answers[ask], SessionNotActiveError)


def test_13_1_one_that_is_stopping_is_waited_for(active):
    stop, _ = active.ask(inputs.StopRequested, cause=StopCause.USER_REQUESTED)
    ask, _ = active.ask(inputs.ClearRequested)
    active.feed(inputs.AgentExited())
    active.feed(inputs.Finalized())
    assert active.answers == {1: active.answers[1], stop: None, ask: None}


def test_13_2_what_the_record_keeps(active):
    lost = failure(FailureKind.PROCESS_EXIT, "gone")
    meta = replace(
        active.state.meta,
        name="mine",
        state=State.ACTIVE,
        stop_reason=StopReason.AGENT_CRASHED,
        stop_detail="gone",
        failure=lost,
        liveness=SessionLivenessMeta(77),
    )
    later = active.now + timedelta(hours=1)
    cleared = cleared_meta(meta, later)
    changed = {k: v for k, v in asdict(cleared).items() if v != asdict(meta)[k]}
    assert changed == {
        "state": "stopped",
        "stop_reason": None,
        "stop_detail": "",
        "acp_session_id": "",
        "liveness": None,
        "updated_at": later,
    }


@pytest.mark.parametrize("pending", [0, 1, 3])
def test_13_6_the_queue_is_fenced_in_one_change(active, pending):
    entries = [
        QueueEntry(
            id=f"q-{number}",
            session_id="sess-1",
            seq=number,
            status=status,
            mode=BusyInputMode.QUEUE,
            text="later",
            session_generation=4,
            enqueued_at=active.now,
            updated_at=active.now,
        )
        for number, status in enumerate([QueueStatus.QUEUED] * pending + [QueueStatus.SENT], 1)
    ]
    *canceled, advanced = fenced_queue(map(document, entries), 4, active.now)
    assert advanced.document == {"input_generation": 5}
    assert [change.key for change in canceled] == [f"q-{n}" for n in range(1, pending + 1)]
    assert {c.document["status"] for c in canceled} <= {QueueStatus.CANCELED}
