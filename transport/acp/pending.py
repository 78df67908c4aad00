"""The permission requests that wait for somebody: exactly one answer wins each (04 6.4, D25).

Whoever takes a request out of the table owns its answer; everybody later finds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from ...actors.errors import (
    InvalidPermissionDecisionError,
    PendingPermissionConflictError,
    PendingPermissionNotFoundError,
    SessionValueError,
)
from ...actors.model.agent import (
    CALLER_DECISIONS,
    ApproveRequest,
    PermissionDecision,
    PermissionOption,
)
from . import permission
from .permission import Asked


@dataclass(frozen=True, slots=True)
class Parked:
    """A request that waits.

    :param key: of the open call it answers.
    :param known_as: its id for callers.
    :param paths: its locations, canonical.
    """

    key: int
    turn_id: str
    known_as: str
    asked: Asked
    paths: tuple[str, ...] = ()


class PendingPermissions:
    """Requests by the id callers know them by, in the order they came.

    Their number is bounded by the calls the connection leaves open.
    """

    def __init__(self) -> None:
        self._parked: dict[str, Parked] = {}
        self._numbers = count(1)

    def __len__(self) -> int:
        return len(self._parked)

    def name(self, asked: Asked, turn_id: str) -> str:
        """An id for the request that no pending one has."""
        return permission.request_id(asked, turn_id, self._parked, self._numbers)

    def park(self, parked: Parked) -> None:
        """Let a request wait."""
        self._parked[parked.known_as] = parked

    def resolve(
        self, request: ApproveRequest
    ) -> tuple[Parked, PermissionOption | None, PermissionDecision]:
        """Take the request a caller answers, with the option that carries the answer out.

        :raises SessionValueError: no caller's decision, or neither id given.
        :raises PendingPermissionNotFoundError: nothing of that id is pending.
        :raises PendingPermissionConflictError: the turn has several.
        :raises InvalidPermissionDecisionError: not offered; the request stays pending.
        """
        if request.decision not in CALLER_DECISIONS:
            raise SessionValueError(f"unknown permission decision: {request.decision!r}")
        parked = self._find(request)
        decision = PermissionDecision(request.decision)
        option, applied = permission.select(parked.asked.options, decision, exact=True)
        if option is None:
            raise InvalidPermissionDecisionError(
                f"the agent does not offer {request.decision}", decision=request.decision
            )
        del self._parked[parked.known_as]
        return parked, option, applied

    def _find(self, request: ApproveRequest) -> Parked:
        known_as, turn_id = request.request_id.strip(), request.turn_id.strip()
        if known_as:
            found = [parked for name, parked in self._parked.items() if name == known_as]
        elif turn_id:
            found = [parked for parked in self._parked.values() if parked.turn_id == turn_id]
        else:
            raise SessionValueError("request_id or turn_id is required")
        match found:
            case [parked]:
                return parked
            case []:
                raise PendingPermissionNotFoundError(
                    "no such permission request is pending", request_id=known_as
                )
            case _:
                raise PendingPermissionConflictError(
                    f"{len(found)} permission requests of turn {turn_id} are pending"
                )

    def take(self, key: int) -> Parked | None:
        """Take the request behind an open call: it timed out or was withdrawn."""
        for known_as, parked in self._parked.items():
            if parked.key == key:
                return self._parked.pop(known_as)
        return None

    def take_all(self) -> list[Parked]:
        """Take every request: their turn, the session or the process ends."""
        taken = list(self._parked.values())
        self._parked.clear()
        return taken
