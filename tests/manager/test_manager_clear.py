"""01 13, 03 12.1: clearing a conversation of real sessions, here and from another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from greenroom.actors import (
    PromptInProgressError,
    SessionManager,
    SessionNotActiveError,
    SessionNotFoundError,
    State,
)
from greenroom.actors.errors import AgentStartError, SessionError, StorageError
from greenroom.actors.manager.clearing import ClearVerbs
from greenroom.storage.failpoints import FailPoint, arm, disarm
from greenroom.transport import Subscriber


def leftovers(home, session_id):
    return [n for n in os.listdir(home / "sessions" / session_id) if "clear-" in n]


def test_13_10_the_same_session_an_empty_history(manager, session, home):
    session.prompt("@@say one").result(timeout=20)
    first = manager.events(session.id)
    acp = session.acp_session_id
    fresh = manager.clear_conversation(session.id)
    assert (fresh.id, fresh.state) == (session.id, State.ACTIVE)
    assert fresh.acp_session_id != acp
    assert manager.events(session.id) == ()
    assert manager.transcript(session.id) == ()
    fresh.prompt("@@say two").result(timeout=20)
    rows = manager.events(session.id)
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    assert {row.epoch for row in rows} == {first[-1].epoch + 1}
    assert not {row.id for row in rows} & {row.id for row in first}
    assert leftovers(home, session.id) == []
    # The generation advanced with it (DESIGN 5.7).
    assert manager.input_queue_summary(session.id).queue_generation == 1


def test_13_1_a_stored_session_is_cleared_too(manager, session):
    session.prompt("@@say one").result(timeout=20)
    session.stop()
    fresh = manager.clear_conversation(session.id)
    assert fresh.state is State.ACTIVE
    assert manager.events(session.id) == ()
    assert manager.status(session.id).stop_reason is None


def test_13_1_a_working_or_unknown_session_is_refused(manager, session):
    stream = session.prompt("@@say one\n@@hang")
    before = manager.events(session.id)
    with pytest.raises(PromptInProgressError):
        manager.clear_conversation(session.id)
    assert manager.events(session.id)[: len(before)] == before
    session.cancel()
    stream.result(timeout=20)
    with pytest.raises(SessionNotFoundError):
        manager.clear_conversation("sess-unknown")


def test_10_a_subscriber_is_fenced_and_goes_on_with_the_new_conversation(manager, session):
    with Subscriber(manager.endpoints, session_id=session.id) as subscriber:
        session.prompt("@@say one").result(timeout=20)
        rows = manager.events(session.id)
        seen = []
        while len(seen) < len(rows):
            seen += subscriber.read(timeout=10)
        fresh = manager.clear_conversation(session.id)
        fresh.prompt("@@say two").result(timeout=20)
        rows, after = manager.events(session.id), []
        while len(after) < len(rows):
            got = subscriber.read(timeout=10)
            after += [row for row in got if row.epoch == rows[0].epoch]
    assert [(r.epoch, r.sequence, r.id) for r in after] == [
        (r.epoch, r.sequence, r.id) for r in rows
    ]
    assert after[0].sequence == 1


def test_13_an_agent_that_does_not_start_leaves_the_old_history(home, workspace, script):
    works = script("""
        while True:
            asked = read()
            if asked.get("method") == "initialize":
                send(id=asked["id"], result={"protocolVersion": 1, "agentCapabilities": {}})
            elif asked.get("method") == "session/new":
                send(id=asked["id"], result={"sessionId": "acp-1"})
            elif asked.get("method") == "session/prompt":
                send(id=asked["id"], result={"stopReason": "end_turn"})
    """)
    with SessionManager(home=home, agents={"fragile": works}) as manager:
        session = manager.create(agent_name="fragile", workspace_path=workspace)
        session.prompt("hello").result(timeout=20)
        session.stop()
        before, meta = manager.events(session.id), manager.status(session.id)
        Path(works[-1]).write_text("raise SystemExit(3)")
        with pytest.raises(AgentStartError):
            manager.clear_conversation(session.id)
        assert manager.events(session.id) == before
        assert manager.status(session.id) == meta
        assert leftovers(home, session.id) == []


@pytest.mark.parametrize("point", [FailPoint.CLEAR_PARTS, FailPoint.CLEAR_BACKED_UP])
def test_13_files_that_can_not_be_moved_leave_the_old_history(manager, session, home, point):
    session.prompt("@@say one").result(timeout=20)
    session.stop()
    before, meta = manager.events(session.id), manager.status(session.id)

    def fail():
        raise OSError(5, "the disk says no")

    arm(point, fail)
    try:
        with pytest.raises(StorageError):
            manager.clear_conversation(session.id)
    finally:
        disarm()
    assert manager.events(session.id) == before
    assert manager.status(session.id) == meta
    assert leftovers(home, session.id) == []
    assert manager.resume(session.id).state is State.ACTIVE


def test_13_8_a_clear_that_can_not_be_committed_stops_the_agent_first(
    manager, session, home, monkeypatch
):
    session.prompt("@@say one").result(timeout=20)
    session.stop()
    before = manager.events(session.id)

    def refuse(fs, directory):
        raise StorageError("the marker was not written", operation="clear")

    monkeypatch.setattr("greenroom.storage.stored_sessions.commit_clear", refuse)
    with pytest.raises(StorageError):
        manager.clear_conversation(session.id)
    assert manager.get(session.id) is None
    assert manager.events(session.id) == before
    assert leftovers(home, session.id) == []


def test_13_nobody_else_starts_reads_or_clears_it_meanwhile(manager, session, monkeypatch):
    """Improve: a read waits for the end of the clear and sees one conversation, whole."""
    import threading

    session.prompt("@@say one").result(timeout=20)
    replace, told = ClearVerbs._replace, {}

    def slowly(self, plan, stored, timeout):
        for name, call in (
            ("clear", lambda: manager.clear_conversation(session.id)),
            ("resume", lambda: manager.delete(session.id)),
        ):
            try:
                self._runtime.off_hub(call)
            except SessionError as error:
                told[name] = type(error)
        reading = threading.Thread(target=lambda: told.update(rows=manager.events(session.id)))
        reading.start()
        told["thread"] = reading
        return replace(self, plan, stored, timeout)

    monkeypatch.setattr(ClearVerbs, "_replace", slowly)
    manager.clear_conversation(session.id)
    told["thread"].join(20)
    assert told["rows"] == ()
    assert told["clear"] is told["resume"] is SessionNotActiveError


CLEARER = """
import json, os, sys
from greenroom.actors import SessionManager
from greenroom.storage.failpoints import FailPoint, arm

home, workspace, point = sys.argv[1:]
manager = SessionManager(home=home)
session = manager.create(agent_name="demo", workspace_path=workspace)
session.prompt("@@say one").result(timeout=20)
print(json.dumps([session.id, len(manager.events(session.id)), session.acp_session_id]))
sys.stdout.flush()
arm(FailPoint(point), lambda: os.kill(os.getpid(), 9))
manager.clear_conversation(session.id)
"""


@pytest.mark.parametrize(
    ("point", "left"),
    [
        ("clear.parts", "old"),
        ("clear.backed_up", "old"),
        ("clear.opened", "old"),
        ("clear.committed", "new"),
        ("clear.backups_gone", "new"),
    ],
)
def test_12_1_kill_9_of_the_runtime_at_each_step(home, workspace, tmp_path, point, left):
    program = tmp_path / "clearer.py"
    program.write_text(textwrap.dedent(CLEARER))
    ran = subprocess.run(
        [sys.executable, str(program), str(home), workspace, point],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    session_id, count, acp = json.loads(ran.stdout)
    with SessionManager(home=home) as manager:
        rows = manager.events(session_id)
        meta = manager.status(session_id)
        if left == "old":
            assert [row.type for row in rows[count:]] == ["session_stopped"]
            assert meta.acp_session_id == acp
        else:
            assert rows == ()
            assert meta.acp_session_id != acp
        assert meta.state is State.STOPPED
        assert leftovers(home, session_id) == []
        session = manager.resume(session_id)
        assert session.prompt("@@say on").result(timeout=20).type == "done"
        after = manager.events(session_id)
        assert [row.sequence for row in after] == list(range(1, len(after) + 1))
        assert after[: len(rows)] == rows
