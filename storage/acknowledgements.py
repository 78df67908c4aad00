"""Which written submits may be told, and which wait for the medium (03 13). Pure bookkeeping.

Class P is told once it is written, unless a class F of its lane still waits: within a lane the
order is always that of submission.
"""

from __future__ import annotations

from collections.abc import Sequence

from .commits import Outcomes, Submit
from .syncer import SyncResult


class Acknowledgements:
    """The submits that are written and not told."""

    __slots__ = ("_held", "_syncing", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[Submit] = []
        self._held: set[int] = set()
        self._syncing = 0

    @property
    def waiting(self) -> bool:
        """Whether something waits for a sync that was not begun."""
        return len(self._waiting) > self._syncing

    def written(self, submits: Sequence[Submit]) -> list[Submit]:
        """Take in what was written; returns what may be told now."""
        if not self._held and not any(submit.durable for submit in submits):
            return list(submits)
        free: list[Submit] = []
        for submit in submits:
            if submit.durable or id(submit.lane) in self._held:
                self._held.add(id(submit.lane))
                self._waiting.append(submit)
            else:
                free.append(submit)
        return free

    def begin_sync(self) -> list[Submit]:
        """A sync begins: it covers everything that waits now, which is returned."""
        self._syncing = len(self._waiting)
        return list(self._waiting)

    def end_sync(self, result: SyncResult) -> tuple[list[Submit], Outcomes]:
        """A sync is over: what is kept now, and what failed. Together, in order, all it settles.

        After a failed sync everything that waits has failed, also what was written meanwhile.
        """
        covered, rest = self._waiting[: self._syncing], self._waiting[self._syncing :]
        self._waiting, self._held, self._syncing = [], set(), 0
        if result.error is not None:
            return [], [(submit, result.error) for submit in (*covered, *rest)]
        if not result.refused:
            return covered + self.written(rest), []
        broken = {id(submit.lane): error for submit, error in result.refused}
        kept: list[Submit] = []
        failed: Outcomes = []
        for submit in (*covered, *self.written([s for s in rest if id(s.lane) not in broken])):
            error = broken.get(id(submit.lane))
            if error is None:
                kept.append(submit)
            else:
                failed.append((submit, error))
        for submit in rest:
            error = broken.get(id(submit.lane))
            if error is not None:
                failed.append((submit, error))
        return kept, failed
