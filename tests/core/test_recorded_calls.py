"""The records of requests that took effect: bounded, and what was dropped early is known (5.16)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from greenroom.actors.core import recorded_calls
from greenroom.actors.core.effects import TableChange
from greenroom.actors.core.recorded_calls import (
    CALLS_TABLE,
    FORGOTTEN_KEY,
    KEPT_S,
    RECORDED_MAX,
    RecordedCalls,
    may_be_forgotten,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 4, 3, tzinfo=UTC)


def apply(documents, changes):
    for change in changes:
        assert change.table == CALLS_TABLE
        if change.document is None:
            del documents[change.key]
        else:
            documents[change.key] = change.document
    return documents


def test_an_answer_is_stored_with_its_time():
    (change,) = RecordedCalls({}).record("c.1", {"result": None, "turn_id": "t"}, NOW)
    document = {"result": None, "turn_id": "t", "at": NOW.timestamp()}
    assert change == TableChange(CALLS_TABLE, "c.1", document)


def test_records_go_when_they_are_too_old_and_nothing_is_forgotten_by_that():
    calls = RecordedCalls({})
    stored = apply({}, calls.record("c.1", {}, NOW))
    apply(stored, calls.record("c.2", {}, NOW + timedelta(seconds=KEPT_S)))
    assert set(stored) == {"c.1", "c.2"}
    apply(stored, calls.record("c.3", {}, NOW + timedelta(seconds=KEPT_S + 1)))
    assert set(stored) == {"c.2", "c.3"}


def test_a_record_that_had_to_go_before_its_time_leaves_a_trace():
    calls = RecordedCalls({})
    stored = {}
    for number in range(RECORDED_MAX + 3):
        apply(stored, calls.record(f"c.{number}", {}, NOW + timedelta(milliseconds=number)))
    assert len(stored) == RECORDED_MAX + 1
    gone = NOW.timestamp() + 0.002
    assert stored[FORGOTTEN_KEY] == {"at": gone}
    assert may_be_forgotten(stored[FORGOTTEN_KEY], gone - 1)
    assert may_be_forgotten(stored[FORGOTTEN_KEY], gone)
    assert not may_be_forgotten(stored[FORGOTTEN_KEY], gone + 0.001)
    assert not may_be_forgotten(None, 0.0)


@given(
    gaps=st.lists(st.floats(0, KEPT_S), max_size=30),
    restart_at=st.integers(0, 30),
    most=st.integers(1, 10),
)
def test_every_request_is_recorded_or_known_to_be_forgotten(gaps, restart_at, most):
    """What was recorded within the window is found, or may be forgotten; after a restart too."""
    kept, recorded_calls.RECORDED_MAX = recorded_calls.RECORDED_MAX, most
    try:
        calls, stored, now, began = RecordedCalls({}), {}, NOW, {}
        for number, gap in enumerate(gaps):
            if number == restart_at:
                calls = RecordedCalls(stored)
            now += timedelta(seconds=gap)
            began[f"c.{number}"] = now.timestamp()
            apply(stored, calls.record(f"c.{number}", {}, now))
        assert len(stored) <= most + 1
        for request_id, at in began.items():
            if now.timestamp() - at < 600 and request_id not in stored:
                assert may_be_forgotten(stored.get(FORGOTTEN_KEY), at)
    finally:
        recorded_calls.RECORDED_MAX = kept
