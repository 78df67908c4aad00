"""S4, S6, S8: calls on files failing, once and from then on, in a home's life and its recovery."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.errors import StorageError
from greenroom.actors.testing.sim_files import SimFileSystem
from greenroom.storage import segmented_journal
from greenroom.storage.format import snapshot
from greenroom.storage.home import HomeStore

from .simulated import Life, check, goes_on

FAULTS = (errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EINTR, "short write")
RUNS = 120
RECOVERY_FAULTS = 700
CHAOS_RECOVERY_FAULTS = 10_000


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmented_journal, "SEAL_BYTES", 3000)
    monkeypatch.setattr(segmented_journal, "SEAL_AT_END_BYTES", 1000)
    monkeypatch.setattr("greenroom.storage.materialiser.JOURNAL_BATCH_BYTES", 500)
    monkeypatch.setattr(snapshot, "COMPACT_RECORDS", 8)
    monkeypatch.setattr(snapshot, "COMPACT_AT_END_BYTES", 300)


def live(path: Path, hub: Any, at: int, fault: int | str, *, once: bool) -> tuple[Life, int]:
    """A life whose call ``at`` fails; with it, whether the fault was met."""
    disk = SimFileSystem()
    life = Life(path, hub, disk)

    def fail(number: int, call: str, where: str) -> int | None:
        if number < at or (once and number > at):
            return None
        if isinstance(fault, str):
            return 7 if call == "append" else None
        raise OSError(fault, "injected", where)

    disk.fault = fail
    life.run(submits=8)
    disk.fault = None
    return life, disk.calls


def judge(life: Life, path: Path, hub: Any, event: Any) -> None:
    """After the fault: what was acknowledged is there, and the home can be used again."""
    acks = life.acked(durable=False)
    state = life.disk.after_kill()
    check(state, path, acks, life.ids)
    goes_on(state, path, hub, event)


def run(path: Path, hub: Any, event: Any, runs: int | None) -> None:
    path.mkdir()
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    _, calls = live(path, hub, 1 << 60, errno.EIO, once=True)
    every = [(at, fault, once) for at in range(1, calls) for fault in FAULTS for once in (0, 1)]
    chosen = every if runs is None else chance.sample(every, runs)
    met = 0
    for at, fault, once in chosen:
        print(f"call {at} fault {fault} once {once}")
        life, _ = live(path, hub, at, fault, once=bool(once))
        met += bool(life.errors)
        judge(life, path, hub, event)
    assert met > len(chosen) // 10, "the faults were hardly met"


def test_s4_a_failing_call_never_makes_a_wrong_acknowledgement(
    tmp_path: Path, hub: Any, event: Callable[..., Any]
) -> None:
    run(tmp_path / "home", hub, event, RUNS)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_s4_every_call_and_every_error(tmp_path: Path, hub: Any, event: Callable[..., Any]) -> None:
    run(tmp_path / "home", hub, event, None)


def fail_recovery(path: Path, hub: Any, event: Any, faults: int) -> None:
    """A runtime is killed at some instant; then one call fails while its home is opened again."""
    path.mkdir()
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    done = met = 0
    while done < faults:
        disk = SimFileSystem()
        life = Life(path, hub, disk)
        instants: list[Any] = []

        def watch(
            number: int, call: str, where: str, life: Life = life, instants: Any = instants
        ) -> None:
            if chance.random() < 0.05:
                instants.append((life.disk.after_kill(), life.acked(durable=False)))

        disk.fault = watch
        life.run(submits=20)
        disk.fault = None
        assert not life.errors
        for instant, acks in instants:
            whole = instant.copy()
            HomeStore.open(path, post=hub.post, fs=whole).close()
            for at in chance.sample(range(1, whole.calls), min(3, whole.calls - 1)):
                state = instant.copy()
                met += _open_with_a_fault(state, path, hub, chance.choice(FAULTS), at)
                check(state.after_kill(), path, acks, life.ids, killed=True)
                done += 1
                if done % 50 == 0:
                    goes_on(state.after_kill(), path, hub, event)
    assert met > faults // 10, "the faults were hardly met"


def _open_with_a_fault(
    state: SimFileSystem, path: Path, hub: Any, fault: int | str, at: int
) -> bool:
    """Open and close a home whose call ``at`` fails; whether anybody was told."""

    def fail(number: int, call: str, where: str) -> int | None:
        if number != at:
            return None
        if isinstance(fault, str):
            return 7 if call == "append" else None
        raise OSError(fault, "injected", where)

    state.fault = fail
    try:
        home = HomeStore.open(path, post=hub.post, fs=state)
        failed = bool(home.report.failed)
        home.close()
    except StorageError:
        failed = True
    finally:
        state.fault = None
        hub.run_posted()
    return failed


def test_s6_a_failing_call_during_recovery_loses_nothing(
    tmp_path: Path, hub: Any, event: Callable[..., Any]
) -> None:
    fail_recovery(tmp_path / "home", hub, event, RECOVERY_FAULTS)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_s6_failing_calls_at_length(tmp_path: Path, hub: Any, event: Callable[..., Any]) -> None:
    fail_recovery(tmp_path / "home", hub, event, CHAOS_RECOVERY_FAULTS)
