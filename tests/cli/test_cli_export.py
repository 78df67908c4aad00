"""``greenroom export``: everything of a session, in three forms, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from datetime import UTC, datetime

import cbor2
import pytest
from greenroom.actors import EventQuery, SessionError, SessionManager
from greenroom.actors.cli import export as module
from greenroom.actors.model.event import AgentEvent, SessionEvent
from greenroom.storage import ReadOnlySessionStore


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def greenroom(home, tmp_path):
    def run(*args):
        return subprocess.run(
            [sys.executable, "-m", "greenroom.actors.cli", *map(str, args)],
            env={**os.environ, "GREENROOM_HOME": str(home), "GREENROOM_DEMO_PACE": "0"},
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def stored(greenroom, home):
    """A stopped session with a decided permission; its id."""
    ran = greenroom("run", "--yes", "@@say hello\n@@run true")
    assert ran.returncode == 0, ran.stderr
    (session_id,) = os.listdir(home / "sessions")
    return session_id


def test_every_value_of_a_session_as_json_lines(greenroom, stored, home):
    ran = greenroom("export", stored)
    assert ran.returncode == 0, ran.stderr
    values = [json.loads(line) for line in ran.stdout.splitlines()]
    head, *rest = values
    assert (head["type"], head["version"], head["session"]["id"]) == ("session", 1, stored)
    events = [value for value in rest if value["type"] == "event"]
    store = ReadOnlySessionStore.open(str(home / "sessions" / stored), stored)
    rows = store.query(EventQuery())
    assert [(e["epoch"], e["sequence"], e["id"], e["event_type"]) for e in events] == [
        (row.epoch, row.sequence, row.id, row.type) for row in rows
    ]
    assert head["rows"] == len(rows)
    assert [e["event"].get("text", "") for e in events] == [row.event.text for row in rows]
    kinds = [value["type"] for value in rest if value["type"] != "event"]
    assert kinds == ["permission"]
    assert values[-1]["permission"]["decision"] == "allow-once"
    assert f"{len(rows)} rows" in ran.stderr.decode()


def test_the_same_values_as_a_cbor_sequence(greenroom, stored, tmp_path):
    lines = [json.loads(line) for line in greenroom("export", stored).stdout.splitlines()]
    target = tmp_path / "session.cbor"
    ran = greenroom("export", stored, "--format", "cbor", "-o", target)
    assert (ran.returncode, ran.stdout) == (0, b"")
    items, file = [], io.BytesIO(target.read_bytes())
    decoder = cbor2.CBORDecoder(file)
    while file.tell() < len(target.read_bytes()):
        items.append(decoder.decode())
    assert items == lines


def test_an_archive_is_the_session_itself(greenroom, stored, home, tmp_path):
    target = tmp_path / "session.tar.gz"
    ran = greenroom("export", stored, "--format", "archive", "--output", target)
    assert ran.returncode == 0, ran.stderr
    with tarfile.open(target) as archive:
        manifest = json.load(archive.extractfile("MANIFEST.json"))
        files = {
            m.name: archive.extractfile(m).read() for m in archive if m.name in manifest["files"]
        }
        other = tmp_path / "other"
        (other / "sessions").mkdir(parents=True, mode=0o700)
        archive.extractall(other / "sessions", filter="data")
    assert set(files) == set(manifest["files"])
    for name, data in files.items():
        told = manifest["files"][name]
        assert (len(data), hashlib.sha256(data).hexdigest()) == (told["bytes"], told["sha256"])
        assert (home / "sessions" / name).read_bytes() == data
    with SessionManager(home=home) as one, SessionManager(home=other) as two:
        assert one.events(stored) == two.events(stored) != ()
        assert one.permission_log(stored) == two.permission_log(stored) != ()


def test_a_session_that_runs_is_exported_by_its_runtime(greenroom, home, tmp_path):
    with SessionManager(home=home) as manager:
        session = manager.create(agent_name="demo", workspace_path=str(tmp_path))
        session.prompt("@@say live").result(timeout=20)
        ran = greenroom("export", session.id)
        assert ran.returncode == 0, ran.stderr
        assert len(ran.stdout.splitlines()) >= len(manager.events(session.id)) + 1
        ran = greenroom("export", session.id, "--format", "archive", "-o", tmp_path / "x")
        assert ran.returncode == 1
        assert b"stop it first" in ran.stderr
        assert not list(tmp_path.glob("x*"))


def test_what_fails_leaves_no_file(greenroom, stored, tmp_path):
    ran = greenroom("export", "sess-unknown", "-o", tmp_path / "out")
    assert ran.returncode == 3
    ran = greenroom("export", stored, "-o", tmp_path / "nowhere" / "out")
    assert (ran.returncode, len(ran.stderr.splitlines())) == (1, 1)
    assert not list(tmp_path.glob("out*"))


class Pages:
    """A manager whose history is long, or cleared while it is read."""

    def __init__(self, count, cleared_at=0):
        self.count, self.cleared_at = count, cleared_at
        self.largest = 0

    def events(self, session_id, *, after_sequence, limit, order):
        assert order == "head"
        self.largest = max(self.largest, limit)
        first = after_sequence + 1
        if self.cleared_at and after_sequence >= self.cleared_at:
            first = 1
        now = datetime.now(UTC)
        return tuple(
            SessionEvent(
                id=f"ev-{n}",
                session_id=session_id,
                epoch=1,
                sequence=n,
                turn_id="t",
                type="system",
                agent_name="a",
                timestamp=now,
                content="",
                event=AgentEvent(type="system"),
            )
            for n in range(first, min(first + limit, self.count + 1))
        )


def test_a_long_history_is_read_in_pages():
    pages = Pages(3 * module.PAGE_ROWS + 7)
    rows = module._rows(pages, "s0", pages.count)
    assert [row.sequence for row in rows] == list(range(1, pages.count + 1))
    assert pages.largest == module.PAGE_ROWS


def test_a_clear_meanwhile_is_told():
    pages = Pages(3 * module.PAGE_ROWS, cleared_at=module.PAGE_ROWS)
    with pytest.raises(SessionError):
        list(module._rows(pages, "s0", pages.count))
