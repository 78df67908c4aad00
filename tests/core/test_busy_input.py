"""spec 02 7-9: queue, interrupt, steer; the fenced queue; steering at a tool boundary."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from greenroom.actors.core import busy_input, inputs
from greenroom.actors.core import effects as fx
from greenroom.actors.core.state import InputQueue
from greenroom.actors.core.turn import INTERRUPT_TIMER
from greenroom.actors.errors import (
    PromptInProgressError,
    PromptNotInProgressError,
    SessionInputQueueEntryNotFoundError,
    SessionInputQueueFullError,
    SessionNotActiveError,
    SessionValueError,
)
from greenroom.actors.model.event import AgentEvent
from greenroom.actors.model.session import State, StopCause
from greenroom.actors.model.turn import BusyInputMode, QueueEntry, QueueStatus
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 4, 3, tzinfo=UTC)
QUEUE = BusyInputMode.QUEUE
STEER = BusyInputMode.STEER
INTERRUPT = BusyInputMode.INTERRUPT


def titles(events):
    return [event.title.removeprefix("transcript_marker.") for event in events if event.title]


def changes_of(effects):
    return [c for effect in effects if isinstance(effect, fx.Commit) for c in effect.changes]


def test_7_3_queue_when_busy(active, events_of):
    turn_id = active.run_turn()
    ask, effects = active.prompt("next", mode=QUEUE)
    result = active.answers[ask]
    assert (result.status, result.queued, result.queue_position) == ("queued", True, 1)
    (note,) = events_of(effects)
    assert (titles([note]), note.turn_id) == (["prompt_queued"], turn_id)
    (change,) = changes_of(effects)
    assert (change.table, change.key) == ("input_queue", result.queue_entry_id)
    assert change.document["text"] == "next"
    assert effects[0].durable
    second, _ = active.prompt("and then", mode=QUEUE)
    assert active.answers[second].queue_position == 2


def test_8_2_a_full_queue_says_so(active, events_of):
    active.run_turn()
    for n in range(3):
        active.prompt(f"q{n}", mode=QUEUE)
    before = active.state.queue
    ask, effects = active.prompt("one more", mode=QUEUE)
    error = active.answers[ask]
    assert isinstance(error, SessionInputQueueFullError)
    assert (error.queue_cap, error.code, error.severity) == (3, "session_queue_full", "warn")
    assert titles(events_of(effects)) == ["prompt_dropped"]
    assert active.state.queue == before


@pytest.mark.parametrize("mode", [QUEUE, STEER])
def test_8_2_text_is_bounded_in_bytes(active, mode):
    active.run_turn()
    exact, _ = active.prompt("é" * 256, mode=mode)
    assert active.answers[exact].status in ("queued", "staged")
    ask, _ = active.prompt("é" * 257, mode=mode)
    assert isinstance(active.answers[ask], SessionValueError)


def test_7_7_queued_input_runs_at_turn_end_in_order(active, events_of):
    active.run_turn()
    first, _ = active.prompt("one", mode=QUEUE)
    active.prompt("two", mode=QUEUE)
    effects = active.end_turn()
    row = next(e for e in events_of(effects) if e.type == "user_message")
    assert (row.text, row.request_id) == ("one", active.answers[first].queue_entry_id)
    assert "prompt_accepted" in titles(events_of(effects))
    (change,) = changes_of(effects)
    assert change.document["status"] is QueueStatus.SENT
    active.feed(inputs.PromptStarted(active.turn_id))
    effects = active.end_turn()
    assert [e.text for e in events_of(effects) if e.type == "user_message"] == ["two"]
    active.feed(inputs.PromptStarted(active.turn_id))
    active.end_turn()
    assert active.state.turn is None
    assert active.state.queue.entries == ()


def test_7_7_queued_input_stays_queued_while_stopping(active):
    active.run_turn()
    active.prompt("later", mode=QUEUE)
    active.ask(inputs.StopRequested, cause=StopCause.USER_REQUESTED)
    active.feed(inputs.AgentStreamClosed(active.turn_id))
    assert [entry.text for entry in active.state.queue.entries] == ["later"]


def test_7_7_b_queued_input_is_dispatched_on_activation(make_bench, active, events_of):
    active.run_turn()
    active.prompt("left over", mode=QUEUE)
    resumed = make_bench(queue=active.state.queue)
    effects = resumed.activate()
    assert [e.text for e in events_of(effects) if e.type == "user_message"] == ["left over"]


def test_load_keeps_what_is_pending_and_goes_on_numbering():
    def stored(seq, status):
        entry = QueueEntry(
            id=f"inq-{seq}",
            session_id="s",
            seq=seq,
            status=status,
            mode=QUEUE,
            text="t",
            session_generation=1,
            enqueued_at=NOW,
            updated_at=NOW,
        )
        return msgspec.to_builtins(busy_input.document(entry))

    documents = [
        stored(5, QueueStatus.SENT),
        stored(2, QueueStatus.QUEUED),
        stored(1, QueueStatus.DISPATCHING),
        stored(3, QueueStatus.CANCELED),
        stored(4, QueueStatus.FAILED),
    ]
    queue = busy_input.load(documents, 7)
    assert [(e.seq, e.status) for e in queue.entries] == [
        (1, QueueStatus.QUEUED),
        (2, QueueStatus.QUEUED),
    ]
    assert (queue.last_seq, queue.generation) == (5, 7)
    assert busy_input.load([], 0) == InputQueue()


def test_7_4_interrupt_fences_cancels_and_takes_the_turn(active, events_of, kinds):
    previous = active.run_turn()
    active.prompt("queued", mode=QUEUE)
    ask, effects = active.prompt("now this", mode=INTERRUPT)
    assert kinds(effects) == ["Commit", "CancelPrompt", "ArmTimer"]
    assert titles(events_of(effects)) == ["prompt_interrupted"]
    assert ask not in active.answers
    assert active.state.queue.entries == ()
    assert active.state.queue.generation == 1
    busy, _ = active.prompt("me too")
    assert isinstance(active.answers[busy], PromptInProgressError)
    effects = active.end_turn()
    assert fx.DisarmTimer(INTERRUPT_TIMER) in effects
    assert [e.text for e in events_of(effects) if e.type == "user_message"] == ["now this"]
    active.feed(inputs.PromptStarted(active.turn_id))
    result = active.answers[ask]
    assert (result.status, result.mode, result.interrupted) == ("accepted", "interrupt", True)
    assert (result.previous_turn_id, result.new_turn_id) == (previous, active.turn_id)
    assert (result.canceled_queued_entries, result.queue_generation) == (1, 1)


def test_7_4_an_interrupt_that_waits_too_long(active):
    active.run_turn()
    ask, _ = active.prompt("now", mode=INTERRUPT)
    active.feed(inputs.TimerFired(INTERRUPT_TIMER))
    assert isinstance(active.answers[ask], TimeoutError)
    assert active.state.queue.generation == 1, "the fence stays"
    assert active.feed(inputs.TimerFired(INTERRUPT_TIMER)) == ()
    active.end_turn()
    assert active.state.turn is None


def test_17_two_interrupts_the_later_wins_and_both_are_answered(active):
    active.run_turn()
    first, _ = active.prompt("a", mode=INTERRUPT)
    second, _ = active.prompt("b", mode=INTERRUPT, turn_id="turn-b")
    assert isinstance(active.answers[first], PromptInProgressError)
    active.end_turn()
    assert active.turn_id == "turn-b"
    active.feed(inputs.PromptStarted("turn-b"))
    assert active.answers[second].status == "accepted"


def test_a_stop_turns_a_waiting_interrupt_away(active):
    active.run_turn()
    ask, _ = active.prompt("now", mode=INTERRUPT)
    active.ask(inputs.StopRequested, cause=StopCause.USER_REQUESTED)
    assert isinstance(active.answers[ask], SessionNotActiveError)


def test_7_5_interrupt_prompt(active, events_of):
    turn_id = active.run_turn()
    active.prompt("queued", mode=QUEUE)
    waiting, _ = active.prompt("now", mode=INTERRUPT)
    ask, effects = active.ask(inputs.InterruptRequested)
    result = active.answers[ask]
    assert (result.status, result.previous_turn_id) == ("interrupted", turn_id)
    assert result.queue_generation == 2
    assert isinstance(active.answers[waiting], PromptInProgressError)
    assert fx.CancelPrompt(turn_id) in effects


def test_7_5_interrupt_of_an_idle_session_only_fences(active, kinds, events_of):
    ask, effects = active.ask(inputs.InterruptRequested)
    assert kinds(effects) == ["Commit", "Reply"]
    (note,) = events_of(effects)
    assert note.turn_id.startswith("turn-"), "a marker always has a turn id"
    assert active.answers[ask].canceled_queued_entries == 0


def test_7_6_steer(active, events_of):
    idle, _ = active.ask(inputs.SteerRequested, message="left")
    assert isinstance(active.answers[idle], PromptNotInProgressError)
    active.run_turn()
    blank, _ = active.ask(inputs.SteerRequested, message=" ")
    assert isinstance(active.answers[blank], SessionValueError)
    ask, effects = active.ask(inputs.SteerRequested, message="left")
    result = active.answers[ask]
    assert (result.status, result.staged, result.fallback_mode_if_no_tool_result) == (
        "staged",
        True,
        "queue",
    )
    assert titles(events_of(effects)) == ["prompt_steered"]


def test_8_3_a_newer_steer_supersedes_the_staged_one(active):
    active.run_turn()
    active.ask(inputs.SteerRequested, message="left")
    _, effects = active.ask(inputs.SteerRequested, message="right")
    statuses = [change.document["status"] for change in changes_of(effects)]
    assert statuses == [QueueStatus.CANCELED, QueueStatus.QUEUED]
    assert [entry.text for entry in active.state.queue.entries] == ["right"]


def stage_and_reach_boundary(session):
    session.run_turn()
    session.ask(inputs.SteerRequested, message="go left")
    effects = session.arrive(AgentEvent(type="tool_result", tool_call_id="t"))
    return next((e for e in effects if isinstance(e, fx.SteerAgent)), None), effects


def test_9_steering_goes_out_at_a_tool_boundary(active, events_of):
    active.run_turn()
    active.ask(inputs.SteerRequested, message="go left")
    quiet = active.arrive(AgentEvent(type="agent_message"), AgentEvent(type="tool_call"))
    assert not any(isinstance(effect, fx.SteerAgent) for effect in quiet)
    effects = active.arrive(AgentEvent(type="tool_result", tool_call_id="t"))
    sent = next(effect for effect in effects if isinstance(effect, fx.SteerAgent))
    assert sent.text == "go left"
    (change,) = changes_of(effects)
    assert change.document["status"] is QueueStatus.SENT
    again = active.arrive(AgentEvent(type="tool_result", tool_call_id="u"))
    assert not any(isinstance(effect, fx.SteerAgent) for effect in again)
    told, note = events_of(active.feed(inputs.SteerAnswered(sent.entry_id, "injected")))
    assert (told.type, told.text, told.action, told.request_id, told.decision) == (
        "user_message",
        "go left",
        "prompt_steered",
        sent.entry_id,
        "0",
    )
    assert (note.title, note.text) == ("transcript_marker.prompt_steered", "go left")
    assert active.feed(inputs.SteerAnswered(sent.entry_id, "injected")) == ()


def test_9_no_boundary_after_a_cancel(active):
    active.run_turn()
    active.ask(inputs.SteerRequested, message="x")
    active.ask(inputs.CancelRequested)
    effects = active.arrive(AgentEvent(type="tool_result"))
    assert not any(isinstance(effect, fx.SteerAgent) for effect in effects)


def test_9_an_agent_without_steering_gets_it_as_its_next_prompt(events_of, bench):
    bench.activate()
    sent, _ = stage_and_reach_boundary(bench)
    assert sent is None
    effects = bench.end_turn()
    assert [e.text for e in events_of(effects) if e.type == "user_message"] == ["go left"]
    note = next(e for e in events_of(effects) if e.title)
    assert note.raw.value["evidence"]["fallback_to_queue"] is True


def test_9_no_boundary_behind_the_terminal_event(active):
    active.run_turn()
    active.ask(inputs.SteerRequested, message="x")
    effects = active.arrive(AgentEvent(type="tool_result"), AgentEvent(type="done"))
    assert not any(isinstance(effect, fx.SteerAgent) for effect in effects)


@pytest.mark.parametrize(("outcome", "warned"), [("not_running", False), ("failed", True)])
def test_9_what_the_agent_did_not_take_goes_back_to_its_place(active, events_of, outcome, warned):
    sent, _ = stage_and_reach_boundary(active)
    active.prompt("behind", mode=QUEUE)
    effects = active.feed(inputs.SteerAnswered(sent.entry_id, outcome, "pipe"))
    assert [entry.text for entry in active.state.queue.entries] == ["go left", "behind"]
    types = [event.type for event in events_of(effects)]
    assert types == (["runtime_warning"] if warned else [])


def test_9_an_answer_after_the_turn_keeps_the_text_in_its_marker(active, events_of):
    sent, _ = stage_and_reach_boundary(active)
    turn_id = active.turn_id
    active.end_turn()
    (note,) = events_of(active.feed(inputs.SteerAnswered(sent.entry_id, "injected")))
    assert (note.type, note.text, note.turn_id) == (
        "transcript_marker.created",
        "go left",
        turn_id,
    )


@pytest.mark.parametrize("outcome", ["failed", "not_running"])
def test_7_7_c_a_text_that_comes_back_to_an_idle_session_runs_at_once(active, events_of, outcome):
    sent, _ = stage_and_reach_boundary(active)
    active.end_turn()
    first, note = events_of(active.feed(inputs.SteerAnswered(sent.entry_id, outcome, "x")))
    assert (first.type, first.text, first.request_id) == ("user_message", "go left", sent.entry_id)
    assert note.title == "transcript_marker.prompt_steered"
    assert active.state.queue.entries == ()


def test_7_7_a_text_that_the_agent_never_answered_for_waits_for_the_next_life(active, events_of):
    sent, _ = stage_and_reach_boundary(active)
    active.ask(inputs.StopRequested, cause="user_requested")
    active.feed(inputs.AgentStreamClosed(active.turn_id))
    effects = active.feed(inputs.AgentExited())
    (commit,) = (effect for effect in effects if isinstance(effect, fx.Commit))
    assert commit.events[0].type == "session_stopped"
    assert commit.changes[0].document["status"] == "queued"
    assert active.feed(inputs.SteerAnswered(sent.entry_id, "injected")) == ()


def test_7_8_cancel_queued(active, events_of):
    active.run_turn()
    queued, _ = active.prompt("never mind", mode=QUEUE)
    entry_id = active.answers[queued].queue_entry_id
    unknown, _ = active.ask(inputs.QueuedPromptCancelRequested, queue_entry_id="inq-x")
    assert isinstance(active.answers[unknown], SessionInputQueueEntryNotFoundError)
    ask, effects = active.ask(inputs.QueuedPromptCancelRequested, queue_entry_id=entry_id)
    assert (active.answers[ask].status, active.answers[ask].mode) == ("canceled", "queue")
    assert titles(events_of(effects)) == ["prompt_dropped"]
    assert active.state.queue.entries == ()


@pytest.mark.parametrize(
    "kind",
    [inputs.SteerRequested, inputs.InterruptRequested, inputs.QueuedPromptCancelRequested],
)
def test_a_stopped_session_takes_no_steering_interrupt_or_queue_change(active, kind):
    active.put_state(State.STOPPED)
    fields = {
        inputs.SteerRequested: {"message": "x"},
        inputs.QueuedPromptCancelRequested: {"queue_entry_id": "inq"},
    }.get(kind, {})
    ask, _ = active.ask(kind, **fields)
    assert isinstance(active.answers[ask], SessionNotActiveError)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("prompt"), st.sampled_from([None, *BusyInputMode])),
        st.tuples(st.just("steer"), st.none()),
        st.tuples(st.just("interrupt"), st.none()),
        st.tuples(st.just("cancel"), st.none()),
        st.tuples(st.just("start"), st.none()),
        st.tuples(st.just("boundary"), st.none()),
        st.tuples(st.just("answer"), st.sampled_from(["injected", "not_running", "failed"])),
        st.tuples(st.just("end"), st.none()),
    ),
    max_size=40,
)


@given(OPERATIONS)
def test_law_no_input_is_lost_or_sent_twice(make_bench, operations):
    """Every accepted input is sent exactly once, cancelled, or still queued; every ask answered."""
    bench = make_bench()
    bench.activate(supports_steering=True)
    rows: list[str] = []
    steered: list[fx.SteerAgent] = []
    texts = 0

    def note(effects):
        for effect in effects:
            if isinstance(effect, fx.SteerAgent):
                steered.append(effect)
            if isinstance(effect, fx.Commit):
                rows.extend(e.text for e in effect.events if e.type == "user_message")

    for verb, argument in operations:
        turn = bench.state.turn
        match verb:
            case "prompt":
                texts += 1
                note(bench.prompt(f"text {texts}", mode=argument)[1])
            case "steer":
                texts += 1
                note(bench.ask(inputs.SteerRequested, message=f"text {texts}")[1])
            case "interrupt":
                note(bench.ask(inputs.InterruptRequested)[1])
            case "cancel":
                cancelling, effects = bench.ask(inputs.CancelRequested)
                note(effects)
                if turn and cancelling not in bench.answers:
                    note(bench.feed(inputs.CancelSettled(turn.turn_id, cancelling)))
            case "start" if turn and turn.phase == "setup":
                note(bench.feed(inputs.PromptStarted(turn.turn_id)))
            case "boundary" if turn:
                note(bench.arrive(AgentEvent(type="tool_result")))
            case "answer" if bench.state.steering:
                entry_id = bench.state.steering.id
                note(bench.feed(inputs.SteerAnswered(entry_id, argument, "x")))
            case "end" if turn and turn.phase == "streaming":
                note(bench.end_turn())
    assert len(rows) == len(set(rows)), "an input was sent twice"
    seqs = [entry.seq for entry in bench.state.queue.entries]
    assert seqs == sorted(set(seqs))
    waiting = {bench.state.turn.ask} if bench.state.turn else set()
    if bench.state.replacement:
        waiting.add(bench.state.replacement.ask)
    assert set(range(1, bench.asks + 1)) - set(bench.answers) <= waiting
