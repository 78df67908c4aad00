"""The commit log: what is acknowledged when, in which order, and what a failure does."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.errors import (
    StorageError,
    StoreClosedError,
    StoreOverloadedError,
    StoreSyncFailedError,
    StoreValidationError,
)
from greenroom.storage import commit_log as commit_log_module
from greenroom.storage.commit_log import CommitLog
from greenroom.storage.commits import Lane, Part, Stream, Submit
from greenroom.storage.format.commits import decode_commit
from greenroom.storage.journal import open_journal, read_journal
from greenroom.storage.native import NATIVE

FULL = OSError(errno.ENOSPC, "disk full")
BROKEN = OSError(errno.EIO, "io")


class Collector:
    """Takes what is committed, in place of the journals."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.refusal: StorageError | None = None
        self.checkpoints = 0

    def take(self, submits: Any) -> None:
        self.taken += [part.payload for submit in submits for part in submit.parts]

    def full(self) -> StorageError | None:
        return self.refusal

    def checkpoint(self) -> None:
        self.checkpoints += 1


class Rig:
    """A log on a real file, driven by the test as the hub drives it."""

    def __init__(self, path: Path, hub: Any, fs: Any, **options: Any) -> None:
        self.path, self.hub, self.fs = path, hub, fs
        self.sink = Collector()
        self.now = 0.0
        self.told: list[tuple[str, Exception | None]] = []
        self.lanes: dict[str, Lane] = {}
        segment = open_journal(fs, str(path), kind="log", name="", replay=lambda _, data: None)
        fs.calls.clear()
        options = {"sync_interval": 3600.0, "clock": lambda: self.now, **options}
        self.log = CommitLog(segment, self.sink, threads=NATIVE, post=hub.post, **options)

    def submit(self, name: str, *, durable: bool = False, lane: str = "a", **options: Any) -> None:
        self.log.submit(
            [Part(Stream(f"{lane}/events", "", 0), name.encode())],
            lane=self.lanes.setdefault(lane, Lane()),
            durable=durable,
            done=lambda error: self.told.append((name, error)),
            **options,
        )

    def wait_for(self, count: int) -> list[str]:
        self.hub.run_until(lambda: len(self.told) >= count)
        return [name for name, _ in self.told]

    def stored(self) -> list[list[str]]:
        """What each record of the file holds."""
        found: list[list[str]] = []

        def replay(_: int, payload: bytes) -> None:
            found.append([data.decode() for name, data in decode_commit(payload) if name])

        read_journal(self.fs, str(self.path), kind="log", name="", replay=replay)[0].close()
        return found

    def hold_writer(self, call: str = "append") -> Any:
        """Hold the writer in its next call, so that what is submitted meanwhile gathers."""
        gate = self.fs.gate(call, self.path.name)
        self.submit("first", lane="other")
        gate.wait_until_reached()
        return gate


@pytest.fixture
def rig(tmp_path: Path, hub: Any, fs: Any) -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(**options: Any) -> Rig:
        made.append(Rig(tmp_path / "segment.log", hub, fs, **options))
        return made[-1]

    yield make
    fs.heal()
    for one in made:
        try:
            one.log.close()
        except StorageError:
            continue


def test_everything_that_waits_goes_in_one_record_one_write_and_one_post(
    rig: Callable[..., Rig], hub: Any, fs: Any
) -> None:
    one = rig()
    gate = one.hold_writer()
    names = [f"s{number}" for number in range(500)]
    for number, name in enumerate(names):
        one.submit(name, lane=f"lane {number % 7}")
    gate.go_on.set()
    assert one.wait_for(501) == ["first", *names]
    assert one.stored() == [["first"], names]
    assert (one.log.commits, one.log.syncs) == (2, 0)
    assert (fs.count("append"), hub.posts) == (2, 2)
    assert one.sink.taken == [b"first", *(name.encode() for name in names)]


def test_one_sync_serves_every_durable_submit_of_a_batch(rig: Callable[..., Rig], fs: Any) -> None:
    one = rig()
    gate = one.hold_writer()
    for number in range(64):
        one.submit(f"s{number}", durable=True, lane=f"lane {number}")
    gate.go_on.set()
    one.wait_for(65)
    assert fs.count("sync") == 1


def test_class_p_is_told_after_the_write_and_class_f_after_the_sync(
    rig: Callable[..., Rig], fs: Any
) -> None:
    one = rig()
    hold = one.hold_writer()
    one.submit("p before", lane="a")
    one.submit("f", durable=True, lane="a")
    one.submit("p behind", lane="a")
    one.submit("p elsewhere", lane="b")
    gate = fs.gate("sync", one.path.name)
    hold.go_on.set()
    gate.wait_until_reached()
    assert one.wait_for(3) == ["first", "p before", "p elsewhere"]
    assert one.stored()[1] == ["p before", "f", "p behind", "p elsewhere"]
    gate.go_on.set()
    assert one.wait_for(5)[3:] == ["f", "p behind"]
    assert all(error is None for _, error in one.told)


def test_class_p_is_synced_when_the_interval_is_over(rig: Callable[..., Rig], fs: Any) -> None:
    one = rig(sync_interval=0.02)
    one.submit("p")
    one.wait_for(1)
    assert fs.count("sync") == 0
    one.now = 0.02
    gate = fs.gate("sync", one.path.name)
    gate.wait_until_reached()
    gate.go_on.set()
    one.log.close()
    assert fs.count("sync") == 1


@pytest.mark.parametrize(
    ("durability", "durable", "syncs"),
    [("power", False, 1), ("process", True, 0), ("default", True, 1), ("default", False, 0)],
)
def test_durability_decides_what_is_synced(
    rig: Callable[..., Rig], fs: Any, durability: str, durable: bool, syncs: int
) -> None:
    one = rig(durability=commit_log_module.Durability(durability))
    one.submit("s", durable=durable)
    one.wait_for(1)
    assert fs.count("sync") == syncs


def test_a_failed_write_fails_its_batch_and_the_log_goes_on(
    rig: Callable[..., Rig], fs: Any
) -> None:
    one = rig()
    hold = one.hold_writer()
    one.submit("a1", lane="a")
    one.submit("b1", lane="b")
    fs.fail("append", one.path.name, FULL, times=1)
    hold.go_on.set()
    one.wait_for(3)
    # The hub has not opened a new lane yet: what it sends on the old one fails as well.
    one.submit("a2", lane="a")
    one.submit("c1", lane="c")
    one.wait_for(5)
    one.lanes["a"] = Lane()
    one.submit("a3", lane="a")
    one.wait_for(6)
    outcomes = {name: type(error) for name, error in one.told}
    nothing = type(None)
    assert outcomes == {
        "first": nothing,
        "a1": StorageError,
        "b1": StorageError,
        "a2": StorageError,
        "c1": nothing,
        "a3": nothing,
    }
    assert one.stored() == [["first"], ["c1"], ["a3"]]
    assert one.log.error is None


def test_old_and_new_submits_of_a_session_in_one_batch_are_told_in_order(
    rig: Callable[..., Rig], fs: Any
) -> None:
    one = rig()
    fs.fail("append", one.path.name, FULL, times=1)
    one.submit("old 1", lane="a")
    one.wait_for(1)
    hold = one.hold_writer()
    one.submit("old 2", lane="a")
    one.lanes["a"] = Lane()
    one.submit("new 1", lane="a")
    one.submit("new 2", lane="a", durable=True)
    hold.go_on.set()
    assert one.wait_for(5) == ["old 1", "first", "old 2", "new 1", "new 2"]


def test_a_failed_sync_ends_the_log(rig: Callable[..., Rig], fs: Any) -> None:
    one = rig()
    fs.fail("sync", one.path.name, BROKEN, times=1)
    one.submit("f", durable=True)
    one.wait_for(1)
    assert isinstance(one.told[0][1], StoreSyncFailedError)
    with pytest.raises(StoreSyncFailedError):
        one.submit("later")
    assert isinstance(one.log.error, StoreSyncFailedError)
    assert one.sink.taken == []
    with pytest.raises(StoreSyncFailedError):
        one.log.close()


def test_a_write_that_can_not_be_cut_back_ends_the_log(rig: Callable[..., Rig], fs: Any) -> None:
    one = rig()
    fs.fail("append", one.path.name, FULL, times=1)
    fs.fail("truncate", one.path.name, BROKEN, times=1)
    one.submit("s")
    one.wait_for(1)
    with pytest.raises(StorageError):
        one.submit("later")
    assert one.stored() == []


def test_what_waits_behind_a_failed_sync_fails_too(rig: Callable[..., Rig], fs: Any) -> None:
    one = rig()
    gate = fs.gate("sync", one.path.name)
    fs.fail("sync", one.path.name, BROKEN)
    one.submit("f", durable=True, lane="a")
    gate.wait_until_reached()
    one.submit("p", lane="a")
    gate.go_on.set()
    one.wait_for(2)
    assert [type(error) for _, error in one.told] == [StoreSyncFailedError] * 2


def test_preparation_runs_before_the_acknowledgement_and_can_refuse(
    rig: Callable[..., Rig], fs: Any
) -> None:
    one = rig()
    hold = one.hold_writer()

    def fail() -> None:
        raise BROKEN

    one.submit("a1", durable=True, prepare=lambda: fs.passed("prepare", ""))
    one.submit("a2", durable=True, prepare=fail)
    one.submit("a3")
    one.submit("b1", durable=True, lane="b", prepare=fail)
    one.submit("c1", durable=True, lane="c")
    hold.go_on.set()
    one.wait_for(6)
    told = {name: type(error) for name, error in one.told}
    assert next(iter(told)) == "first"
    assert [name for name in told if name[0] == "a"] == ["a1", "a2", "a3"]
    failed = {name for name, error in told.items() if error is StorageError}
    assert failed == {"a1", "a2", "a3", "b1"}
    assert told["c1"] is type(None)
    assert [call for call, _, _ in fs.calls] == ["append", "append", "prepare", "sync"]
    assert one.sink.taken == [b"first", b"c1"]


def test_class_p_is_acknowledged_while_a_sync_runs(rig: Callable[..., Rig], fs: Any) -> None:
    one = rig()
    sync = fs.gate("sync", one.path.name)
    one.submit("f", durable=True, lane="a")
    sync.wait_until_reached()
    one.submit("p1", lane="b")
    one.submit("a2", lane="a")
    one.submit("p2", lane="c")
    assert one.wait_for(2) == ["p1", "p2"]
    sync.go_on.set()
    assert one.wait_for(4) == ["p1", "p2", "f", "a2"]
    assert one.log.syncs == 1, "a class P behind a synced class F needs no sync of its own"


def test_a_durable_write_made_during_a_sync_gets_the_next_one(
    rig: Callable[..., Rig], fs: Any
) -> None:
    one = rig()
    sync = fs.gate("sync", one.path.name)
    one.submit("f1", durable=True, lane="a")
    sync.wait_until_reached()
    one.submit("f2", durable=True, lane="b")
    one.submit("p2", lane="b")
    one.submit("p3", lane="a")
    one.submit("probe", lane="c")
    assert one.wait_for(1) == ["probe"]
    sync.go_on.set()
    assert one.wait_for(5) == ["probe", "f1", "p3", "f2", "p2"]
    assert fs.count("sync") == 2


def test_a_failed_write_is_told_after_what_its_lane_wrote_before(
    rig: Callable[..., Rig], fs: Any
) -> None:
    one = rig()
    sync = fs.gate("sync", one.path.name)
    one.submit("f1", durable=True)
    sync.wait_until_reached()
    fs.fail("append", one.path.name, FULL, times=1)
    one.submit("f2", durable=True)
    sync.go_on.set()
    one.wait_for(2)
    assert [(name, type(error)) for name, error in one.told] == [
        ("f1", type(None)),
        ("f2", StorageError),
    ]


def test_the_queue_is_bounded_by_number_and_by_bytes(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rig()
    hold = one.hold_writer()
    monkeypatch.setattr(commit_log_module, "SUBMITS_MAX", 3)
    for number in range(3):
        one.submit(f"s{number}")
    with pytest.raises(StoreOverloadedError):
        one.submit("one too many")
    monkeypatch.undo()
    monkeypatch.setattr(commit_log_module, "SUBMIT_BYTES_MAX", 200)
    with pytest.raises(StoreOverloadedError):
        one.submit("x" * 200)
    hold.go_on.set()
    one.wait_for(4)
    one.submit("room again")
    assert one.wait_for(5)[-1] == "room again"


def test_a_full_sink_refuses_new_submits(rig: Callable[..., Rig]) -> None:
    one = rig()
    one.sink.refusal = StoreOverloadedError("journals are behind")
    with pytest.raises(StoreOverloadedError):
        one.submit("s")


def test_a_batch_ends_at_its_size_and_never_outgrows_a_record(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_log_module, "BATCH_BYTES", 100)
    monkeypatch.setattr(commit_log_module, "PAYLOAD_BYTES_MAX", 200)
    one = rig()
    hold = one.hold_writer()
    names = [letter * 50 for letter in "abcde"]
    for name in names:
        one.submit(name)
    with pytest.raises(StoreValidationError):
        one.submit("x" * 200)
    hold.go_on.set()
    assert one.wait_for(6)[1:] == names
    assert one.stored()[1:] == [names[:2], names[2:4], names[4:]]


def test_closing_writes_and_syncs_what_was_submitted(rig: Callable[..., Rig], fs: Any) -> None:
    one = rig()
    hold = one.hold_writer()
    for number in range(10):
        one.submit(f"s{number}")
    hold.go_on.set()
    one.log.close()
    assert len(one.wait_for(11)) == 11
    assert fs.count("sync") == 1
    with pytest.raises(StoreClosedError):
        one.submit("late")


def test_a_fork_can_not_use_the_log(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rig()
    monkeypatch.setattr(commit_log_module.os, "getpid", lambda: -1)
    with pytest.raises(StoreClosedError):
        one.submit("s")


def test_without_a_hub_the_writer_tells(tmp_path: Path, fs: Any) -> None:
    segment = open_journal(
        fs, str(tmp_path / "s"), kind="log", name="", replay=lambda _, data: None
    )
    log = CommitLog(segment, Collector(), threads=NATIVE, clock=lambda: 0.0)
    told: list[Exception | None] = []
    log.submit([], lane=Lane(), durable=True, done=told.append)
    log.close()
    assert told == [None]


def test_a_bug_in_the_writer_is_loud_and_refuses_later_submits(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rig()
    loud: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: loud.append(report.exc_type))

    def bug(submits: list[Submit]) -> None:
        raise ZeroDivisionError

    one.sink.take = bug  # type: ignore[method-assign]
    one.submit("s")
    one.log._worker.join(20)
    while not loud:
        one.log._worker.join(0.01)
    assert loud == [ZeroDivisionError]
    with pytest.raises(StorageError, match="ZeroDivisionError"):
        one.submit("later")
