"""Inputs that come from the host: what its hooks and its notifier of turn ends say."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SessionError
from ..model.hooks import HookPayload


@dataclass(frozen=True, slots=True)
class HookDispatched:
    """A hook answered ``DispatchHook`` or ``ObserveHook`` (02 3, 6; 06 1).

    :param key: of the effect.
    :param payload: what it answered, or what it was told when it raised.
    :param error: a :class:`HookFailedError`.
    """

    key: str
    payload: HookPayload
    error: SessionError | None = None


@dataclass(frozen=True, slots=True)
class TurnEndNotifierSet:
    """The host wants to be told of the end of turns, or no more (02 1)."""

    installed: bool


@dataclass(frozen=True, slots=True)
class TurnEndNotified:
    """The host was told, and has started what it wanted to start (02 6)."""

    turn_id: str
