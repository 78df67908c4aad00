"""meta.json: checked both ways, written as a whole, readable again."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.errors import SessionNotFoundError, StorageError, StoreValidationError
from greenroom.actors.model.failure import FailureKind, SessionFailure
from greenroom.actors.model.session import (
    SessionLineage,
    SessionLivenessMeta,
    SessionMeta,
    SessionType,
    StallState,
    State,
    StopReason,
)
from greenroom.storage.meta import META_BYTES_MAX, decode_meta, encode_meta, read_meta, write_meta
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 4, 3, 10, 0, 0, 123456, tzinfo=UTC)
ROOT = SessionLineage(root_session_id="sess-1")
SMALL = SessionMeta("sess-1", "claude", "ws-1", State.ACTIVE, NOW, NOW, lineage=ROOT)
FULL = SessionMeta(
    id="sess-1",
    agent_name="claude",
    workspace_id="ws-1",
    state=State.STOPPED,
    created_at=NOW,
    updated_at=NOW + timedelta(seconds=1),
    name="näme",
    provider="anthropic",
    model="m",
    reasoning_effort="high",
    effective_permissions="approve-reads",
    channel="c",
    session_type=SessionType.SPAWNED,
    lineage=SessionLineage("root", "parent", 2),
    stop_reason=StopReason.AGENT_CRASHED,
    stop_detail="gone",
    failure=SessionFailure(FailureKind.PROCESS_EXIT, "s", "/b"),
    acp_session_id="acp",
    liveness=SessionLivenessMeta(7, NOW, NOW, StallState.STALLED, "activity_timeout"),
)


def changed(**members: Any) -> bytes:
    document = json.loads(encode_meta(FULL))
    document.update(members)
    return json.dumps(document).encode()


@pytest.mark.parametrize("meta", [SMALL, FULL])
def test_what_is_written_is_read(tmp_path: Path, meta: SessionMeta) -> None:
    path = tmp_path / "sessions" / "sess-1" / "meta.json"
    write_meta(path, meta)
    assert read_meta(path) == meta
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ["meta.json"]


def test_form_on_disk_is_indented_and_leaves_out_what_is_empty() -> None:
    text = encode_meta(SMALL).decode()
    assert text.startswith('{\n  "id": "sess-1",\n')
    assert text.endswith("}\n")
    assert json.loads(text) == {
        "id": "sess-1",
        "agent_name": "claude",
        "workspace_id": "ws-1",
        "state": "active",
        "created_at": "2026-04-03T10:00:00.123456Z",
        "updated_at": "2026-04-03T10:00:00.123456Z",
        "session_type": "user",
        "lineage": {"root_session_id": "sess-1", "spawn_depth": 0},
    }


def test_an_empty_liveness_is_left_out() -> None:
    assert b"liveness" not in encode_meta(replace(SMALL, liveness=SessionLivenessMeta()))
    kept = encode_meta(replace(SMALL, liveness=SessionLivenessMeta(last_update_at=NOW)))
    assert json.loads(kept)["liveness"] == {"last_update_at": "2026-04-03T10:00:00.123456Z"}


def test_times_are_written_in_utc() -> None:
    east = NOW.astimezone(timezone(timedelta(hours=2)))
    assert decode_meta(encode_meta(replace(SMALL, created_at=east))) == SMALL


def test_unknown_null_and_empty_members_read_as_empty() -> None:
    data = changed(
        unknown={"a": [1]},
        name=None,
        provider="",
        acp_session_id=None,
        stop_reason="",
        failure={"kind": "", "summary": ""},
        lineage=None,
        liveness={"activity": None, "novel": 1},
    )
    meta = decode_meta(data)
    assert (meta.name, meta.provider, meta.acp_session_id) == ("", "", "")
    assert (meta.stop_reason, meta.failure) == (None, None)
    assert meta.lineage == ROOT
    assert meta.liveness == SessionLivenessMeta()


@pytest.mark.parametrize(
    ("stored", "read"),
    [(" dream ", SessionType.DREAM), ("novel", SessionType.USER), (7, SessionType.USER)],
)
def test_an_unknown_session_type_is_user(stored: object, read: SessionType) -> None:
    assert decode_meta(changed(session_type=stored)).session_type is read


def test_an_unknown_state_is_kept() -> None:
    meta = decode_meta(changed(state="orphaned"))
    assert meta.state == "orphaned"
    assert decode_meta(encode_meta(meta)) == meta


BAD: list[tuple[dict[str, Any], str]] = [
    ({"id": ""}, "id"),
    ({"id": " "}, "id"),
    ({"id": 7}, "id"),
    ({"agent_name": None}, "agent_name"),
    ({"workspace_id": "\t"}, "workspace_id"),
    ({"state": ""}, "state"),
    ({"state": 3}, "state"),
    ({"created_at": ""}, "created_at"),
    ({"created_at": "yesterday"}, "created_at"),
    ({"updated_at": "2026-04-03T10:00:00"}, "updated_at"),
    ({"updated_at": "0001-01-01T00:00:00+14:00"}, "updated_at"),
    ({"stop_reason": "bogus"}, "stop_reason"),
    ({"failure": {"summary": "no kind"}}, "failure.kind"),
    ({"failure": {"kind": "bogus"}}, "failure.kind"),
    ({"liveness": {"subprocess_pid": -1}}, "liveness.subprocess_pid"),
    ({"liveness": {"subprocess_started_at": "2026-04-03T10:00:00"}},
     "liveness.subprocess_started_at"),
    ({"liveness": {"stall_state": "dizzy", "stall_reason": "r"}}, "liveness.stall_state"),
    ({"liveness": {"stall_state": "stalled"}}, "liveness.stall_reason"),
    ({"liveness": {"stall_reason": "r"}}, "liveness.stall_state"),
    ({"lineage": {"spawn_depth": -1}}, "lineage.spawn_depth"),
    ({"lineage": {"spawn_depth": 1}}, "lineage.spawn_depth"),
    ({"lineage": {"root_session_id": "other"}}, "lineage.root_session_id"),
    ({"lineage": {"parent_session_id": "p", "root_session_id": "r"}}, "lineage.spawn_depth"),
    ({"lineage": {"parent_session_id": "p", "spawn_depth": 1}}, "lineage.root_session_id"),
    ({"lineage": {"parent_session_id": "sess-1", "root_session_id": "r", "spawn_depth": 1}},
     "lineage.root_session_id"),
]


@pytest.mark.parametrize(("members", "field"), BAD)
def test_bad_content_names_its_field(members: dict[str, Any], field: str) -> None:
    with pytest.raises(StoreValidationError) as caught:
        decode_meta(changed(**members), "sess-1")
    assert caught.value.field == field
    assert "sess-1" in str(caught.value) or members.get("id") is not None


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b" " * (META_BYTES_MAX + 1)]
)
def test_what_is_no_object_names_no_field(data: bytes) -> None:
    with pytest.raises(StoreValidationError) as caught:
        decode_meta(data, "sess-1")
    assert caught.value.field == ""


@given(st.binary(max_size=300))
def test_any_bytes_are_a_document_or_a_validation_error(data: bytes) -> None:
    with contextlib.suppress(StoreValidationError):
        decode_meta(data)


@pytest.mark.parametrize(
    ("meta", "field"),
    [
        (replace(SMALL, workspace_id=" "), "workspace_id"),
        (replace(SMALL, created_at=datetime(2026, 1, 1)), "created_at"),
        (replace(SMALL, lineage=SessionLineage(root_session_id="x")), "lineage.root_session_id"),
        (replace(SMALL, name="\ud800"), ""),
    ],
)
def test_a_bad_document_is_not_written(tmp_path: Path, meta: SessionMeta, field: str) -> None:
    path = tmp_path / "meta.json"
    write_meta(path, SMALL)
    with pytest.raises(StoreValidationError) as caught:
        write_meta(path, meta)
    assert caught.value.field == field
    assert read_meta(path) == SMALL


def test_a_missing_file_is_an_unknown_session(tmp_path: Path) -> None:
    for path in (tmp_path / "sess-9" / "meta.json", tmp_path / "sess-9"):
        with pytest.raises(SessionNotFoundError):
            read_meta(path)
    with pytest.raises(SessionNotFoundError) as caught:
        read_meta(tmp_path / "sess-9" / "meta.json")
    assert caught.value.session_id == "sess-9"


def test_what_can_not_be_read_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        read_meta(tmp_path)
    assert not isinstance(caught.value, StoreValidationError)


WRITER = """
import dataclasses, sys
from pathlib import Path
from greenroom.storage.meta import read_meta, write_meta
path, number = Path(sys.argv[1]), sys.argv[2]
meta = read_meta(path)
for round in range(20):
    write_meta(path, dataclasses.replace(meta, name=number * 2000, stop_detail=number))
    seen = read_meta(path)
    assert seen.name == seen.stop_detail * 2000, seen.stop_detail
"""


def test_25_processes_write_one_meta_and_it_is_always_whole(tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    write_meta(path, SMALL)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), chr(ord("a") + number)])
        for number in range(25)
    ]
    assert [writer.wait(100) for writer in writers] == [0] * 25
    meta = read_meta(path)
    assert meta.name == meta.stop_detail * 2000
    assert [entry.name for entry in tmp_path.iterdir()] == ["meta.json"]
