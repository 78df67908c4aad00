"""Which events of those followed a subscriber wants to see; pure.

Rule owned here: topics name sessions only, so type and agent are filtered where the events arrive.
A filter hides events, it never moves a cursor: what was hidden counts as had.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ...actors.model.event import SessionEvent


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Members that are ``None`` let everything through; an empty one nothing."""

    sessions: frozenset[str] | None = None
    types: frozenset[str] | None = None
    agents: frozenset[str] | None = None

    @classmethod
    def of(
        cls,
        sessions: Collection[str] | None,
        types: Collection[str] | None,
        agents: Collection[str] | None,
    ) -> EventFilter | None:
        """A filter, or ``None`` when nothing would be hidden.

        :raises TypeError: a single text, of which every letter would be a name.
        """
        if sessions is None and types is None and agents is None:
            return None
        return cls(_names(sessions), _names(types), _names(agents))

    def shows(self, event: SessionEvent) -> bool:
        """Whether the caller wants to see it."""
        return (
            (self.types is None or event.type in self.types)
            and (self.sessions is None or event.session_id in self.sessions)
            and (self.agents is None or event.agent_name in self.agents)
        )


def _names(names: Collection[str] | None) -> frozenset[str] | None:
    if isinstance(names, str):
        raise TypeError(f'a filter is a collection of names: say ["{names}"]')
    return None if names is None else frozenset(str(name) for name in names)
