"""Actors by name, and groups of actors.

Rules it owns: a name belongs to one living actor at a time, and is free again when that ends; an
actor that ends leaves all its groups; every operation but a broadcast takes constant time. Each is
one dictionary operation, so all of them may be called from any thread.
"""

from __future__ import annotations

from typing import Any

from pykka import ActorDeadError

from .dispatcher import Dispatcher
from .errors import MailboxFullError, NameTakenError
from .monitor import Monitor
from .parcels import Lane
from .ref import GreenRef

__all__ = ["Names"]

Ref = GreenRef[Any]


class Names:
    """A registry of names and groups. As many as wanted; :meth:`of` gives a dispatcher's own."""

    __slots__ = ("_groups", "_monitors", "_named")

    def __init__(self) -> None:
        self._named: dict[str, Ref] = {}
        self._groups: dict[str, dict[Ref, None]] = {}
        self._monitors: dict[tuple[str, str, Ref], Monitor] = {}

    @classmethod
    def of(cls, dispatcher: Dispatcher) -> Names:
        """The registry that the actors of a dispatcher share."""
        if dispatcher.names is None:
            dispatcher.names = cls()
        names: Names = dispatcher.names
        return names

    def register(self, name: str, ref: Ref) -> None:
        """Give ``ref`` a name. Giving it twice does nothing.

        :raises NameTakenError: another living actor has it.
        """
        holder = self._named.setdefault(name, ref)
        if holder != ref and not holder.is_alive():
            self.unregister(name, holder)  # its Down is still on its way
            holder = self._named.setdefault(name, ref)
        if holder != ref:
            raise NameTakenError(name)
        self._watch("name", name, ref)

    def unregister(self, name: str, ref: Ref | None = None) -> None:
        """Free a name; with ``ref``, only if it is that actor's. A free name stays free."""
        holder = self._named.get(name)
        if holder is not None and ref in (None, holder):
            self._named.pop(name, None)
            self._unwatch("name", name, holder)

    def whereis(self, name: str) -> Ref | None:
        """The living actor of that name, or None."""
        ref = self._named.get(name)
        return ref if ref is not None and ref.is_alive() else None

    def names(self) -> dict[str, Ref]:
        """All names in use, as a copy."""
        return dict(self._named)

    def join(self, group: str, ref: Ref) -> None:
        """Put an actor into a group. Joining twice does nothing."""
        self._groups.setdefault(group, {})[ref] = None
        self._watch("group", group, ref)

    def leave(self, group: str, ref: Ref) -> None:
        """Take an actor out of a group; one that is not in it stays out."""
        members = self._groups.get(group)
        if members is not None:
            members.pop(ref, None)
            if not members:
                self._groups.pop(group, None)
        self._unwatch("group", group, ref)

    def members(self, group: str) -> tuple[Ref, ...]:
        """The actors in a group, in the order they joined."""
        return tuple(self._groups.get(group, ()))

    def broadcast(self, group: str, message: Any, *, lane: Lane = Lane.WORK) -> int:
        """Tell every member of a group; members that are dead or full are passed over.

        :returns: how many accepted the message.
        """
        accepted = 0
        for ref in self.members(group):
            try:
                ref.tell(message, lane=lane)
            except (ActorDeadError, MailboxFullError):
                continue
            accepted += 1
        return accepted

    def _watch(self, kind: str, key: str, ref: Ref) -> None:
        place = (kind, key, ref)
        if place not in self._monitors:
            forget = self.unregister if kind == "name" else self.leave
            self._monitors[place] = ref.monitor(lambda down: forget(key, down.ref))

    def _unwatch(self, kind: str, key: str, ref: Ref) -> None:
        monitor = self._monitors.pop((kind, key, ref), None)
        if monitor is not None:
            monitor.cancel()
