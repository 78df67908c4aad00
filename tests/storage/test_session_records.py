"""03 6, 9: usage, permission log and hook runs, as they are read back; and what a clear does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from greenroom.actors.errors import StoreValidationError
from greenroom.actors.model.event import EventType, TokenUsage
from greenroom.actors.model.records import (
    HookRunQuery,
    HookRunRecord,
    PermissionRecord,
    TokenStats,
)
from greenroom.storage.home import HomeStore
from greenroom.storage.session_records import (
    forgotten,
    hook_runs,
    permission_log,
    session_usage,
    token_usage,
)
from greenroom.storage.session_store import SessionStore, StateOp

NOON = datetime(2026, 4, 3, 12, tzinfo=UTC)
ALL = HookRunQuery()


class Session:
    def __init__(self, home: HomeStore, hub: Any, event: Callable[..., Any]) -> None:
        self.home, self.hub, self.event = home, hub, event
        self.store: SessionStore = self.wait(
            lambda done: home.open_session("s0", create=True, done=done)
        )

    def wait(self, start: Callable[[Callable[[Any], None]], Any]) -> Any:
        done: list[Any] = []
        started = start(done.append)
        self.hub.run_until(lambda: done)
        assert done == [None]
        return started

    def put(self, table: str, key: str, document: dict[str, Any], *events: Any) -> None:
        ops = [StateOp(table, key, document)]
        self.wait(
            lambda done: self.store.submit(
                events, agent_name="a", state_ops=ops, durable=False, done=done
            )
        )

    def hook(self, name: str, at: datetime = NOON, outcome: str = "applied") -> None:
        run = HookRunRecord(name, "turn.end", at, outcome=outcome)  # type: ignore[arg-type]
        self.put("hook_runs", name, {**asdict(run), "epoch": self.store.epoch()})

    def usage(self, turn: str, tokens: int) -> None:
        document = {"turn_id": turn, "input_tokens": tokens, "epoch": self.store.epoch()}
        self.put("token_usage", turn, document, self.event(turn_id=turn))

    def clear(self) -> None:
        self.wait(self.store.close)
        self.store = self.wait(lambda done: self.home.clear_session("s0", forgotten, done=done))


@pytest.fixture
def session(open_home: Any, hub: Any, event: Callable[..., Any]) -> Session:
    return Session(open_home(), hub, event)


def names(session: Session, **query: Any) -> list[str]:
    reader = session.home.reader("s0")
    return [run.hook_name for run in hook_runs(reader, HookRunQuery(**query))]


def test_9_usage_of_turns_and_statistics(session: Session) -> None:
    session.usage("t1", 5)
    session.usage("t2", 7)
    stats = TokenStats("tok-1", "s0", "a", 2, NOON, input_tokens=12)
    session.put("token_stats", "a", asdict(stats))
    reader = session.home.reader("s0")
    found = session_usage(reader)
    assert [(turn.turn_id, turn.input_tokens) for turn in found.turns] == [("t1", 5), ("t2", 7)]
    assert found.stats == stats
    assert token_usage(reader, "t2") == found.turns[1]
    assert token_usage(reader, "t9") is None


def test_9_a_turn_that_runs_has_the_usage_its_rows_tell(session: Session) -> None:
    told = [
        session.event(type=EventType.USAGE, turn_id="t1", usage=TokenUsage(input_tokens=1)),
        session.event(type=EventType.USAGE, turn_id="t1", usage=TokenUsage(output_tokens=2)),
        session.event(type=EventType.USAGE, turn_id="t1"),
    ]
    session.put("other", "x", {}, *told)
    usage = token_usage(session.home.reader("s0"), "t1")
    assert usage == TokenUsage(turn_id="t1", input_tokens=1, output_tokens=2)


def test_9_the_permission_log_is_in_the_order_of_asking(session: Session) -> None:
    first, second = (
        PermissionRecord(f"perm-{n}", "s0", "a", "t1", NOON, "approve-reads") for n in (2, 1)
    )
    for record in (first, second):
        session.put("permissions", record.id, asdict(record))
    decided = {**asdict(first), "decision": "allow-once", "decided_at": NOON}
    session.put("permissions", first.id, decided)
    log = permission_log(session.home.reader("s0"))
    assert [(record.id, record.is_pending) for record in log] == [
        ("perm-2", False),
        ("perm-1", True),
    ]


def test_6_hook_runs_ascend_by_time_and_a_limit_keeps_the_most_recent(session: Session) -> None:
    session.hook("late", NOON + timedelta(hours=1))
    session.hook("early")
    session.hook("with_early", outcome="denied")
    assert names(session) == ["early", "with_early", "late"]
    assert names(session, limit=2) == ["with_early", "late"]
    assert names(session, outcome="denied") == ["with_early"]


@pytest.mark.parametrize(
    ("table", "read"),
    [
        ("hook_runs", lambda reader: hook_runs(reader, ALL)),
        ("token_usage", session_usage),
        ("permissions", permission_log),
    ],
)
def test_6_a_stored_document_that_is_wrong_fails_the_whole_query(
    session: Session, table: str, read: Callable[[Any], Any]
) -> None:
    session.hook("fine")
    session.put(table, "bad", {"epoch": 1, "outcome": "bogus", "input_tokens": "many"})
    with pytest.raises(StoreValidationError):
        read(session.home.reader("s0"))


def test_12_1_a_clear_takes_usage_and_hook_runs_and_leaves_the_rest(session: Session) -> None:
    session.hook("old")
    session.usage("t1", 5)
    session.put("token_stats", "a", asdict(TokenStats("tok-1", "s0", "a", 1, NOON)))
    record = PermissionRecord("perm-1", "s0", "a", "t1", NOON, "deny-all")
    session.put("permissions", "perm-1", asdict(record))
    session.clear()
    reader = session.home.reader("s0")
    assert names(session) == []
    found = session_usage(reader)
    assert found.turns == ()
    assert found.stats is not None
    assert permission_log(reader) == (record,)
    session.hook("new")
    assert names(session) == ["new"]
    session.home.stored.commit_clear("s0")
    assert set(reader.state_documents("hook_runs")) == {"old", "new"}
    session.clear()
    assert set(session.home.reader("s0").state_documents("hook_runs")) == {"new"}


def test_12_1_an_abandoned_clear_gives_them_back(session: Session) -> None:
    session.hook("old")
    session.clear()
    session.hook("new")
    session.wait(session.store.close)
    session.home.stored.abandon_clear("s0")
    assert names(session) == ["old"]
    assert session.home.reader("s0").epochs() == {1}
