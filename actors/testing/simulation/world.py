"""The world of a simulated runtime: its disk, threads, bus and ids, all from one seed.

:class:`SimWorld` takes the place of :class:`greenroom.actors.manager.world.World`; everything
above it, the manager's verbs included, is the real thing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from ....storage.home import HomeStore
from ....storage.lockfile import HomeLock
from ....storage.meta import META_BYTES_MAX
from ....transport.bus.endpoints import Endpoints
from ...errors import SessionNotFoundError, StorageError
from ...manager.options import ManagerOptions
from ...manager.workspaces import Workspace
from ...manager.world import World
from ...model.session import SessionMeta
from ...runtime.hub import Hub
from ...session.ports import Observer
from ..clock import VirtualClock
from ..sim_files import SimFileSystem
from .threads import SimThreads, SimWorker

__all__ = ["HOME", "SimDocuments", "SimWorld"]

HOME = Path("/home")
_META = msgspec.msgpack.Encoder()
_META_DECODER = msgspec.msgpack.Decoder(SessionMeta)
TEMPORARY = ".greenroom-atomic-simulated"


class SimDocuments:
    """Meta documents on a simulated disk, replaced in the same steps as on a real one.

    Their bytes are not those of a real one: the form has tests of its own, and costs too much here.
    """

    def __init__(self, disk: SimFileSystem) -> None:
        self._disk = disk
        self.bundles: dict[str, bytes] = {}
        """Crash bundles; they are not looked at after a power loss."""

    def read_meta(self, path: Path) -> SessionMeta:
        """See :class:`greenroom.actors.session.documents.Documents`."""
        try:
            file = self._disk.open_read(str(path))
        except FileNotFoundError as error:
            session_id = path.parent.name
            raise SessionNotFoundError(
                f'read meta: session "{session_id}" not found', session_id=session_id
            ) from error
        found: SessionMeta = _META_DECODER.decode(file.read(0, META_BYTES_MAX))
        return found

    def write_meta(self, path: Path, meta: SessionMeta) -> None:
        """See :class:`greenroom.actors.session.documents.Documents`."""
        disk, directory = self._disk, str(path.parent)
        temporary = f"{directory}/{TEMPORARY}"
        try:
            disk.make_directory(directory)
            if disk.exists(temporary):
                disk.remove(temporary)
            file = disk.open_append(temporary)
            file.append(_META.encode(meta))
            file.sync()
            disk.rename(temporary, str(path))
            disk.sync_directory(directory)
        except OSError as error:
            raise StorageError(f"write {path}: {error}", path=str(path)) from error

    def write_bundle(self, path: Path, data: bytes) -> None:
        """See :class:`greenroom.actors.session.documents.Documents`."""
        self.bundles[str(path)] = data

    def read_bundle(self, path: Path) -> bytes:
        """See :class:`greenroom.actors.session.documents.Documents`."""
        try:
            return self.bundles[str(path)]
        except KeyError as error:
            raise StorageError(f"read {path}: there is none", path=str(path)) from error

    def is_directory(self, path: Path) -> bool:
        """See :class:`greenroom.actors.session.documents.Documents`."""
        return self._disk.exists(str(path))

    def remove_tree(self, path: Path) -> None:
        """See :class:`greenroom.actors.session.documents.Documents`."""
        if self._disk.exists(str(path)):
            for name in self._disk.names(str(path)):
                self._disk.remove(f"{path}/{name}")
            self._disk.directories.discard(str(path))


class _NoLock(HomeLock):
    """Nobody else has a simulated home."""

    def __init__(self) -> None:
        super().__init__(HOME, -1)


class _Bus:
    """Hands every published row to whoever looks on."""

    endpoints = Endpoints("inproc://simulated-events", "inproc://simulated-control")

    def __init__(self, published: Callable[[str, Sequence[bytes]], None]) -> None:
        self.publish = published

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""


class _OneWorkspace:
    """A directory that is always there."""

    _place = Workspace("ws-simulated", "/work")

    def resolve_or_register(self, path: str | PathLike[str]) -> Workspace:
        """The one there is."""
        return self._place

    def resolve(self, reference: str) -> Workspace:
        """The one there is."""
        return self._place

    def root_of(self, workspace_id: str) -> str:
        """The one there is."""
        return self._place.root

    def roots(self) -> dict[str, str]:
        """The one there is."""
        return {self._place.id: self._place.root}

    def close(self) -> None:
        """Nothing to close."""


class SimWorld(World):
    """Everything a runtime is built on, simulated.

    :param clock: the time of everything.
    :param name: of this life of the home; part of the ids made in it.
    :param disk: where the home is; a new life of the same home gets what is left of the old one's.
    :param delay: draws how long a woken thread takes to get going.
    :param published: told of every row that goes out to subscribers.
    :param observer: told of every step of every session.
    """

    def __init__(
        self,
        name: str,
        clock: VirtualClock,
        disk: SimFileSystem,
        delay: Callable[[], float],
        published: Callable[[str, Sequence[bytes]], None],
        observer: Observer,
    ) -> None:
        self.disk = disk
        self.threads = SimThreads(clock, delay)
        self.documents = SimDocuments(disk)
        self.observer = observer
        self.store: HomeStore | None = None
        self._clock = clock
        self._published = published
        self._name = name
        self._ids = itertools.count(1)

    def clock(self, hub: Hub) -> VirtualClock:
        """The simulation's."""
        return self._clock

    def home(self, options: ManagerOptions, hub: Hub) -> HomeStore:
        """The real store on the simulated disk, its threads greenlets."""
        events = itertools.count(1)
        self.store = HomeStore.open(
            options.home,
            post=hub.post,
            durability=options.durability,
            sync_interval=options.sync_interval,
            fs=self.disk,
            threads=self.threads,
            clock=self._clock.monotonic,
            now=self._clock.now,
            new_event_id=lambda: f"ev-{next(events):016x}",
            lock=lambda path: _NoLock(),
        )
        return self.store

    def worker(self) -> SimWorker:
        """A simulated thread for file work."""
        return SimWorker(self.threads)

    def workspaces(self, options: ManagerOptions) -> _OneWorkspace:
        """One directory that is always there."""
        return _OneWorkspace()

    def publisher(self, options: ManagerOptions, home: HomeStore) -> Any:
        """The onlooker."""
        return _Bus(self._published)

    def id_seed(self) -> str:
        """Counted, not drawn: an incarnation's ids are the same in every run of the seed."""
        return f"{self._name}-{next(self._ids)}"

    def process_alive(self, pid: int) -> bool:
        """No simulated process outlives its runtime."""
        return False
