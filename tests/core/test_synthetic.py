"""spec 02 10: synthetic prompts wait in order, skip, interrupt, and never lose their wake-up."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from greenroom.actors.core.synthetic import (
    SYNTHETIC_QUEUE_MAX,
    Business,
    Queued,
    Refused,
    Submit,
    SyntheticPrompt,
    SyntheticQueue,
    drop_event,
    dropped,
    put_back,
    stream_ended,
    submitted,
    withdrawn,
    woken,
)
from greenroom.actors.errors import (
    PromptInProgressError,
    SessionInputQueueFullError,
    SessionNotActiveError,
)
from greenroom.actors.model.prompt_meta import PromptMeta, PromptSyntheticMeta
from hypothesis import given
from hypothesis import strategies as st

META = PromptMeta("synthetic", synthetic=PromptSyntheticMeta(reason="wake"))
IDLE, BUSY = Business(), Business(True, True, "tool_call")
WAITING = Business(True, True, "agent_waiting")


def prompt(turn_id, **flags):
    return SyntheticPrompt(turn_id, "go on", META, **flags)


A, B, C = prompt("a"), prompt("b"), prompt("c")


def submit(queue, what, business):
    return submitted(queue, what, business, session_id="sess-1")


def test_10_idle_and_empty_submits():
    assert submit(SyntheticQueue(), A, IDLE) == (SyntheticQueue((), A), Submit(A))


@pytest.mark.parametrize(
    ("queue", "business"),
    [
        (SyntheticQueue(), BUSY),
        (SyntheticQueue(), WAITING),
        (SyntheticQueue((B,)), IDLE),
        (SyntheticQueue((), B), IDLE),
    ],
)
@pytest.mark.parametrize("interrupts", [False, True])
def test_10_skip_if_busy_queues_nothing(queue, business, interrupts):
    eager = prompt("a", skip_if_busy=True, interrupt_if_agent_waiting=interrupts)
    after, decision = submit(queue, eager, business)
    assert after is queue
    assert isinstance(decision, Refused)
    assert isinstance(decision.error, PromptInProgressError)
    assert decision.error.session_id == "sess-1"


def test_10_skip_if_busy_on_an_idle_session_runs():
    eager = prompt("a", skip_if_busy=True)
    assert submit(SyntheticQueue(), eager, IDLE)[1] == Submit(eager)


@pytest.mark.parametrize(
    ("queue", "business", "interrupts"),
    [
        (SyntheticQueue(), WAITING, True),
        (SyntheticQueue(), Business(True, False, "agent_waiting"), False),
        (SyntheticQueue(), BUSY, False),
        (SyntheticQueue((B,)), WAITING, False),
        (SyntheticQueue((), B), WAITING, False),
    ],
)
def test_10_interrupt_if_agent_waiting(queue, business, interrupts):
    urgent = prompt("a", interrupt_if_agent_waiting=True)
    after, decision = submit(queue, urgent, business)
    assert decision == Queued(urgent, interrupts=interrupts)
    assert after.waiting == (*queue.waiting, urgent)


def test_10_only_a_prompt_that_asks_for_it_interrupts():
    assert submit(SyntheticQueue(), A, WAITING)[1] == Queued(A)


def test_10_the_interrupted_turn_ends_and_the_prompt_runs_late_or_in_time():
    urgent = prompt("a", interrupt_if_agent_waiting=True)
    queue, _ = submit(SyntheticQueue(), urgent, WAITING)
    assert woken(queue, busy=True) == (queue, None)
    assert woken(queue, busy=False)[1] == Submit(urgent)


def test_10_a_failed_interrupt_takes_the_prompt_back():
    queue = SyntheticQueue((A, B), C)
    assert withdrawn(queue, "a") == (SyntheticQueue((B,), C), A)
    assert withdrawn(queue, "c") == (queue, None)


def test_10_the_queue_is_bounded():
    waiting = tuple(prompt(f"t{n}") for n in range(SYNTHETIC_QUEUE_MAX - 1))
    queue, decision = submit(SyntheticQueue(waiting), A, BUSY)
    assert decision == Queued(A)
    after, decision = submit(queue, B, BUSY)
    assert after is queue
    assert isinstance(decision.error, SessionInputQueueFullError)
    assert decision.error.queue_cap == SYNTHETIC_QUEUE_MAX


def test_10_one_is_out_at_a_time_until_its_stream_was_read():
    queue, _ = submit(SyntheticQueue(), A, IDLE)
    queue, _ = submit(queue, B, IDLE)
    assert woken(queue, busy=False) == (queue, None)
    assert stream_ended(queue, "b", busy=False) == (queue, None)
    queue, decision = stream_ended(queue, "a", busy=False)
    assert (queue, decision) == (SyntheticQueue((), B), Submit(B))
    assert stream_ended(queue, "b", busy=False) == (SyntheticQueue(), None)
    assert stream_ended(SyntheticQueue(), "b", busy=False) == (SyntheticQueue(), None)


def test_10_put_back_keeps_the_place_and_loses_no_wake_up():
    queue = SyntheticQueue((B,), A)
    assert put_back(queue, busy=True) == (SyntheticQueue((A, B)), None)
    assert put_back(queue, busy=False) == (queue, Submit(A))
    assert put_back(SyntheticQueue((B,)), busy=False) == (SyntheticQueue((B,)), None)


def test_10_a_stop_drops_what_waits():
    assert dropped(SyntheticQueue((B, C), A)) == (SyntheticQueue(), (B, C))
    now = datetime(2026, 4, 3, tzinfo=UTC)
    event = drop_event(A, SessionNotActiveError("stopped"), now, session_id="sess-1")
    assert (event.type, event.turn_id, event.timestamp) == ("error", "a", now)
    assert event.error == 'session: synthetic prompt dropped for "sess-1": stopped'


@given(st.lists(st.sampled_from(["arrive", "turn", "turn ends", "refused", "read"]), max_size=60))
def test_law_order_and_no_lost_wake_up(story):
    """Whatever interleaves: first in, first out, one at a time, and nobody waits for nothing."""
    queue = SyntheticQueue()
    arrived: list[str] = []
    ended: list[str] = []
    other_turn = running = False

    def follow(decision):
        nonlocal running
        if isinstance(decision, Submit):
            assert not other_turn
            assert not running, "one at a time"
            running = True

    for what in story:
        busy = other_turn or running
        if what == "arrive":
            turn_id = str(len(arrived))
            arrived.append(turn_id)
            queue, decision = submit(queue, prompt(turn_id), Business(busy))
            follow(decision)
        elif what == "turn" and not busy:
            other_turn = True
        elif what == "turn ends" and other_turn:
            other_turn = False
            queue, decision = woken(queue, busy=running)
            follow(decision)
        elif what == "refused" and running:
            running, other_turn = False, True
            queue, decision = put_back(queue, busy=True)
            follow(decision)
        elif what == "read" and running:
            running = False
            ended.append(queue.out.turn_id)
            queue, decision = stream_ended(queue, queue.out.turn_id, busy=other_turn)
            follow(decision)
        assert (queue.out is not None) is running
        assert running or other_turn or not queue.waiting, "idle, and somebody waits"
        pending = [p.turn_id for p in ((queue.out,) if queue.out else ()) + queue.waiting]
        assert ended + pending == arrived
