"""Setting damaged bytes aside: ``<file>.corrupt.<stamp>`` gets them, the prefix stays (03 4.6).

The copy is whole and on the medium before anything is cut; a crash in between repeats the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from ..actors.errors import StorageError, StoreValidationError
from .failpoints import FailPoint, reach
from .files import FileSystem
from .format.cbor_items import read_unsigned
from .format.records import FRAME_BYTES, MARK, record_at

ACTIVATION_BYTES_MIN = FRAME_BYTES + 3
"""No activation takes less; so many lost bytes hold at most so many epochs."""


class Quarantine(NamedTuple):
    """What was set aside.

    :param path: where it lies now.
    :param offset: where it began in its file.
    :param epoch: the least epoch that no lost record can have had.
    """

    path: str
    offset: int
    epoch: int


def set_aside(
    fs: FileSystem,
    paths: Sequence[str],
    offset: int,
    tail: str,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Quarantine:
    """Move what lies from ``offset`` of the first file on, and the later files, out of the way.

    What is left of the first file becomes ``tail``; below its header it is removed.

    :param paths: the files of one journal, in order; the last of them may be missing.
    :raises StorageError: a step failed; the next open does it again.
    """
    present = [path for path in paths if fs.exists(path)]
    target = f"{tail}.corrupt.{now().strftime('%Y%m%dT%H%M%S.%f000Z')}"
    directory = tail.rpartition("/")[0] or "."
    try:
        lost, epoch = _copy(fs, present, offset, f"{target}.part")
        fs.rename(f"{target}.part", target)
        fs.sync_directory(directory)
        reach(FailPoint.QUARANTINED)
        for path in reversed(present[1:]):
            _remove(fs, path)
        _remove(fs, f"{present[0]}.idx")
        if offset:
            file = fs.open_append(present[0])
            try:
                file.truncate(offset)
                file.sync()
            finally:
                file.close()
            if present[0] != tail:
                fs.rename(present[0], tail)
        else:
            _remove(fs, present[0])
        fs.sync_directory(directory)
    except OSError as error:
        raise StorageError(
            f"quarantine {tail}: {error.strerror or error}", operation="quarantine", path=tail
        ) from error
    return Quarantine(target, offset, epoch + lost // ACTIVATION_BYTES_MIN + 2)


def _copy(fs: FileSystem, paths: Sequence[str], offset: int, target: str) -> tuple[int, int]:
    """Copy the lost bytes; how many, and the highest epoch readable in them."""
    if fs.exists(target):
        fs.remove(target)
    out = fs.open_append(target)
    copied = epoch = 0
    try:
        for path in paths:
            file = fs.open_read(path)
            try:
                # The longest file is one open part: a few megabytes.
                data = file.read(offset, max(file.size() - offset, 0))
            finally:
                file.close()
            epoch = max(epoch, _highest_epoch(data))
            out.append(data)
            copied += len(data)
            offset = 0
        out.sync()
    finally:
        out.close()
    return copied, epoch


def _highest_epoch(data: bytes) -> int:
    """Of the whole records in damaged bytes."""
    highest = 0
    at = data.find(MARK)
    while at != -1:
        payload = record_at(data, at)
        if payload is not None:
            highest = max(highest, _epoch(payload))
            at += FRAME_BYTES + len(payload) - 1
        at = data.find(MARK, at + 1)
    return highest


def _remove(fs: FileSystem, path: str) -> None:
    if fs.exists(path):
        fs.remove(path)
    if fs.exists(f"{path}.idx"):
        fs.remove(f"{path}.idx")


def _epoch(payload: bytes) -> int:
    try:
        return read_unsigned(payload, 1)[0]
    except StoreValidationError:
        return 0
