"""A fleet of workers that crash, stall and recover under one supervisor, watched live.

    python examples/supervised_fleet.py

Twelve workers count jobs. Some crash on a job, some never return from one; the supervisor sees
both, says why, and starts them again. With rich installed the table is live, otherwise it is
printed now and then. It ends by itself after a few seconds.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from typing import Any

from gevent.event import Event
from greenroom.actors.runtime.actor import GreenActor
from greenroom.actors.runtime.childspec import ChildSpec, Restart
from greenroom.actors.runtime.restarts import RestartLimits
from greenroom.actors.runtime.supervising import ReportContext, SupervisorReport
from greenroom.actors.runtime.supervisor import Supervisor
from greenroom.actors.runtime.system import ActorSystem
from greenroom.actors.runtime.timers import tell_every
from pykka import ActorDeadError

WORKERS = 12
SECONDS = 4.0
CRASH_CHANCE = 0.02
STALL_CHANCE = 0.01

jobs_done: Counter[int] = Counter()
troubles: Counter[str] = Counter()
last_words: dict[object, str] = {}


class Worker(GreenActor):
    """Does a job per message; now and then it fails at one, or never comes back from it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.chance = random.Random(f"{number}/{jobs_done[number]}")

    def on_start(self) -> None:
        tell_every(self.actor_ref, 0.02, "job")

    def on_receive(self, message: Any) -> None:
        drawn = self.chance.random()
        if drawn < CRASH_CHANCE:
            raise RuntimeError(f"job {jobs_done[self.number]} exploded")
        if drawn < CRASH_CHANCE + STALL_CHANCE:
            Event().wait()  # a reply that will never come
        jobs_done[self.number] += 1


class Fleet(Supervisor):
    """A supervisor that keeps its reports for the table."""

    def on_report(self, report: SupervisorReport) -> None:
        match report.context:
            case ReportContext.STALLED:
                troubles["stalls"] += 1
                at = report.detail.strip().splitlines()[-1].strip()
                last_words[report.child_id] = f"stalled at {at}"[:60]
            case ReportContext.CHILD_TERMINATED if report.reason == "crashed":
                troubles["crashes"] += 1
                last_words[report.child_id] = f"crashed: {report.error}"


def rows(fleet: Any) -> list[tuple[str, ...]]:
    """What the table shows, a row per worker."""
    return [
        (str(info.id), info.status, str(jobs_done[int(str(info.id))]), last_words.get(info.id, ""))
        for info in fleet.which_children(timeout=5)
    ]


def watch(fleet: Any, until: float) -> None:
    """Show the fleet until the time is over."""
    try:
        from rich.console import Console
        from rich.live import Live
        from rich.table import Table
    except ImportError:
        while time.monotonic() < until:
            for row in rows(fleet):
                print("  ".join(row))
            time.sleep(1.0)
        return

    def table() -> Table:
        drawn = Table("worker", "status", "jobs", "last trouble", title="fleet")
        for row in rows(fleet):
            drawn.add_row(*row)
        return drawn

    with Live(table(), console=Console(width=100), auto_refresh=False) as live:
        while time.monotonic() < until:
            time.sleep(0.1)
            live.update(table(), refresh=True)


def main() -> None:
    """Start the fleet, watch it, stop it, and count."""
    logging.getLogger("pykka").setLevel(logging.CRITICAL)
    specs = [
        ChildSpec(n, Worker, (n,), restart=Restart.PERMANENT, stall_after_s=0.4)
        for n in range(WORKERS)
    ]
    limits = RestartLimits(max_restarts=1000, window_s=10.0)
    options = {"children": specs, "limits": limits}
    with ActorSystem.start("fleet-hub") as system:
        fleet = system.supervise(ChildSpec("fleet", Fleet, kwargs=options))
        assert fleet is not None
        watch(fleet, time.monotonic() + SECONDS)
        alive = sum(info.ref is not None for info in fleet.which_children())
        metrics = system.metrics()
        print(f"\n{alive} of {WORKERS} workers are running after {troubles['crashes']} crashes")
        print(f"and {troubles['stalls']} stalls: {metrics.restarts} restarts in all")
        print(f"{metrics.handled} messages handled, {metrics.dead_letters} dead letters, none lost")
    try:
        fleet.tell("hello?")
    except ActorDeadError:
        print("The fleet has stopped.")


if __name__ == "__main__":
    main()
