"""04 9, DESIGN 5.17: process records outlive the runtime; what it left running is ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from greenroom.actors import SessionManager
from greenroom.actors.errors import ScopedInterruptNotFoundError, StorageError
from greenroom.actors.manager.process_records import PROCESSES_FILE, JournalProcessStore
from greenroom.transport.agent import process_store
from greenroom.transport.agent.process_store import ProcessQuery, StateChange
from greenroom.transport.agent.tool_records import (
    ProcessOwner,
    ProcessRecord,
    ProcessSource,
    ProcessState,
)

NOON = datetime(2026, 4, 3, 12, tzinfo=UTC)
RUNNING = ProcessRecord(
    id="proc-1",
    source=ProcessSource.ACP_AGENT,
    owner=ProcessOwner(session_id="sess-1"),
    pid=77,
    process_group_id=77,
    command="agent",
    args=("--flag",),
    cwd="/ws",
    started_at=NOON,
    start_mark="boot:1",
    started_by_pid=1,
    state=ProcessState.RUNNING,
    created_at=NOON,
    updated_at=NOON,
)
EVERYTHING = ProcessQuery()


def test_9_records_are_there_after_a_restart(tmp_path):
    path = tmp_path / PROCESSES_FILE
    store = JournalProcessStore(path)
    store.upsert(RUNNING)
    ended = replace(RUNNING, id="proc-2", updated_at=NOON + timedelta(seconds=1))
    store.upsert(ended)
    change = StateChange(ProcessState.COMPLETED, NOON + timedelta(hours=1), exit_code=0)
    store.update_state("proc-2", change)
    with pytest.raises(ScopedInterruptNotFoundError):
        store.update_state("proc-9", change)
    before = store.list(EVERYTHING)
    # Nothing is closed: a killed runtime does not close either.
    again = JournalProcessStore(path)
    assert again.list(EVERYTHING) == before == [RUNNING, change.of(ended)]
    assert again.list(ProcessQuery(active_only=True)) == [RUNNING]


def test_9_ended_records_are_bounded_on_disk_too(tmp_path, monkeypatch):
    monkeypatch.setattr(process_store, "ENDED_RECORDS_MAX", 3)
    store = JournalProcessStore(tmp_path / PROCESSES_FILE)
    for number in range(9):
        at = NOON + timedelta(seconds=number)
        state = ProcessState.COMPLETED
        store.upsert(replace(RUNNING, id=f"proc-{number}", state=state, updated_at=at))
    store.upsert(replace(RUNNING, id="alive"))
    store.close()
    again = JournalProcessStore(tmp_path / PROCESSES_FILE)
    assert [r.id for r in again.list(EVERYTHING)] == ["alive", "proc-6", "proc-7", "proc-8"]
    assert len(again._places) == 4


def test_9_what_can_not_be_written_is_not_kept(tmp_path):
    store = JournalProcessStore(tmp_path / PROCESSES_FILE)
    store.close()
    with pytest.raises(StorageError):
        store.upsert(RUNNING)
    assert store.list(EVERYTHING) == []


RUNTIME = """
import os, sys
from greenroom.actors import SessionManager

home, workspace, *argv = sys.argv[1:]
manager = SessionManager(home=home, agents={"stubborn": argv})
session = manager.create(agent_name="stubborn", workspace_path=workspace)
print(session.agent_pid, flush=True)
os.kill(os.getpid(), 9)
"""

STUBBORN = """
    import signal, threading, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(2):
        asked = read()
        if asked.get("method") == "initialize":
            send(id=asked["id"], result={"protocolVersion": 1, "agentCapabilities": {}})
        else:
            send(id=asked["id"], result={"sessionId": "acp-1"})
    while True:
        time.sleep(60)
"""


def test_5_17_what_a_killed_runtime_left_running_is_ended_at_the_next_start(
    home, workspace, script, tmp_path
):
    """An agent that ignores the end of its input and SIGTERM is still ours, and is ended."""
    program = tmp_path / "runtime.py"
    program.write_text(textwrap.dedent(RUNTIME))
    argv = script(STUBBORN)
    ran = subprocess.run(
        [sys.executable, str(program), str(home), workspace, *argv],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL
    pid = json.loads(ran.stdout)
    os.kill(pid, 0)
    with SessionManager(home=home) as manager:
        stored = manager._runtime.driver.processes._store
        deadline = time.monotonic() + 30
        while manager._hub.call(stored.list, ProcessQuery(active_only=True)):
            assert time.monotonic() < deadline, "it is still there"
        assert not is_running(pid)
    store = JournalProcessStore(home / PROCESSES_FILE)
    (record,) = store.list(EVERYTHING)
    assert (record.pid, record.state) == (pid, ProcessState.INTERRUPTED)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_5_17_a_process_that_got_the_pid_since_is_left_alone(home):
    home.mkdir(mode=0o700)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    store = JournalProcessStore(home / PROCESSES_FILE)
    store.upsert(replace(RUNNING, pid=other.pid, process_group_id=other.pid))
    store.close()
    with SessionManager(home=home):
        pass
    assert other.poll() is None
    store = JournalProcessStore(home / PROCESSES_FILE)
    (record,) = store.list(EVERYTHING)
    assert record.state is ProcessState.STALE
    other.communicate(b"\n", timeout=20)
