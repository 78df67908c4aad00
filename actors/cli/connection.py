"""Which runtime a command talks to: the one that owns the home, else one of its own."""

from __future__ import annotations

from pathlib import Path

from ...storage.lockfile import is_locked
from ..manager.manager import SessionManager
from ..manager.options import default_home
from ..manager.remote import RemoteSessionManager
from .failures import FAILED, OneLine

LOCK_FILE = "runtime.lock"
Manager = SessionManager | RemoteSessionManager


def is_owned(home: Path) -> bool:
    """Whether a runtime has the home; a file that a killed one left behind does not count."""
    return is_locked(home / LOCK_FILE)


def any_manager(home: Path | None) -> Manager:
    """The runtime of the home, or a new one for this command."""
    place = home or default_home()
    return RemoteSessionManager(place) if is_owned(place) else SessionManager(place)


def running_manager(home: Path | None) -> RemoteSessionManager:
    """The runtime of the home; what only a live session can do needs one."""
    place = home or default_home()
    if not is_owned(place):
        raise OneLine(
            f'no runtime is running in "{place}"; start one with: greenroom serve', FAILED
        )
    return RemoteSessionManager(place)
