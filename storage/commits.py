"""The vocabulary of the commit log: what is submitted, in which order it fails, who is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from ..actors.errors import StorageError

Done = Callable[[Exception | None], None]
Post = Callable[[Callable[[], None]], None]
Clock = Callable[[], float]


class Durability(StrEnum):
    """What an acknowledgement survives (03 13)."""

    DEFAULT = "default"
    POWER = "power"
    PROCESS = "process"


class Stream:
    """One journal that is fed from the log: its name there, and its file."""

    __slots__ = ("materialised", "name", "on_materialised", "path")

    def __init__(self, name: str, path: str, materialised: int) -> None:
        self.name = name
        self.path = path
        self.materialised = materialised
        """Bytes of the file that hold committed records; written by the materialiser only."""
        self.on_materialised: Callable[[], None] | None = None
        """Called through ``post`` after ``materialised`` has moved."""


class Lane:
    """An order of submits that fail together; broken for good once one of them failed."""

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: Exception | None = None


class Part(NamedTuple):
    """One journal record on its way."""

    stream: Stream
    payload: bytes


class Submit(NamedTuple):
    """One atomic write, waiting."""

    lane: Lane
    parts: Sequence[Part]
    size: int
    durable: bool
    done: Done
    prepare: Callable[[], None] | None


Outcomes = list[tuple[Submit, Exception | None]]
"""What became of submits, in the order it is told."""


class Sink(Protocol):
    """Where committed parts go on to; must not wait."""

    def take(self, submits: Sequence[Submit]) -> None:
        """Take over what was just written."""

    def full(self) -> StorageError | None:
        """The error to refuse new submits with, while too much waits to be taken over."""

    def checkpoint(self) -> None:
        """Everything taken so far lies in segments that shall go; must not wait."""
