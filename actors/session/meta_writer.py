"""Replaces ``meta.json`` off the hub: one write at a time, the newest document wins (01 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ..model.session import SessionMeta
from ..runtime.future import GreenFuture
from .documents import Documents


class Worker(Protocol):
    """Runs file work outside of the hub."""

    def submit(self, fn: Callable[..., None], *args: Any) -> GreenFuture[None]:
        """Have ``fn(*args)`` called; its outcome is the future's."""


class MetaWriter:
    """The meta document of one session.

    :param path: ``meta.json``.
    :param worker: where the file work runs.
    :param post: runs a callable in the hub, from any thread.
    :param documents: where it is kept.
    """

    def __init__(
        self,
        path: Path,
        worker: Worker,
        post: Callable[[Callable[[], None]], None],
        documents: Documents,
    ) -> None:
        self._path = path
        self._worker = worker
        self._post = post
        self._documents = documents
        self._next: SessionMeta | None = None
        self._waiting: list[GreenFuture[None]] = []
        self._writing: list[GreenFuture[None]] = []
        self._busy = False

    def put(self, meta: SessionMeta) -> GreenFuture[None]:
        """Store a document; the future is set once it, or a newer one, is on disk."""
        written: GreenFuture[None] = GreenFuture()
        self._next = meta
        self._waiting.append(written)
        self._start()
        return written

    def flush(self) -> GreenFuture[None]:
        """A future that is set once everything put so far is on disk."""
        settled: GreenFuture[None] = GreenFuture()
        if self._next is not None:
            self._waiting.append(settled)
        elif self._busy:
            self._writing.append(settled)
        else:
            settled.set(None)
        return settled

    def _start(self) -> None:
        if self._busy or self._next is None:
            return
        self._busy = True
        meta, self._next = self._next, None
        self._writing, self._waiting = self._waiting, []
        write = self._worker.submit(self._documents.write_meta, self._path, meta)
        write.add_done_callback(lambda done: self._post(lambda: self._written(done)))

    def _written(self, done: GreenFuture[None]) -> None:
        self._busy = False
        written, self._writing = self._writing, []
        for future in written:
            try:
                done.get()
            except Exception:
                future.set_exception()
            else:
                future.set(None)
        self._start()
