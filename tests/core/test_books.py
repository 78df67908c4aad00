"""03 9: what is kept in step with the rows, as a fold; 03 6: the shape of hook runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from greenroom.actors.core import books as core
from greenroom.actors.core.books import Books, enter, hook_run, load_stats
from greenroom.actors.errors import StoreValidationError
from greenroom.actors.model.event import AgentEvent, EventType, RawJSON, TokenUsage
from greenroom.actors.model.records import HookRunQuery, HookRunRecord
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 4, 3, 12, tzinfo=UTC)
EMPTY = Books("sess-1", "demo", "approve-reads", epoch=3, id_seed="seed")


def event(kind, turn_id="turn-1", **members):
    return AgentEvent(type=kind, turn_id=turn_id, timestamp=NOON, **members)


def used(kind=EventType.USAGE, turn_id="turn-1", **fields):
    return event(kind, turn_id, usage=TokenUsage(**fields))


def tables(changes):
    return [change.table for change in changes]


def test_9_a_turn_keeps_the_newest_value_of_each_field():
    books, changes = enter(EMPTY, [used(input_tokens=5, context_used=9), used(input_tokens=7)])
    assert changes == ()
    books, changes = enter(books, [used(EventType.DONE, output_tokens=2)])
    usage, stats = changes
    assert (usage.table, usage.key) == ("token_usage", "turn-1")
    assert {k: v for k, v in usage.document.items() if v is not None} == {
        "turn_id": "turn-1",
        "input_tokens": 7,
        "output_tokens": 2,
        "context_used": 9,
        "timestamp": NOON,
        "epoch": 3,
    }
    assert usage.document["total_tokens"] is None, "absent is null, never 0"
    assert stats.document["turn_count"] == 1
    assert books.usage is None


def test_9_statistics_add_up_what_turns_say():
    books = EMPTY
    later = NOON + timedelta(hours=1)
    for turn, fields in (
        ("a", {"input_tokens": 5, "cost_amount": 0.5, "cost_currency": "EUR"}),
        ("b", {"input_tokens": 3, "total_tokens": 4, "timestamp": later}),
    ):
        books, changes = enter(books, [used(EventType.DONE, turn, **fields)])
    stats = load_stats(changes[-1].document)
    assert (stats.turn_count, stats.input_tokens, stats.output_tokens) == (2, 8, None)
    assert (stats.total_tokens, stats.cost_amount, stats.cost_currency) == (4, 0.5, "EUR")
    assert stats.updated_at == later
    assert changes[-1].key == "demo"
    assert books.stats == stats
    assert load_stats(None) is None


def test_9_only_a_done_with_usage_reaches_the_statistics():
    books, changes = enter(EMPTY, [event(EventType.DONE)])
    assert (books, changes) == (EMPTY, ())
    _, changes = enter(EMPTY, [used(EventType.DONE)])
    assert changes == (), "usage without a value is none"
    books, changes = enter(EMPTY, [used(input_tokens=1), event(EventType.ERROR)])
    assert tables(changes) == ["token_usage"]
    assert books.stats is None


def test_9_usage_of_another_turn_is_not_mixed_in():
    books, _ = enter(EMPTY, [used(turn_id="a", input_tokens=1)])
    books, changes = enter(books, [used(turn_id="b", output_tokens=2)])
    books, changes = enter(books, [event(EventType.DONE, "a")])
    assert changes == ()
    _, changes = enter(books, [event(EventType.DONE, "b")])
    assert changes[0].document["input_tokens"] is None


COUNTS = st.none() | st.integers(0, 1000)


@given(st.lists(st.tuples(COUNTS, COUNTS)))
def test_9_statistics_are_the_sum_in_any_grouping_of_commits(turns):
    rows = [
        used(EventType.DONE, f"t{n}", input_tokens=i, output_tokens=o)
        for n, (i, o) in enumerate(turns)
    ]
    together, _ = enter(EMPTY, rows)
    apart = EMPTY
    for row in rows:
        apart, _ = enter(apart, [row])
    assert together == apart
    told = [(i, o) for i, o in turns if (i, o) != (None, None)]
    assert (together.stats.turn_count if together.stats else 0) == len(told)
    inputs = [i for i, _ in told if i is not None]
    if together.stats:
        assert together.stats.input_tokens == (sum(inputs) if inputs else None)


def asked(request_id="r1", decision="", **members):
    facts = {
        "title": "write a file",
        "action": "session/request_permission",
        "resource": "/x",
        "tool_call_id": "tc",
        **members,
    }
    return event(EventType.PERMISSION, request_id=request_id, decision=decision, **facts)


def test_9_a_request_and_its_decision_are_one_record():
    options = [{"option_id": "a", "kind": "allow_once"}]
    pending = asked(raw=RawJSON.of({"options": [*options, "no option"]}))
    books, (put,) = enter(EMPTY, [pending])
    assert put.document["decision"] == ""
    assert put.document["decided_at"] is None
    assert put.document["options"] == tuple(options)
    assert put.document["policy_used"] == "approve-reads"
    assert list(books.asks) == ["r1"]
    later = NOON + timedelta(minutes=5)
    decided = AgentEvent(
        type=EventType.PERMISSION, turn_id="turn-1", timestamp=later, request_id="r1",
        decision="allow-once",
    )  # fmt: skip
    books, (again,) = enter(books, [decided])
    assert again.key == put.key
    assert again.document == {**put.document, "decision": "allow-once", "decided_at": later}
    assert books.asks == {}


def test_9_an_id_that_is_asked_again_is_a_record_of_its_own():
    books, changes = enter(EMPTY, [asked(), asked(decision="allow-once"), asked()])
    first, decided, second = changes
    assert first.key == decided.key != second.key
    assert list(books.asks) == ["r1"]


@pytest.mark.parametrize("raw", [None, RawJSON.of([1]), RawJSON.of({"options": "none"})])
def test_9_a_decision_nobody_asked_for_is_recorded_too(raw):
    books, (put,) = enter(EMPTY, [asked("", "reject-once", raw=raw)])
    assert put.document["decision"] == "reject-once"
    assert put.document["asked_at"] == put.document["decided_at"] == NOON
    assert put.document["options"] == ()
    assert books.asks == {}
    books, changes = enter(EMPTY, [asked("")])
    assert books.asks == {}
    assert changes[0].document["decision"] == ""


def test_9_undecided_requests_are_bounded(monkeypatch):
    monkeypatch.setattr(core, "OPEN_ASKS_MAX", 2)
    books, changes = enter(EMPTY, [asked("r1"), asked("r2"), asked("r3")])
    assert list(books.asks) == ["r2", "r3"]
    _, (late,) = enter(books, [asked("r1", "allow-once")])
    assert late.key not in [change.key for change in changes]


def test_6_a_hook_run_belongs_to_its_conversation():
    run = HookRunRecord("lint", "turn.end", NOON, outcome="failed", patch_applied={"a": 1})
    books, first = hook_run(EMPTY, run)
    _, second = hook_run(books, run)
    assert first.table == "hook_runs"
    assert first.document["epoch"] == 3
    assert first.document["patch_applied"] == {"a": 1}
    assert first.key != second.key


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"hook_name": " "}, "hook_name"),
        ({"mode": "sideways"}, "mode"),
        ({"outcome": "bogus"}, "outcome"),
    ],
)
def test_6_an_invalid_hook_run_is_refused(fields, field):
    facts = {"hook_name": "lint", "event": "turn.end", "recorded_at": NOON, **fields}
    with pytest.raises(StoreValidationError) as caught:
        HookRunRecord(**facts)
    assert caught.value.field == field


def test_6_what_a_query_for_hook_runs_means():
    runs = [
        HookRunRecord("a", "turn.start", NOON),
        HookRunRecord("b", "turn.end", NOON + timedelta(hours=1), outcome="denied"),
    ]

    def names(**query):
        return [run.hook_name for run in runs if HookRunQuery(**query).matches(run)]

    assert names() == ["a", "b"]
    assert names(event="turn.end") == names(outcome="denied") == ["b"]
    assert names(since=NOON) == ["a", "b"]
    assert names(since=NOON + timedelta(seconds=1)) == ["b"]
    for wrong in ({"outcome": "bogus"}, {"limit": -1}):
        with pytest.raises(StoreValidationError):
            HookRunQuery(**wrong)


@given(st.lists(st.sampled_from(["", "r1", "r2"]), max_size=12), st.lists(st.booleans()))
def test_9_no_record_is_decided_twice(ids, decisions):
    """Whatever comes in whatever order: a decided record is never put again."""
    pairs = zip(ids, decisions, strict=False)
    rows = [asked(name, "allow-once" if decided else "") for name, decided in pairs]
    _, changes = enter(EMPTY, rows)
    by_record = {}
    for change in changes:
        by_record.setdefault(change.key, []).append(change.document["decision"])
    assert len(changes) == len(rows)
    for history in by_record.values():
        assert all(not before for before, _ in pairwise(history))
