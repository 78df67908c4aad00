"""S5, S6: what a power loss leaves of a home, drawn from the states a disk may be in."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from greenroom.actors.testing.sim_files import SimFileSystem
from greenroom.storage import segmented_journal
from greenroom.storage.format import snapshot

from .simulated import Acked, Life, check, goes_on

STATES = 1000
CHAOS_STATES = 100_000
STATES_PER_INSTANT = 10


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmented_journal, "SEAL_BYTES", 3000)
    monkeypatch.setattr(segmented_journal, "SEAL_AT_END_BYTES", 1000)
    monkeypatch.setattr("greenroom.storage.materialiser.JOURNAL_BATCH_BYTES", 500)
    monkeypatch.setattr(snapshot, "COMPACT_RECORDS", 8)
    monkeypatch.setattr(snapshot, "COMPACT_AT_END_BYTES", 300)


def lose_power(path: Path, hub: Any, event: Any, states: int, *, twice: bool) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    checked = 0
    while checked < states:
        instants: list[tuple[SimFileSystem, dict[str, Acked]]] = []
        disk = SimFileSystem()
        life = Life(path, hub, disk)

        def watch(
            number: int, call: str, where: str, life: Life = life, instants: Any = instants
        ) -> None:
            if call not in ("read", "size") and chance.random() < 0.1:
                acks = life.acked(durable=True)
                instants.append((life.disk.copy(), acks))

        disk.fault = watch
        life.run()
        disk.fault = None
        assert not life.errors
        for instant, acks in instants:
            for state in instant.after_power_loss(chance, STATES_PER_INSTANT):
                if twice:
                    _lose_again(state, path, chance, acks, life)
                else:
                    check(state, path, acks, life.ids)
                checked += 1
                if checked % 100 == 0:
                    goes_on(state, path, hub, event)
            if checked >= states:
                break


def _lose_again(
    state: SimFileSystem,
    path: Path,
    chance: random.Random,
    acks: dict[str, Acked],
    life: Life,
) -> None:
    """The power goes during the recovery, at some call of it; the second one ends."""

    class Lost(Exception):
        """The power is gone."""

    at = state.calls + chance.randrange(1, 60)

    def lose(number: int, call: str, where: str) -> None:
        if number >= at:
            raise Lost

    state.fault = lose
    try:
        check(state, path, acks, life.ids)
    except Lost:
        state.fault = None
        for again in state.after_power_loss(chance, 1):
            check(again, path, acks, life.ids)
    state.fault = None


def test_s5_no_power_loss_loses_what_was_acknowledged_as_durable(
    tmp_path: Path, hub: Any, event: Callable[..., Any]
) -> None:
    (tmp_path / "home").mkdir()
    lose_power(tmp_path / "home", hub, event, STATES, twice=False)


def test_s6_nor_one_during_the_recovery(
    tmp_path: Path, hub: Any, event: Callable[..., Any]
) -> None:
    (tmp_path / "home").mkdir()
    lose_power(tmp_path / "home", hub, event, STATES // 3, twice=True)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("twice", [False, True])
def test_s5_s6_at_length(tmp_path: Path, hub: Any, event: Callable[..., Any], twice: bool) -> None:
    (tmp_path / "home").mkdir()
    states = CHAOS_STATES // 10 if twice else CHAOS_STATES
    lose_power(tmp_path / "home", hub, event, states, twice=twice)


def test_a_kill_loses_nothing_that_was_acknowledged_at_all(tmp_path: Path, hub: Any) -> None:
    path = tmp_path / "home"
    path.mkdir()
    chance = random.Random(7)
    disk = SimFileSystem()
    life = Life(path, hub, disk)
    instants: list[tuple[SimFileSystem, dict[str, Acked]]] = []

    def watch(number: int, call: str, where: str) -> None:
        if chance.random() < 0.2:
            acks = life.acked(durable=False)
            instants.append((disk.after_kill(), acks))

    disk.fault = watch
    life.run()
    disk.fault = None
    assert len(instants) > 50
    for state, acks in instants:
        check(state, path, acks, life.ids, killed=True)
