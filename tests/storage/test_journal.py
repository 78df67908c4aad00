"""Journals on real files: torn tails, failing calls, and going on after them."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.errors import (
    StorageError,
    StoreClosedError,
    StoreCorruptError,
    StoreSyncFailedError,
    StoreValidationError,
)
from greenroom.storage import files
from greenroom.storage.failpoints import FailPoint, arm
from greenroom.storage.files import OsFileSystem
from greenroom.storage.format.records import FRAME_BYTES, encode_header
from greenroom.storage.journal import Journal, RecoveryReport, open_journal, read_journal

HEADER = len(encode_header("test", "j"))


class Opened:
    """A journal and what its replay showed."""

    def __init__(self, path: Path, fs: Any = None, **options: Any) -> None:
        self.seen: list[bytes] = []
        self.places: list[int] = []
        options = {"kind": "test", "name": "j", **options}
        self.journal: Journal = open_journal(
            fs or OsFileSystem(), str(path), replay=self._replay, **options
        )

    def _replay(self, offset: int, payload: bytes) -> None:
        self.places.append(offset)
        self.seen.append(payload)


def payload(number: int) -> bytes:
    return b"%d " % number * (number % 7 + 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "j.journal"


@pytest.fixture
def sixty_four(path: Path) -> list[int]:
    """A journal of 64 records; returns the offset at which each ends."""
    journal = Opened(path).journal
    ends = []
    for number in range(64):
        journal.append([payload(number)])
        ends.append(journal.end)
    journal.close()
    return ends


def test_every_cut_recovers_the_last_whole_record_and_goes_on(
    path: Path, sixty_four: list[int]
) -> None:
    whole = path.read_bytes()
    assert len(whole) == sixty_four[-1]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = sum(1 for end in sixty_four if end <= cut)
        good = sixty_four[kept - 1] if kept else HEADER if cut >= HEADER else 0
        opened = Opened(path, sync_name=False)
        assert opened.seen == [payload(number) for number in range(kept)], cut
        assert opened.journal.report.torn_bytes == cut - good, cut
        assert opened.journal.report.damage is None
        opened.journal.append([b"after the cut"])
        opened.journal.close()
        again = Opened(path)
        assert again.seen[kept:] == [b"after the cut"], cut
        assert again.journal.report.torn_bytes == 0
        again.journal.close()


@pytest.mark.parametrize("length", [0, 1, HEADER - 1, HEADER])
def test_a_file_whose_header_never_reached_the_medium_is_begun_anew(
    path: Path, length: int
) -> None:
    path.write_bytes(bytes(length))
    opened = Opened(path)
    assert opened.journal.report.torn_bytes == length
    opened.journal.append([payload(1)])
    opened.journal.close()
    assert Opened(path).seen == [payload(1)]


@pytest.mark.parametrize("found", [b"{}", bytes(HEADER + 1), bytes(3) + b"x"])
def test_a_file_that_is_no_journal_is_left_alone(path: Path, found: bytes) -> None:
    path.write_bytes(found)
    with pytest.raises(StoreCorruptError):
        Opened(path)
    assert path.read_bytes() == found


def test_damage_before_whole_records_is_refused_and_untouched(
    path: Path, sixty_four: list[int]
) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[sixty_four[9] + FRAME_BYTES] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StoreCorruptError) as caught:
        Opened(path)
    assert (caught.value.path, caught.value.offset) == (str(path), sixty_four[9])
    assert path.read_bytes() == damaged


def test_reading_serves_the_prefix_before_damage_and_reports_it(
    path: Path, sixty_four: list[int]
) -> None:
    damaged = bytearray(path.read_bytes())
    damaged[sixty_four[9] + FRAME_BYTES] ^= 1
    path.write_bytes(damaged)
    seen: list[bytes] = []
    file, report = read_journal(
        OsFileSystem(), str(path), kind="test", name="j", replay=lambda _, data: seen.append(data)
    )
    file.close()
    assert seen == [payload(number) for number in range(10)]
    assert report == RecoveryReport(str(path), 10, sixty_four[9], damage=sixty_four[9])


def test_reading_leaves_a_torn_tail_and_makes_no_file(path: Path, sixty_four: list[int]) -> None:
    cut = path.read_bytes()[:-3]
    path.write_bytes(cut)
    os.chmod(path, 0o400)
    file, report = read_journal(
        OsFileSystem(), str(path), kind="test", name="j", replay=lambda _, data: None
    )
    file.close()
    assert (report.records, report.torn_bytes) == (63, len(cut) - sixty_four[62])
    assert path.read_bytes() == cut
    missing = path.with_name("missing")
    with pytest.raises(StorageError):
        read_journal(
            OsFileSystem(), str(missing), kind="test", name="j", replay=lambda _, data: None
        )
    assert not missing.exists()


@pytest.mark.parametrize("open_", [Opened, lambda path, **owner: _read(path, **owner)])
@pytest.mark.parametrize(
    ("content", "owner"),
    [
        (b"no header at all", {}),
        (encode_header("test", "j"), {"name": "other"}),
        (encode_header("test", "j"), {"kind": "other"}),
    ],
)
def test_a_file_of_another_owner_is_refused(
    path: Path, content: bytes, owner: dict[str, str], open_: Callable[..., object]
) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreCorruptError) as caught:
        open_(path, **owner)
    assert caught.value.path == str(path)
    assert path.read_bytes() == content


def _read(path: Path, kind: str = "test", name: str = "j") -> None:
    read_journal(OsFileSystem(), str(path), kind=kind, name=name, replay=lambda _, data: None)


def test_a_record_that_its_reader_refuses_is_corruption(path: Path, sixty_four: list[int]) -> None:
    def refuse(offset: int, data: bytes) -> None:
        raise StoreValidationError("not mine")

    for open_ in (open_journal, read_journal):
        with pytest.raises(StoreCorruptError) as caught:
            open_(OsFileSystem(), str(path), kind="test", name="j", replay=refuse)
        assert caught.value.offset == HEADER


def test_records_are_read_back_where_append_put_them(path: Path) -> None:
    opened = Opened(path)
    places = opened.journal.append([b"one", b"three"])
    assert [opened.journal.read(at, size) for at, size in zip(places, (3, 5), strict=True)] == [
        b"one",
        b"three",
    ]
    opened.journal.close()
    assert Opened(path).places == places


def test_a_failed_write_leaves_nothing_behind_and_the_journal_goes_on(path: Path, fs: Any) -> None:
    journal = Opened(path, fs).journal
    journal.append([b"kept"])
    fs.fail("append", "j.journal", OSError(errno.ENOSPC, "disk full"), times=1)
    with pytest.raises(StorageError) as caught:
        journal.append([b"half of this is written"])
    assert caught.value.operation == "append"
    journal.append([b"later"])
    journal.close()
    assert Opened(path).seen == [b"kept", b"later"]


def test_a_write_that_can_not_be_rolled_back_ends_the_journal(path: Path, fs: Any) -> None:
    journal = Opened(path, fs).journal
    fs.fail("append", "j.journal", OSError(errno.EIO, "io"), times=1)
    fs.fail("truncate", "j.journal", OSError(errno.EIO, "io"), times=1)
    for _ in range(2):
        with pytest.raises(StorageError):
            journal.append([b"x"])
    journal.close()
    recovered = Opened(path).journal
    assert recovered.report.torn_bytes > 0


def test_after_a_failed_sync_nothing_more_is_taken(path: Path, fs: Any) -> None:
    journal = Opened(path, fs).journal
    journal.append([b"x"])
    fs.fail("sync", "j.journal", OSError(errno.EIO, "io"), times=1)
    with pytest.raises(StoreSyncFailedError):
        journal.sync()
    for refused in (journal.sync, lambda: journal.append([b"y"])):
        with pytest.raises(StoreSyncFailedError):
            refused()
    assert journal.read(HEADER + FRAME_BYTES, 1) == b"x"


def test_bad_payloads_change_nothing(path: Path) -> None:
    journal = Opened(path).journal
    with pytest.raises(StoreValidationError):
        journal.append([b"good", b""])
    assert journal.end == path.stat().st_size == HEADER


def test_a_write_goes_on_where_the_kernel_stopped(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write, real_pread = os.write, os.pread
    monkeypatch.setattr(files.os, "write", lambda handle, data: real_write(handle, data[:3]))
    monkeypatch.setattr(
        files.os, "pread", lambda handle, size, at: real_pread(handle, min(size, 5), at)
    )
    journal = Opened(path).journal
    journal.append([b"a long record", b"another"])
    journal.close()
    assert Opened(path).seen == [b"a long record", b"another"]


def test_a_parked_journal_opens_again_and_knows_its_file(path: Path) -> None:
    journal = Opened(path).journal
    journal.park()
    journal.append([b"x"])
    journal.park()
    with path.open("ab") as other:
        other.write(b"not ours")
    with pytest.raises(StoreCorruptError):
        journal.append([b"y"])
    path.unlink()
    with pytest.raises(StorageError):
        journal.append([b"y"])
    assert not path.exists()


def test_a_closed_journal_says_so(path: Path) -> None:
    journal = Opened(path).journal
    journal.close()
    journal.close()
    for refused in (lambda: journal.append([b"x"]), lambda: journal.read(0, 1), journal.sync):
        with pytest.raises(StoreClosedError):
            refused()


def test_a_shorter_file_than_before_is_corruption(path: Path) -> None:
    journal = Opened(path).journal
    with pytest.raises(StoreCorruptError):
        journal.read(HEADER - 1, 2)


@pytest.mark.parametrize("call", ["open_append", "append", "sync", "sync_directory", "read"])
def test_a_failing_open_is_a_typed_error_and_can_be_repeated(
    path: Path, fs: Any, call: str
) -> None:
    fs.fail(call, str(path.parent), OSError(errno.EIO, "io"), times=1)
    with pytest.raises(StorageError):
        Opened(path, fs)
    Opened(path, fs).journal.close()


def test_a_failing_read_is_a_typed_error(path: Path, fs: Any, sixty_four: list[int]) -> None:
    fs.fail("read", "j.journal", OSError(errno.EIO, "io"))
    with pytest.raises(StorageError):
        read_journal(fs, str(path), kind="test", name="j", replay=lambda _, data: None)
    fs.heal()
    journal = Opened(path, fs).journal
    fs.fail("read", "j.journal", OSError(errno.EIO, "io"))
    with pytest.raises(StorageError):
        journal.read(0, 1)


def test_opening_costs_memory_for_one_record_at_a_time(path: Path, fs: Any) -> None:
    journal = Opened(path).journal
    for _ in range(8):
        journal.append([bytes(200_000)])
    journal.close()
    open_journal(fs, str(path), kind="test", name="j", replay=lambda _, data: None).close()
    assert max(size for call, _, size in fs.calls if call == "read") <= 512 * 1024


@pytest.mark.parametrize("point", [FailPoint.TAIL_CUT, FailPoint.JOURNAL_CREATED])
def test_a_crash_while_opening_leaves_a_file_that_opens(
    path: Path, point: FailPoint, sixty_four: list[int], tmp_path: Path
) -> None:
    if point is FailPoint.TAIL_CUT:
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()

    class Crash(BaseException):
        pass

    def crash() -> None:
        shutil.copy(path, tmp_path / "after")
        raise Crash

    arm(point, crash)
    with pytest.raises(Crash):
        Opened(path)
    arm(point, lambda: None)
    assert len(Opened(tmp_path / "after").seen) == (63 if point is FailPoint.TAIL_CUT else 0)


def test_new_files_are_for_their_owner_only(path: Path) -> None:
    Opened(path).journal.close()
    assert path.stat().st_mode & 0o777 == 0o600
