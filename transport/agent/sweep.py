"""Find what ended agents left behind outside their groups, many agents in one look (07 R33).

A look reads the environment of every process of the system. When a thousand agents end together
that must not be a thousand looks: everybody who asks during one is served by the next.
"""

from __future__ import annotations

import gevent
from gevent.event import AsyncResult

from .natives import Offload
from .strays import kill_strays


class Sweep:
    """Kills strays on request.

    :param offload: runs the look in a native thread.
    """

    def __init__(self, offload: Offload) -> None:
        self._offload = offload
        self._waiting: dict[str, AsyncResult] = {}
        self._is_looking = False

    def kill(self, token: str) -> list[int]:
        """Kill every process that carries the start's token, and wait until that is done.

        :returns: the ids of those killed.
        """
        found = self._waiting[token] = AsyncResult()
        if not self._is_looking:
            self._is_looking = True
            gevent.spawn(self._look)
        killed: list[int] = found.get()
        return killed

    def _look(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, {}
                try:
                    killed = self._offload(kill_strays, frozenset(waiting))
                except Exception as error:
                    for found in waiting.values():
                        found.set_exception(error)
                    continue
                for token, found in waiting.items():
                    found.set(killed.get(token, []))
        finally:
            self._is_looking = False
