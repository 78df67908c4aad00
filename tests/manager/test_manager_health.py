"""05 2.5-2.7: the health of real sessions, as it is stored and as it is asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
from greenroom.actors import (
    InvalidSessionHealthError,
    SessionHealthConfig,
    SessionManager,
    SessionNotFoundError,
)
from greenroom.actors.manager.remote import RemoteSessionManager
from greenroom.storage import JournalHealthStore
from greenroom.storage.catalog import CATALOG_FILE
from greenroom.storage.table_storage import JournalStorage


def said(row):
    return str(row.state), str(row.health), str(row.ineligibility_reason)


IDLE = ("idle", "healthy", "")
PROMPTING = ("prompting", "healthy", "session_prompt_active")
STOPPED = ("stopped", "dead", "session_health_dead")


def stored(manager, session_id):
    """The row on disk, after what waits for it was written."""
    keeper = manager._runtime.health
    manager._hub.call(lambda: keeper.flush().get())
    return manager._hub.call(manager._runtime.off_hub, keeper.store.get_session_health, session_id)


def test_2_5_rows_follow_the_life_of_a_session(manager, session):
    assert said(stored(manager, session.id)) == IDLE
    stream = session.prompt("@@say one\n@@hang")
    assert said(stored(manager, session.id)) == PROMPTING
    session.cancel()
    stream.result(timeout=20)
    manager.wait_for_prompt_drains(timeout=20)
    assert said(stored(manager, session.id)) == IDLE, "the last row after a turn is idle"
    session.stop()
    assert said(stored(manager, session.id)) == STOPPED


def test_2_6_looking_is_presence_and_presence_waits_while_a_prompt_runs(manager, session):
    first = manager.get_session_health(session.id)
    again = manager.touch_session_presence(session.id)
    assert said(again) == IDLE
    assert again.last_presence_at >= first.last_presence_at
    assert again.eligible_for_wake
    stream = session.prompt("@@say one\n@@hang")
    during = manager.get_session_health(session.id)
    assert said(during) == PROMPTING
    assert during.last_presence_at >= again.last_presence_at
    assert manager.get_session_health(session.id).last_presence_at == during.last_presence_at
    session.cancel()
    stream.result(timeout=20)


def test_2_6_a_stored_session_is_computed_and_a_stranger_is_not_found(manager, session):
    session.stop()
    row = manager.get_session_health(session.id)
    assert said(row) == STOPPED
    assert manager.get_session_health(session.id).last_presence_at == row.last_presence_at
    for ask in (manager.get_session_health, manager.touch_session_presence):
        with pytest.raises(SessionNotFoundError):
            ask("sess-unknown")
    with pytest.raises(SessionNotFoundError):
        manager.touch_session_presence(session.id)


def test_2_6_lists_and_filters_here_and_from_beside(manager, home, session, workspace):
    other = manager.create(agent_name="demo", workspace_path=workspace)
    other.stop()
    rows = manager.list_session_health()
    assert {row.session_id: said(row) for row in rows} == {session.id: IDLE, other.id: STOPPED}
    assert [r.session_id for r in manager.list_session_health(state="stopped")] == [other.id]
    (only,) = manager.list_session_health(eligible_for_wake=True)
    assert only.session_id == session.id
    assert len(manager.list_session_health(limit=1)) == 1
    with RemoteSessionManager(home) as remote:
        (told,) = remote.list_session_health(session_id=other.id)
        assert said(told) == STOPPED
        assert said(remote.get_session_health(session.id)) == IDLE
    for wrong in ({"state": "asleep"}, {"limit": -1}):
        with pytest.raises(InvalidSessionHealthError):
            manager.list_session_health(**wrong)


def test_14_a_deleted_session_has_no_row(manager, session):
    manager.list_session_health()
    manager.delete(session.id)
    assert manager.list_session_health() == ()


KILLED = """
import os, sys
from greenroom.actors import SessionManager

manager = SessionManager(home=sys.argv[1])
session = manager.create(agent_name="demo", workspace_path=sys.argv[2])
manager.list_session_health()
print(session.id, flush=True)
os.kill(os.getpid(), 9)
"""


def test_2_7_rows_of_a_killed_runtime_are_brought_up_to_date_once(home, workspace, tmp_path):
    program = tmp_path / "killed.py"
    program.write_text(textwrap.dedent(KILLED))
    ran = subprocess.run(
        [sys.executable, str(program), str(home), workspace],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        env=os.environ.copy(),
    )
    assert ran.returncode == -signal.SIGKILL
    session_id = ran.stdout.strip()
    storage = JournalStorage(home / CATALOG_FILE)
    store = JournalHealthStore(storage)
    before = store.get_session_health(session_id)
    assert said(before) == IDLE
    store.upsert_session_health(replace(before, session_id="sess-gone"))
    storage.close()
    with SessionManager(home=home) as manager:
        report = manager.recover_session_health()
        assert (report.refreshed_active, report.recomputed) == (0, 2)
        assert manager.recover_session_health().recomputed == 0
        rows = {row.session_id: said(row) for row in manager.list_session_health()}
    assert rows == {
        session_id: STOPPED,
        "sess-gone": ("detached", "stale", "session_health_stale"),
    }


def test_2_10_a_home_without_a_store_computes_in_memory(home, workspace):
    with SessionManager(home=home, session_health_config=SessionHealthConfig(0)) as manager:
        assert manager._runtime.options.session_health_config.session_health_stale_after == 120.0
        manager._runtime.health.store = None
        session = manager.create(agent_name="demo", workspace_path=workspace)
        (row,) = manager.list_session_health()
        assert said(row) == IDLE
        assert manager.list_session_health(state="stopped") == ()
        assert manager.recover_session_health().refreshed_active == 1
        session.stop()
        assert said(manager.get_session_health(session.id)) == STOPPED


def test_2_5_a_store_that_fails_costs_a_session_nothing(home, workspace):
    class Broken:
        """Refuses every row."""

        refused = 0

        def upsert_session_health(self, row):
            Broken.refused += 1
            raise InvalidSessionHealthError("no")

    with SessionManager(home=home, session_health_store=Broken()) as manager:
        session = manager.create(agent_name="demo", workspace_path=workspace)
        assert session.prompt("@@say one").result(timeout=20).type == "done"
        session.stop()
    assert Broken.refused
