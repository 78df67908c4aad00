"""01 12: when the ledger of a session is made, and when it goes."""

from __future__ import annotations

import json

import pytest
from greenroom.actors import SessionManager
from greenroom.actors.errors import LedgerExistsError
from greenroom.storage import FileLedgerMaterializer


@pytest.fixture
def kept(home, tmp_path):
    ledgers = FileLedgerMaterializer(tmp_path / "ledgers")
    with SessionManager(home=home, ledger_materializer=ledgers) as manager:
        yield manager


def ledgers(tmp_path):
    return sorted((tmp_path / "ledgers").rglob("ledger.jsonl"))


def test_12_a_stop_makes_it_a_second_stop_extends_it(kept, workspace, tmp_path):
    session = kept.create(agent_name="demo", workspace_path=workspace)
    session.prompt("@@say one").result(timeout=20)
    assert ledgers(tmp_path) == []
    session.stop()
    (path,) = ledgers(tmp_path)
    assert path.parent.name == session.id
    for _ in range(2):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        rows = kept.events(session.id)
        assert [line["event_id"] for line in lines[1:]] == [row.id for row in rows]
        kept.resume(session.id).stop()


def test_12_a_clear_makes_none_and_takes_the_old_one(kept, workspace, tmp_path):
    session = kept.create(agent_name="demo", workspace_path=workspace)
    session.stop()
    assert ledgers(tmp_path)
    live = kept.clear_conversation(session.id)
    assert ledgers(tmp_path) == []
    fresh = kept.clear_conversation(live.id)
    assert ledgers(tmp_path) == []
    fresh.stop()
    assert ledgers(tmp_path)


def test_14_a_delete_takes_it(kept, workspace, tmp_path):
    session = kept.create(agent_name="demo", workspace_path=workspace)
    kept.delete(session.id)
    assert ledgers(tmp_path) == []


def test_10_1_a_ledger_that_can_not_be_made_is_told_and_the_session_is_stopped(
    kept, workspace, tmp_path
):
    session = kept.create(agent_name="demo", workspace_path=workspace)
    session.stop()
    (path,) = ledgers(tmp_path)
    path.write_text(path.read_text() + "{}\n")
    resumed = kept.resume(session.id)
    with pytest.raises(ExceptionGroup) as caught:
        resumed.stop()
    assert caught.group_contains(LedgerExistsError)
    assert str(kept.status(session.id).state) == "stopped"
