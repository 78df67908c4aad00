"""Pykka's registry of living actors, with removal in constant time.

Pykka keeps the refs in a list, so that each stop searches all of them: 20,000 actors stop at a
seventh of the rate of 1,000 (K6). The list is replaced, on the first start of one of our actors,
by a table that behaves like it where ``ActorRegistry`` uses it: same order, same copies.
Registering goes straight to the table, because ``ActorRegistry.register`` formats a debug line,
wanted or not, at a tenth of the cost of a whole start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pykka import ActorRef, ActorRegistry

__all__ = ["RefTable", "register", "unregister"]


class RefTable:
    """An ordered set of refs in the clothes of a list: all that ``ActorRegistry`` asks of one."""

    __slots__ = ("_refs",)

    def __init__(self, refs: Iterable[ActorRef[Any]] = ()) -> None:
        self._refs: dict[ActorRef[Any], None] = dict.fromkeys(refs)

    def __len__(self) -> int:
        return len(self._refs)

    def __iter__(self) -> Iterator[ActorRef[Any]]:
        return iter(list(self._refs))  # a copy: others may come and go meanwhile

    def __contains__(self, ref: object) -> bool:
        return ref in self._refs

    def __getitem__(self, index: Any) -> Any:
        return list(self._refs)[index]

    def append(self, ref: ActorRef[Any]) -> None:
        """Add a ref at the end."""
        self._refs[ref] = None

    def remove(self, ref: ActorRef[Any]) -> None:
        """Remove a ref.

        :raises ValueError: it is not here.
        """
        try:
            del self._refs[ref]
        except KeyError:
            raise ValueError(f"{ref!r} is not registered") from None

    def discard(self, ref: ActorRef[Any]) -> None:
        """Remove a ref if it is here."""
        self._refs.pop(ref, None)


def _table() -> RefTable:
    refs: Any = ActorRegistry._actor_refs
    if type(refs) is RefTable:
        return refs
    with ActorRegistry._actor_refs_lock:
        refs = ActorRegistry._actor_refs
        if type(refs) is not RefTable:
            refs = RefTable(refs)
            ActorRegistry._actor_refs = refs
    table: RefTable = refs
    return table


def register(ref: ActorRef[Any]) -> None:
    """Enter ``ref`` in Pykka's registry. One dict operation, so it needs no lock."""
    _table().append(ref)


def unregister(ref: ActorRef[Any]) -> None:
    """Take ``ref`` out of Pykka's registry, if it is in it."""
    _table().discard(ref)
