"""One seed, one life of a runtime, or two with a power loss between: run, watched, judged."""

from __future__ import annotations

import errno
import logging
import random
from collections.abc import Collection
from dataclasses import dataclass, field

from ...core.effects import Effects
from ...core.inputs import Input
from ...core.state import SessionState
from ...manager.options import ManagerOptions
from ...manager.runtime import Runtime
from ...manager.surfaces import Verbs
from ...model.settings import SessionBusyInputConfig, SessionSupervisionConfig
from ...runtime.future import GreenFuture
from ...runtime.hub import Hub
from ...session.live import LiveSession
from ..clock import VirtualClock
from ..scheduler import SeededScheduler
from ..sim_files import SimFileSystem
from .agent import SimDriver
from .checks import Checks, ViolationError
from .client import Callers
from .faults import Fault, FaultDraw
from .final_checks import check_cells, check_closed, check_processes, check_rest
from .narration import Narrator
from .world import HOME, SimWorld

__all__ = ["Outcome", "simulate"]

SUPERVISION = SessionSupervisionConfig(
    activity_heartbeat_interval=2.0,
    progress_notify_interval=4.0,
    inactivity_warning_after=5.0,
    inactivity_timeout=10.0,
    timeout_cancel_grace=3.0,
    prompt_deadline=25.0,
)
BUSY_INPUT = SessionBusyInputConfig(queue_cap=3)
HELD_UP_S = 0.2
"""How long the process may seem to be held up, at a time."""
PATIENCE_S = 60.0
"""How long a resume is waited for where it may never be possible."""
STEPS_MAX = 20_000
"""A schedule that takes more is a livelock."""
POWER_LOSS_AFTER_S = 8.0
"""The power goes at most so many seconds after the start."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one seed.

    :param steps: messages that actors handled.
    :param violation: the first invariant that did not hold, if any.
    :param trace: a line per step; empty when none was kept.
    """

    seed: int
    steps: int
    faults: tuple[str, ...]
    violation: ViolationError | None
    trace: tuple[str, ...] = ()


def simulate(seed: int, *, trace: bool = False, faults: Collection[Fault] | None = None) -> Outcome:
    """Run the schedule of a seed and check every invariant after every step.

    Call it in a thread of its own hub, with nothing else going on there: no real time passes, no
    thread is started, no file or socket is touched.

    :param trace: keep a line per step.
    :param faults: only these kinds; ``None`` is all.
    """
    with SeededScheduler(seed, trace=False, rush_s=HELD_UP_S) as scheduler:
        simulation = Simulation(scheduler, trace, faults)
        try:
            simulation.run()
        except ViolationError as violation:
            simulation.checks.fail(violation.invariant, violation.detail)
        simulation.end()
        return Outcome(
            seed,
            scheduler.steps,
            tuple(sorted(simulation.enabled)),
            simulation.checks.violation,
            tuple(simulation.narrator.lines),
        )


@dataclass(slots=True)
class _Life:
    """One life of the runtime, from its opening to its close or to the power loss."""

    world: SimWorld
    runtime: Runtime
    driver: SimDriver
    callers: Callers
    lives: list[LiveSession] = field(default_factory=list)


class Simulation:
    """A schedule that runs."""

    def __init__(
        self, scheduler: SeededScheduler, trace: bool, allowed: Collection[Fault] | None
    ) -> None:
        self.scheduler = scheduler
        self.clock: VirtualClock = scheduler.clock
        self.draw = scheduler.draw
        self.faults = FaultDraw.of(self.draw, allowed)
        self.enabled = self.faults.enabled
        self.narrator = Narrator(self.clock, trace)
        self.checks = Checks(self.narrator.say)
        self.disk = SimFileSystem()
        self.store_failed = False
        self._lives = 0
        self._life: _Life | None = None

    def run(self) -> None:
        """All of it."""
        life = self._open()
        if Fault.POWER_LOSS in self.faults.enabled:
            life.callers.start()
            self._go_on(until_s=self.draw() * POWER_LOSS_AFTER_S)
            life = self._lose_power(life)
        self._run_to_rest(life)

    def end(self) -> None:
        """Leave nothing behind in the hub."""
        if self._life is not None:
            self._life.world.threads.kill()

    def _open(self) -> _Life:
        self._lives += 1
        world = SimWorld(
            f"life-{self._lives}",
            self.clock,
            self.disk,
            self._thread_delay,
            self.checks.published,
            self._stepped,
        )
        driver = SimDriver(self.clock, self.faults, self.checks.prompted)
        options = ManagerOptions(
            home=HOME,
            agents={"simulated": ["simulated"]},
            driver=driver,
            hub="current",
            prompt_buffer_size=8,
            session_busy_input_config=BUSY_INPUT,
            session_supervision=SUPERVISION,
            session_id_generator=lambda: "sess-1",
            notifier=self.checks,
            logger=QUIET,
        )
        runtime = Runtime(options, Hub.current(), world)
        self.checks.store = world.store
        self.disk.fault = self._disk_fault
        # A session whose agent can not be stopped keeps those waiting who want to resume it.
        patience_s = PATIENCE_S if Fault.STOP_FAILS in self.faults.enabled else None
        callers = Callers(
            Verbs(runtime), driver, self.clock, self.draw, self.narrator.say, patience_s
        )
        self._life = _Life(world, runtime, driver, callers)
        runtime.handle_of = self._started
        return self._life

    def _started(self, live: LiveSession) -> LiveSession:
        assert self._life is not None
        self._life.lives.append(live)
        return live

    def _run_to_rest(self, life: _Life) -> None:
        life.callers.start()
        self._go_on()
        check_rest(self.checks, life.runtime, life.callers, not self.store_failed)
        self._raise()
        self.faults = life.driver.faults = self.faults.without(Fault.STOP_FAILS)
        closed: GreenFuture[None] = Hub.current().submit(self._close, life)
        self._go_on()
        if not closed.done:
            self.checks.fail("every-answer", "the runtime does not close")
        check_cells(self.checks, life.lives)
        if Fault.STOP_FAILS not in self.enabled:
            check_processes(self.checks, life.driver)
        if not life.world.threads.idle:
            self.checks.fail("every-answer", "a thread of the store never ends")
        self.disk.fault = None
        check_closed(self.checks, life.world, life.callers, not self.store_failed)

    def _close(self, life: _Life) -> None:
        try:
            life.runtime.close(None)
        except ExceptionGroup:
            if not self.store_failed:
                self.narrator.say("runtime", "close", "errors")

    def _go_on(self, until_s: float = float("inf")) -> None:
        try:
            self.scheduler.run(until_s=until_s, steps_max=STEPS_MAX)
        except AssertionError as error:
            self.checks.fail("comes-to-rest", str(error))
        self._raise()

    def _raise(self) -> None:
        if self.checks.violation is not None:
            raise self.checks.violation

    def _stepped(
        self, before: SessionState, input: Input, state: SessionState, effects: Effects
    ) -> None:
        self.narrator.step(state, input, effects)
        self.checks.stepped(before, input, state, effects)

    def _thread_delay(self) -> float:
        drawn = self.draw()
        return drawn * (2.0 if self.faults.happens(Fault.TIMER_JITTER) else 0.004)

    def _disk_fault(self, number: int, call: str, path: str) -> int | None:
        """Asked before each call of the disk; only the store's threads are made to suffer."""
        threads = self._life.world.threads if self._life is not None else None
        if threads is None or call not in ("append", "sync") or not threads.inside:
            return None
        if self.faults.happens(Fault.SLOW_STORE):
            threads.pause(self.draw())
        if "/wal/" not in path:
            return None
        if call == "append" and self.faults.happens(Fault.FAILED_WRITE):
            self.narrator.say("disk", "append", "no space left")
            self.store_failed = True
            return int(self.draw() * 20)
        if call == "sync" and self.faults.happens(Fault.FAILED_SYNC):
            self.narrator.say("disk", "sync", "failed")
            self.store_failed = True
            raise OSError(errno.EIO, "input/output error", path)
        return None

    def _lose_power(self, before: _Life) -> _Life:
        self.narrator.say("power", "lost", "now")
        for cell in sorted(self.scheduler.dispatcher.cells, key=lambda cell: cell.serial):
            cell.kill()
        before.world.threads.kill()
        before.callers.vanish()
        self.clock.forget()
        self.clock.settle()
        self.clock.forget()
        chance = random.Random(int(self.draw() * 2**32))
        (self.disk,) = self.disk.after_power_loss(chance, 1)
        self.checks.power_lost()
        life = self._open()
        assert life.world.store is not None
        self.checks.reopened(life.world.store, self.disk)
        life.callers.sessions = list(self.checks.books)
        life.callers.promises = before.callers.promises
        life.callers.prompts = before.callers.prompts
        return life


QUIET = logging.getLogger("greenroom.simulation")
QUIET.setLevel(logging.CRITICAL + 1)
