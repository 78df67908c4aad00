"""The kit as pytest fixtures. Installed with greenroom, it is loaded by itself.

Nothing of gevent is imported before a test asks for a fixture, so that other test suites in the
same environment do not notice it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ..runtime.deadletters import DeadLetter
    from .clock import VirtualClock
    from .faults import FaultPlan
    from .probe import Probe
    from .scheduler import SeededScheduler

SEED_OPTION = "--greenroom-seed"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a failing run's seed be given again."""
    group = parser.getgroup("greenroom")
    group.addoption(
        SEED_OPTION, type=int, default=0, help="seed of the greenroom_scheduler fixture"
    )


@pytest.fixture
def greenroom_clock() -> Iterator[VirtualClock]:
    """A :class:`VirtualClock` for the actors of the test's thread; it moves when told to."""
    from .clock import VirtualClock

    with VirtualClock() as clock:
        yield clock


@pytest.fixture
def greenroom_autojump_clock() -> Iterator[VirtualClock]:
    """A :class:`VirtualClock` that jumps to the next timer whenever all actors wait."""
    from .clock import VirtualClock

    with VirtualClock(autojump=True) as clock:
        yield clock


@pytest.fixture
def greenroom_scheduler(request: pytest.FixtureRequest) -> Iterator[SeededScheduler]:
    """A :class:`SeededScheduler`, seeded by ``--greenroom-seed``."""
    from .scheduler import SeededScheduler

    with SeededScheduler(request.config.getoption(SEED_OPTION)) as scheduler:
        yield scheduler


@pytest.fixture
def greenroom_faults() -> Iterator[FaultPlan]:
    """An empty :class:`FaultPlan` in force; give it rules."""
    from .faults import FaultPlan

    with FaultPlan() as plan:
        yield plan


@pytest.fixture
def greenroom_probe() -> Iterator[Callable[[], Probe]]:
    """A function that starts a :class:`Probe`; all are killed behind the test."""
    from .probe import Probe

    probes: list[Probe] = []

    def start() -> Probe:
        probes.append(Probe.start_probe())
        return probes[-1]

    yield start
    for probe in probes:
        probe.ref.kill()


@pytest.fixture
def greenroom_dead_letters() -> Iterator[list[DeadLetter]]:
    """The dead letters of the test's thread, from the test's begin on."""
    from ..runtime.dispatcher import Dispatcher

    letters: list[DeadLetter] = []
    cancel = Dispatcher.current().dead_letters.subscribe(letters.append)
    yield letters
    cancel()
