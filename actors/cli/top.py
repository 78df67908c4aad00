"""``greenroom top``: the live sessions of a runtime, its bus and its callers, once a second."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..core.badge import Badge
from ..manager.metrics import RuntimeMetrics, SessionGauges
from .connection import running_manager
from .rendering import echo_json

BADGE_STYLES = {
    Badge.RUNNING: "green",
    Badge.IDLE: "dim",
    Badge.UNHEALTHY: "yellow",
    Badge.HUNG: "red",
    Badge.WAITING_FOR_AUTH: "magenta",
    Badge.STOPPED: "dim",
    Badge.FAILED: "red",
    Badge.UNKNOWN: "dim",
}


class Measured(Protocol):
    """A manager, in this process or of another one."""

    def metrics(self) -> RuntimeMetrics:
        """A snapshot."""


@dataclass(frozen=True, slots=True)
class View:
    """Two snapshots: what is, and how fast it changes.

    :param before: ``None`` at first, when nothing is known about rates.
    """

    now: RuntimeMetrics
    before: RuntimeMetrics | None = None

    def rate(self, session: SessionGauges) -> float | None:
        """Events a second of a session; ``None`` when it was not there before."""
        if self.before is None:
            return None
        earlier = {row.id: row.events for row in self.before.sessions}.get(session.id)
        return None if earlier is None else self._per_second(session.events - earlier)

    def bus_rate(self, counter: str) -> float | None:
        """What a counter of the bus grows by in a second."""
        if self.before is None:
            return None
        return self._per_second(self.now.bus[counter] - self.before.bus[counter])

    def _per_second(self, grown: int) -> float:
        assert self.before is not None
        seconds = (self.now.at - self.before.at).total_seconds()
        return max(grown, 0) / seconds if seconds > 0 else 0.0


def render(view: View) -> Group:
    """The screen."""
    now = view.now
    summary = Text.assemble(
        (f"greenroom  pid {now.pid}", "bold"),
        f"  sessions {len(now.sessions)}",
        f"  subscribers {now.bus['subscribers']}",
        f"  rows/s {_shown(view.bus_rate('rows'))}",
        f"  calls {now.calls.get('calls', 0)} ({now.calls.get('running', 0)} running)",
    )
    table = Table(box=None, header_style="bold", expand=True)
    for name, justify in (
        ("session", "left"),
        ("agent", "left"),
        ("badge", "left"),
        ("turn", "left"),
        ("events", "right"),
        ("events/s", "right"),
        ("queue", "right"),
        ("pid", "right"),
        ("name", "left"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in now.sessions:
        table.add_row(
            row.id,
            row.agent_name,
            Text(row.badge.value, BADGE_STYLES[row.badge]),
            row.turn_id or "-",
            str(row.events),
            _shown(view.rate(row)),
            str(row.queued),
            str(row.agent_pid or "-"),
            Text(row.name),
        )
    return Group(summary, table)


def _shown(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1f}"


def top(*, home: Path | None, every_s: float, as_json: bool) -> None:
    """Show the runtime of a home until Ctrl-C, or one snapshot as JSON."""
    with running_manager(home) as manager:
        if as_json:
            echo_json(manager.metrics())
        else:
            watch(manager, every_s, threading.Event(), Console())


def watch(manager: Measured, every_s: float, ended: threading.Event, console: Console) -> None:
    """Show a manager's metrics until ``ended`` is set, or Ctrl-C."""
    view = View(manager.metrics())
    try:
        with Live(render(view), console=console, auto_refresh=False, screen=True) as live:
            while not ended.wait(every_s):
                view = View(manager.metrics(), view.now)
                live.update(render(view), refresh=True)
    except KeyboardInterrupt:
        click.echo("", err=True)
