"""Whole-file replacement: the new file or the old one, durable, and no temporary left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from greenroom.actors.errors import StorageError
from greenroom.storage import files
from greenroom.storage.atomic_file import TEMP_PREFIX, write_atomically


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_writes_content_and_mode_whatever_the_umask(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "file"
    old = os.umask(0o077)
    try:
        write_atomically(target, b"x" * 100_000, mode=0o644)
    finally:
        os.umask(old)
    assert target.read_bytes() == b"x" * 100_000
    assert target.stat().st_mode & 0o777 == 0o644
    assert names(target.parent) == ["file"]


def test_replaces_and_keeps_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_atomically(target, b"old")
    write_atomically(target, b"", mode=0o600)
    assert target.read_bytes() == b""
    assert target.stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["file"]


def test_order_is_chmod_write_sync_rename_sync_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def spy(name: str) -> None:
        real = getattr(os, name)

        def call(*args: object, **kwargs: object) -> object:
            seen.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    for name in ("write", "fchmod", "fdatasync", "fsync", "rename"):
        spy(name)
    write_atomically(tmp_path / "file", b"data")
    assert seen == ["fchmod", "write", "fdatasync", "rename", "fsync"]


@pytest.mark.parametrize("call", ["open", "write", "fchmod", "fdatasync", "rename"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_each_failing_call_leaves_the_old_file_and_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    target = tmp_path / "file"
    write_atomically(target, b"old")

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageError) as caught:
        write_atomically(target, b"new")
    assert (caught.value.fields["path"], caught.value.operation) == (str(target), "write")
    assert isinstance(caught.value.__cause__, OSError)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, bytes(data)[:3]))
    write_atomically(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_failed_directory_sync_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(files.OsFileSystem, "sync_directory", fail)
    with pytest.raises(StorageError):
        write_atomically(tmp_path / "file", b"new")
    assert names(tmp_path) == ["file"]


def test_an_interrupt_also_removes_the_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"new")
    assert names(tmp_path) == []


def test_parent_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        write_atomically(tmp_path / "file" / "inner", b"new")


def test_the_drive_cache_is_flushed_where_fsync_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(files, "_FULL_SYNC", 51)
    monkeypatch.setattr(files.fcntl, "fcntl", lambda handle, command: seen.append(command))
    write_atomically(tmp_path / "file", b"new")
    assert seen == [51]


def test_temporary_has_the_documented_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = os.rename

    def rename(source: str, target: str) -> None:
        seen.append(os.path.basename(source))
        assert Path(source).parent == Path(target).parent
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    write_atomically(tmp_path / "file", b"new")
    assert seen[0].startswith(TEMP_PREFIX)
    assert TEMP_PREFIX == ".greenroom-atomic-"
