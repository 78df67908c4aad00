"""What waits for a commit, in order: publish, deliver, and the effects that depend on it.

One batch per step. A batch leaves when all its commits are settled and every earlier batch has
left, so rows are published strictly in sequence order and a durable row holds back what is behind
it. A failed commit turns its own dependents into failures and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...storage.stored_rows import NO_ROWS, StoredRows
from ..core.effects import Effect
from ..errors import SessionError
from ..runtime.future import GreenFuture


@dataclass(slots=True, eq=False)
class Item:
    """One ordered effect, and the rows it was given when it was submitted."""

    effect: Effect
    rows: StoredRows = NO_ROWS


@dataclass(slots=True, eq=False)
class Batch:
    """The ordered effects of one step and how many of its commits are open."""

    items: list[Item]
    open: int = 0
    error: SessionError | None = field(default=None)


Release = Callable[[Item, SessionError | None], None]
"""Lets an effect take place; the error is that of a commit it depends on."""


class Outbox:
    """The batches of one session.

    :param release: called once per effect, in order, in the hub.
    """

    def __init__(self, release: Release) -> None:
        self._release = release
        self._batches: deque[Batch] = deque()
        self._flushing = False
        self._waiting: list[GreenFuture[None]] = []

    def drained(self) -> GreenFuture[None]:
        """A future that is set once nothing waits for a commit."""
        future: GreenFuture[None] = GreenFuture()
        self._waiting.append(future)
        self.flush()
        return future

    def add(self, effects: Sequence[Effect]) -> Batch:
        """Append the ordered effects of one step; nothing leaves before :meth:`flush`."""
        batch = Batch([Item(effect) for effect in effects])
        self._batches.append(batch)
        return batch

    def settle(self, batch: Batch, error: SessionError | None) -> None:
        """One commit of the batch came back."""
        batch.open -= 1
        batch.error = batch.error or error
        self.flush()

    def flush(self) -> None:
        """Let everything leave that can. Re-entrant calls leave the work to the outer one."""
        if self._flushing:
            return
        self._flushing = True
        try:
            while self._batches and self._batches[0].open == 0:
                batch = self._batches.popleft()
                for item in batch.items:
                    self._release(item, batch.error)
        finally:
            self._flushing = False
        if not self._batches and self._waiting:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                future.set(None)
