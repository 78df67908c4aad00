"""The tool calls of one turn: a result never precedes its call (04 4.4; 07 R19, R20).

Results whose call was not seen yet wait, for the call may be the next thing on the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...actors.model.event import AgentEvent, EventType
from ...actors.model.runs import Run
from .inputs import ToolChanged
from .options import DEFERRED_RESULTS_MAX, KNOWN_TOOLS_MAX

TOOL_CALL = EventType.TOOL_CALL.value
TOOL_RESULT = EventType.TOOL_RESULT.value
MakeEvent = Callable[..., AgentEvent]
IsPrechecked = Callable[[ToolChanged], bool]


class _Known:
    """A call that was announced."""

    __slots__ = ("cancellable", "mark")

    def __init__(self) -> None:
        self.mark: int | None = None  # of its last result, once there is one
        self.cancellable = False


class Tools:
    """The calls of one turn.

    :param event: makes an event of the turn.
    :param prechecked: whether the gateway has seen the call that is announced (04 5.6).
    """

    def __init__(self, event: MakeEvent, prechecked: IsPrechecked) -> None:
        self._event = event
        self._prechecked = prechecked
        # In order of announcement.
        self._known: dict[str, _Known] = {}
        self._expected: set[str] = set()
        self.deferred: dict[str, ToolChanged] = {}
        """Results whose call was not announced yet."""

    def __contains__(self, tool_call_id: str) -> bool:
        return tool_call_id in self._known

    @property
    def running(self) -> list[str]:
        """The calls that have no result."""
        return [name for name, known in self._known.items() if known.mark is None]

    @property
    def stoppable(self) -> list[str]:
        """Of these the ones that the agent stops when asked to."""
        return [name for name in self.running if self._known[name].cancellable]

    def expect(self, tool_call_id: str) -> None:
        """A permission speaks of the call: its result need not wait for an announcement."""
        if len(self._expected) < KNOWN_TOOLS_MAX:
            self._expected.add(tool_call_id)

    def take(self, update: ToolChanged, out: list[Run]) -> None:
        """Append the events of a report."""
        tool_call_id = update.tool_call_id
        if update.announces or not update.final:
            self._announce(update, out)
            deferred = self.deferred.pop(tool_call_id, None)
            if deferred is not None:
                self._result(deferred, out)
            elif update.final:
                self._result(update, out)
        elif tool_call_id == "" or tool_call_id in self._known:
            self._result(update, out)
        elif update.upserts or tool_call_id in self._expected:
            self._announce(update, out)
            self._result(update, out)
        else:
            # The call may be the next thing on the wire: wait for it, but not for long.
            self.deferred.setdefault(tool_call_id, update)
            if len(self.deferred) > DEFERRED_RESULTS_MAX:
                self._release(next(iter(self.deferred)), out)

    def flush(self, out: list[Run]) -> None:
        """Let results go whose call was never announced: they announce it themselves (07 R19)."""
        while self.deferred:
            self._release(next(iter(self.deferred)), out)

    def _release(self, tool_call_id: str, out: list[Run]) -> None:
        update = self.deferred.pop(tool_call_id)
        self._announce(update, out)
        self._result(update, out)

    def _announce(self, update: ToolChanged, out: list[Run]) -> None:
        known = self._known.setdefault(update.tool_call_id, _Known())
        if update.cancellable is not None:
            known.cancellable = update.cancellable
        if len(self._known) > KNOWN_TOOLS_MAX:
            del self._known[next(iter(self._known))]
        out.append(self.call_event(update, self._prechecked(update)))

    def _result(self, update: ToolChanged, out: list[Run]) -> None:
        mark = hash(update.raw.data)
        known = self._known.get(update.tool_call_id) if update.tool_call_id else None
        if known is not None:
            if known.mark == mark:
                return  # the same result once more
            known.mark = mark
        out.append(self.result_event(update))

    def call_event(self, update: ToolChanged, prechecked: bool = False) -> AgentEvent:
        """The event of a call that goes on."""
        return self._event(TOOL_CALL, tool_prechecked=prechecked, **_members(update))

    def result_event(self, update: ToolChanged) -> AgentEvent:
        """The event of a call that is over."""
        return self._event(TOOL_RESULT, error=update.error, **_members(update))


def _members(update: ToolChanged) -> dict[str, Any]:
    return {
        "tool_call_id": update.tool_call_id,
        "title": update.title,
        "raw": update.raw,
    }
