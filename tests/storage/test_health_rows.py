"""05 2.8, 2.10: the health rows of a home, and what is stale."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from greenroom.actors.errors import (
    InvalidSessionHealthError,
    SessionHealthNotFoundError,
    StoreValidationError,
)
from greenroom.actors.model.health import (
    IneligibilityReason,
    SessionHealth,
    SessionHealthListQuery,
    SessionHealthState,
    SessionHealthStatus,
)
from greenroom.storage.health_rows import JournalHealthStore
from greenroom.storage.table_storage import JournalStorage

NOON = datetime(2026, 4, 3, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ROW = SessionHealth(
    "s0",
    "ws",
    "demo",
    SessionHealthState.IDLE,
    SessionHealthStatus.HEALTHY,
    attachable=True,
    eligible_for_wake=True,
    last_presence_at=NOON,
    updated_at=NOON,
)
ALL = SessionHealthListQuery()


@pytest.fixture
def storage(tmp_path: Path) -> JournalStorage:
    return JournalStorage(tmp_path / "catalog.journal", sync="none")


@pytest.fixture
def store(storage: JournalStorage) -> JournalHealthStore:
    return JournalHealthStore(storage)


def test_2_10_a_row_is_replaced_by_the_next_of_its_session(
    store: JournalHealthStore, storage: JournalStorage, tmp_path: Path
) -> None:
    assert store.upsert_session_health(ROW) == ROW
    newer = replace(ROW, last_error="x", updated_at=NOON + SECOND)
    store.upsert_session_health(newer)
    assert store.get_session_health("s0") == newer
    storage.close()
    again = JournalStorage(tmp_path / "catalog.journal")
    assert JournalHealthStore(again).list_session_health(ALL) == [newer]
    again.close()


def test_2_10_a_row_that_breaks_the_rules_is_not_stored(store: JournalHealthStore) -> None:
    with pytest.raises(InvalidSessionHealthError):
        store.upsert_session_health(replace(ROW, workspace_id=" "))
    with pytest.raises(SessionHealthNotFoundError):
        store.get_session_health("s0")


def test_2_10_newest_first_then_by_id_and_a_limit(store: JournalHealthStore) -> None:
    for name, later in (("a", 0), ("c", 1), ("b", 1)):
        store.upsert_session_health(replace(ROW, session_id=name, updated_at=NOON + later * SECOND))
    found = [row.session_id for row in store.list_session_health(ALL)]
    assert found == ["c", "b", "a"]
    limited = store.list_session_health(SessionHealthListQuery(limit=2))
    assert [row.session_id for row in limited] == ["c", "b"]
    assert len(store.list_session_health_recovery_inputs(0)) == 3
    assert store.list_session_health(SessionHealthListQuery(session_id="b"))[0].session_id == "b"
    with pytest.raises(InvalidSessionHealthError):
        store.list_session_health_recovery_inputs(-1)


@pytest.mark.parametrize(
    ("changes", "stale"),
    [
        ({}, False),
        ({"last_presence_at": NOON - SECOND}, True),
        ({"last_presence_at": None}, True),
        ({"last_presence_at": None, "active_prompt": True}, False),
        ({"last_presence_at": None, "state": SessionHealthState.DETACHED}, False),
        ({"last_presence_at": None, "health": SessionHealthStatus.DEAD}, False),
        ({"last_presence_at": None, "health": SessionHealthStatus.STALE}, False),
        ({"last_presence_at": None, "health": SessionHealthStatus.DEGRADED}, True),
    ],
)
def test_2_8_what_is_stale(
    store: JournalHealthStore, changes: dict[str, object], stale: bool
) -> None:
    """Strictly before the cutoff, idle, and not said already."""
    row = replace(ROW, **changes)  # type: ignore[arg-type]
    store.upsert_session_health(row)
    later = NOON + SECOND
    assert store.mark_session_health_stale(NOON, later) == stale
    marked = replace(
        row,
        health=SessionHealthStatus.STALE,
        eligible_for_wake=False,
        ineligibility_reason=IneligibilityReason.STALE,
        updated_at=later,
    )
    assert store.get_session_health("s0") == (marked if stale else row)


def test_2_8_no_cutoff_is_an_error(store: JournalHealthStore) -> None:
    with pytest.raises(InvalidSessionHealthError):
        store.mark_session_health_stale(None, NOON)


def test_2_10_a_deleted_session_has_no_row(store: JournalHealthStore) -> None:
    store.upsert_session_health(ROW)
    store.remove("s0")
    store.remove("s0")
    assert store.list_session_health(ALL) == []


def test_2_10_a_document_that_is_no_row_is_an_error(
    store: JournalHealthStore, storage: JournalStorage
) -> None:
    storage.write({"health": {"s0": {"state": "asleep"}}})
    with pytest.raises(StoreValidationError):
        store.get_session_health("s0")
