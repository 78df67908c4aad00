"""Files of format version 2, compacted and then left by a kill: every later version opens them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from greenroom.storage import JournalDB
from greenroom.storage.format.records import COMPACTED, decode_header
from greenroom.storage.home import HomeStore
from greenroom.storage.readonly import ReadOnlySessionStore

FIXTURE = Path(__file__).parent / "fixtures" / "v2"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE, tmp_path / "home"))


def test_the_state_goes_on_behind_its_snapshot(copy: Path, hub: Any) -> None:
    path = copy / "sessions" / "fixture" / "state.journal"
    assert decode_header(path.read_bytes()).form == COMPACTED
    home = HomeStore.open(copy, post=hub.post)
    assert not home.report.failed
    assert home.report.copied > 0
    done: list[Any] = []
    store = home.open_session("fixture", create=False, done=done.append)
    hub.run_until(lambda: done)
    assert store.last_sequence() == 44
    wanted = {
        "q2": {"text": "héllo", "n": [42, None, 1.5]},
        "q3": {"text": "héllo", "n": [43, None, 1.5]},
        "q0": {"text": "héllo", "n": [44, None, 1.5]},
    }
    assert store.state_documents("input_queue") == wanted
    assert [*store.state_documents("input_queue")] == [*wanted]
    assert store.state_document("input_state", "fixture") == {"input_generation": 44}
    home.close()
    hub.run_posted()
    reader = ReadOnlySessionStore.open(str(copy / "sessions" / "fixture"), "fixture")
    assert reader.state_documents("input_queue") == wanted
    reader.close()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_database_used_alone_has_its_tables_and_ids(copy: Path, read_only: bool) -> None:
    path = copy / "tables.journal"
    assert decode_header(path.read_bytes()).form == COMPACTED
    with JournalDB(path, read_only=read_only) as db:
        assert db.tables() == {"_default", "empty", "named"}
        assert len(db.table("empty")) == 0
        assert [(found.doc_id, found) for found in db.table("named")] == [(1, {"k": 2.5})]
        documents = {found.doc_id: found for found in db}
        assert [*documents] == [*range(1, 9)]
        assert documents[1] == {"n": [1, None, "ü"], "text": "x" * 10}
        assert documents[8] == {"n": 7, "text": "x" * 10}
        assert documents[3]["n"] > 0
        if not read_only:
            assert db.insert({}) == 9
