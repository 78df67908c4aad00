"""03 12.3: the ledger of a stopped session."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.errors import (
    InvalidLedgerRecordError,
    LedgerExistsError,
    StorageError,
    StoreCorruptError,
)
from greenroom.actors.model.session import SessionLineage
from greenroom.storage import ledger as module
from greenroom.storage.ledger import FileLedgerMaterializer, SessionLedgerRecord

NOON = datetime(2026, 4, 3, 12, tzinfo=UTC)


class Source:
    """A session that is recorded and stopped, again and again."""

    def __init__(self, home: Any, hub: Any, event: Callable[..., Any], root: Path) -> None:
        self.home, self.hub, self.event = home, hub, event
        self.ledgers = FileLedgerMaterializer(root)
        path = home.layout.journal("s0", "events")
        self.record = SessionLedgerRecord("s0", path, "ws-1", agent_name="demo", started_at=NOON)
        self.path = self.ledgers.path_of(self.record)

    def write(self, count: int) -> None:
        done: list[Any] = []
        store = self.home.open_session("s0", create=True)
        events = [self.event(number) for number in range(count)]
        store.submit(events, agent_name="a", durable=True, done=done.append)
        store.close(done.append)
        self.hub.run_until(lambda: len(done) == 2)
        assert done == [None, None]

    def make(self) -> list[dict[str, Any]]:
        self.ledgers.materialize_session_ledger(self.record)
        assert sorted(p.name for p in self.path.parent.iterdir()) == ["ledger.jsonl"]
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@pytest.fixture
def source(open_home: Any, hub: Any, event: Callable[..., Any], tmp_path: Path) -> Source:
    made = Source(open_home(), hub, event, tmp_path / "ledgers")
    made.write(3)
    return made


def test_12_3_one_line_of_whose_it_is_and_one_per_row(source: Source, tmp_path: Path) -> None:
    head, *rows = source.make()
    assert source.path == tmp_path / "ledgers" / "ws-1" / "s0" / "ledger.jsonl"
    assert head == {
        "type": "ledger_meta",
        "version": 1,
        "session_id": "s0",
        "workspace_id": "ws-1",
        "agent_name": "demo",
        "started_at": "2026-04-03T12:00:00.000000000Z",
    }
    assert [row["sequence"] for row in rows] == [1, 2, 3]
    assert {(row["type"], row["version"], row["session_id"]) for row in rows} == {
        ("session_event", 1, "s0")
    }
    first = rows[0]
    assert first["content"]["schema"] == "greenroom.event.v1"
    assert first["content"]["text"] == "text 0"
    assert (first["turn_id"], first["event_type"], first["agent_name"]) == (
        "turn-0",
        "agent_message",
        "a",
    )


def test_12_3_lineage_is_told_and_a_workspace_without_id_has_a_place(source: Source) -> None:
    lineage = SessionLineage("root", "parent", 2)
    record = SessionLedgerRecord("s0", source.record.events_db_path, lineage=lineage)
    assert source.ledgers.path_of(record).parts[-3:] == ("_unbound", "s0", "ledger.jsonl")
    head = json.loads(next(module.ledger_lines(record)))
    assert (head["root_session_id"], head["spawn_parent_id"], head["spawn_depth"]) == (
        "root",
        "parent",
        2,
    )


def test_12_3_an_equal_ledger_is_not_written_again(source: Source) -> None:
    source.make()
    before = source.path.stat()
    source.make()
    assert source.path.stat() == before


def test_12_3_stop_resume_stop_extends_it(source: Source) -> None:
    before = source.make()
    source.write(2)
    after = source.make()
    assert after[: len(before)] == before
    assert [row["sequence"] for row in after[1:]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("change", ["another line", "longer"])
def test_12_3_a_ledger_of_another_history_stays(source: Source, change: str) -> None:
    source.make()
    text = source.path.read_text()
    text = text.replace("text 1", "text X") if change == "another line" else text + "{}\n"
    source.path.write_text(text)
    with pytest.raises(LedgerExistsError) as caught:
        source.make()
    assert caught.value.fields["path"] == str(source.path)
    assert source.path.read_text() == text
    assert len(list(source.path.parent.iterdir())) == 1


@pytest.mark.parametrize("field", ["session_id", "workspace_id"])
@pytest.mark.parametrize("unsafe", ["../up", "a/b", "..", "nul\0"])
def test_12_3_an_unsafe_id_is_refused_before_anything_is_read(
    tmp_path: Path, field: str, unsafe: str
) -> None:
    ids = {"session_id": "s0", "workspace_id": "ws", field: unsafe}
    record = SessionLedgerRecord(events_db_path=str(tmp_path / "none"), **ids)
    ledgers = FileLedgerMaterializer(tmp_path / "ledgers")
    for call in (ledgers.materialize_session_ledger, ledgers.discard_session_ledger):
        with pytest.raises(InvalidLedgerRecordError) as caught:
            call(record)
        assert caught.value.field == field
    assert not (tmp_path / "ledgers").exists()


def test_12_3_a_damaged_source_gives_no_ledger(source: Source) -> None:
    source.write(3)
    path = Path(source.record.events_db_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(StoreCorruptError):
        source.make()
    assert list(source.path.parent.iterdir()) == []


def test_12_3_what_can_not_be_written_is_a_typed_error(source: Source, tmp_path: Path) -> None:
    (tmp_path / "ledgers").write_text("no directory")
    with pytest.raises(StorageError):
        source.ledgers.materialize_session_ledger(source.record)


def test_12_3_discard(source: Source) -> None:
    source.make()
    source.ledgers.discard_session_ledger(source.record)
    assert not source.path.exists()
    source.ledgers.discard_session_ledger(source.record)
    assert source.make()


def test_12_3_memory_does_not_grow_with_the_history(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE_BYTES", 1)
    source.write(20)
    assert [row["sequence"] for row in source.make()[1:]] == list(range(1, 24))
