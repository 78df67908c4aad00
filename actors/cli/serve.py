"""``greenroom serve``: a runtime that lives until it is told to end."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType

import click

from ..manager.manager import SessionManager


def serve(*, home: Path | None) -> None:
    """Own the home and take calls until SIGTERM or SIGINT; then stop every session."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    with SessionManager(home) as manager:
        click.echo(f"serving {manager.home}; end with Ctrl-C", err=True)
        click.echo("ready")
        ended.wait()
        click.echo("stopping sessions", err=True)
