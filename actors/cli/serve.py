"""``greenroom serve``: a runtime that lives until it is told to end.

The first SIGTERM or SIGINT ends it: every session stops. The second kills their agents, so that
they stop at once; a third ends the process as it stands, and the store recovers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from types import FrameType

import click
import msgspec

from ...storage.atomic_file import write_atomically
from ..errors import SessionError
from ..manager.manager import SessionManager
from ..manager.options import default_home
from .logs import log_to_stderr

KEPT_FILE = "kept.json"
"""The sessions that the next ``serve --keep`` starts again."""
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """Counts the signals that ask for the end."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.hurried = threading.Event()
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self.asked.is_set():
            self.asked.set()
            return
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        self.hurried.set()


def serve(*, home: Path | None, listen: str, keep: bool, log_json: bool) -> None:
    """Own the home and take calls until a signal; then stop every session."""
    log_to_stderr(as_json=log_json)
    ending = Ending()
    place = home or default_home()
    manager = SessionManager(place, listen=listen)
    try:
        click.echo(f"serving {manager.home}; end with Ctrl-C", err=True)
        if manager.remote_endpoints is not None:
            told = manager.remote_endpoints
            click.echo(f"listening: {told.events} {told.control} {told.commands}", err=True)
        if keep:
            threading.Thread(target=start_kept, args=(manager,), daemon=True).start()
        click.echo("ready")
        ending.asked.wait()
        if keep:
            write_kept(manager)
    finally:
        click.echo("stopping sessions; once more hurries", err=True)
        close(manager, ending.hurried)


def close(manager: SessionManager, hurried: threading.Event) -> None:
    """Close the manager; kill the agents when it is to hurry."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            manager.close()
        except BaseException as error:
            errors.append(error)
        hurried.set()

    closing = threading.Thread(target=work)
    closing.start()
    hurried.wait()
    if closing.is_alive():
        kill_agents(manager)
    closing.join()
    if errors:
        raise errors[0]


def kill_agents(manager: SessionManager) -> None:
    """End the agent of every live session, with what it started."""
    with contextlib.suppress(SessionError):
        for info in manager.list():
            pid = info.liveness.subprocess_pid if info.liveness else 0
            if pid:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)


def write_kept(manager: SessionManager) -> None:
    """Remember the live sessions."""
    kept = [info.id for info in manager.list()]
    write_atomically(manager.home / KEPT_FILE, msgspec.json.encode(kept), mode=0o600)


def start_kept(manager: SessionManager) -> None:
    """Start the sessions again that were live when the last runtime ended."""
    path = manager.home / KEPT_FILE
    if not path.exists():
        return
    for session_id in msgspec.json.decode(path.read_bytes(), type=list[str]):
        try:
            manager.resume(session_id)
        except SessionError as error:
            click.echo(f"{session_id}: {error}", err=True)
    path.unlink(missing_ok=True)
