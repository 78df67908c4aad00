"""One turn of an agent: what its reports become, and how it ends (04 4.2-4.5, 7.1; 07 11).

It knows no protocol version. A turn is open until its prompt is answered, then it settles: late
updates still belong to it. The rules owned here: a tool result never precedes its call, usage is
merged over the turn, our own prompt's echo is no event, and nothing follows the one terminal event.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from ...actors.errors import RequestError
from ...actors.model.event import AgentEvent, EventType, RawJSON, TokenUsage
from ...actors.model.failure import FailureKind, SessionFailure, failure
from . import jsonrpc
from .failures import failure_from_error, make_failure
from .inputs import (
    OptionsChanged,
    PlanChanged,
    SessionNoted,
    TextAdded,
    ToolChanged,
    Update,
    UsageSeen,
    UserChunk,
)
from .options import DEFERRED_RESULTS_MAX, KNOWN_TOOLS_MAX

# Plain text, so that an event holds no enum member and costs no look-up.
USER_MESSAGE = EventType.USER_MESSAGE.value
TOOL_CALL = EventType.TOOL_CALL.value
TOOL_RESULT = EventType.TOOL_RESULT.value
PLAN = EventType.PLAN.value
USAGE = EventType.USAGE.value
SYSTEM = EventType.SYSTEM.value
RUNTIME_WARNING = EventType.RUNTIME_WARNING.value
DONE = EventType.DONE.value
ERROR = EventType.ERROR.value

PROMPT_FAILED = "ACP session/prompt failed"
PROMPT_CANCELED = "ACP session/prompt canceled"
NOT_ACKNOWLEDGED = "agent did not acknowledge cancel"
NO_OUTPUT = "the agent ended the turn without any output"
"""A model failure that the agent swallowed looks like this (07 R8)."""

STOP_CANCELLED = "cancelled"
STOP_END_TURN = "end_turn"


class Phase(Enum):
    """How far a turn is."""

    OPEN = "open"
    SETTLING = "settling"
    CLOSED = "closed"


def fact_event(update: Update, session_id: str) -> AgentEvent | None:
    """The event of a report about the session, which needs no turn (07 R11); else ``None``."""
    match update:
        case OptionsChanged() | SessionNoted(fact=True):
            return AgentEvent(
                type=SYSTEM, session_id=session_id, title=update.token, raw=update.raw
            )
        case UsageSeen() if not update.usage.is_zero:
            return AgentEvent(type=USAGE, session_id=session_id, usage=update.usage, raw=update.raw)
        case _:
            return None


class Turn:
    """One turn; made when its prompt is sent.

    :param turn_id: fills every event.
    :param session_id: the agent's id of the session.
    :param prompts: texts whose echo is to be recognised: as sent, and as the caller wrote it.
    """

    def __init__(self, turn_id: str, session_id: str, prompts: tuple[str, ...]) -> None:
        self.turn_id = turn_id
        self.phase = Phase.OPEN
        self.cancel_sent = False
        self.usage = TokenUsage(turn_id=turn_id)
        self.stop_reason = ""
        self._session_id = session_id
        self._echo = _Echo(prompts)
        self._has_output = False
        # Announced calls, in order of announcement, each with the mark of its last result.
        self._known: dict[str, int | None] = {}
        self._expected: set[str] = set()
        self._deferred: dict[str, ToolChanged] = {}

    # ---- what the agent reports

    def take(self, update: Update, out: list[AgentEvent]) -> None:
        """Append the events of one report."""
        match update:
            case TextAdded():
                self._output(out)
                out.append(self._event(update.role, text=update.text, raw=update.raw))
            case ToolChanged():
                self._end_echo()
                self._tool(update, out)
            case UserChunk():
                self._user(update, out)
            case PlanChanged():
                self._output(out)
                out.append(self._event(PLAN, raw=update.raw))
            case UsageSeen() if not update.usage.is_zero:
                self.flush_results(out)
                self.usage = self.usage.merge(update.usage)
                out.append(self._event(USAGE, usage=self.usage, raw=update.raw))
            case OptionsChanged() | SessionNoted():
                self.flush_results(out)
                out.append(self._event(SYSTEM, title=update.token, raw=update.raw))
            case _:  # usage that says nothing
                pass

    def permission_asked(self, tool_call_id: str, out: list[AgentEvent]) -> None:
        """A permission request is about to become an event: what came before it goes first (D26).

        It also speaks of the call, so that a result of a call that is never announced otherwise
        need not wait.
        """
        self._output(out)
        if len(self._expected) < KNOWN_TOOLS_MAX:
            self._expected.add(tool_call_id)

    def _user(self, chunk: UserChunk, out: list[AgentEvent]) -> None:
        for spoken in self._echo.take(chunk):
            self.flush_results(out)
            self._has_output = True
            out.append(self._event(USER_MESSAGE, text=spoken.text, raw=spoken.raw))

    def _output(self, out: list[AgentEvent]) -> None:
        self._end_echo()
        self.flush_results(out)

    def _end_echo(self) -> None:
        self._has_output = True
        self._echo.end()

    # ---- tools

    def _tool(self, update: ToolChanged, out: list[AgentEvent]) -> None:
        tool_call_id = update.tool_call_id
        if update.announces or not update.final:
            self._announce(update, out)
            deferred = self._deferred.pop(tool_call_id, None)
            if deferred is not None:
                self._result(deferred, out)
            elif update.final:
                self._result(update, out)
        elif tool_call_id == "" or tool_call_id in self._known:
            self._result(update, out)
        elif tool_call_id in self._expected:
            self._announce(update, out)
            self._result(update, out)
        else:
            # The call may be the next thing on the wire: wait for it, but not for long.
            self._deferred.setdefault(tool_call_id, update)
            if len(self._deferred) > DEFERRED_RESULTS_MAX:
                self._release(next(iter(self._deferred)), out)

    def flush_results(self, out: list[AgentEvent]) -> None:
        """Let results go whose call was never announced: they announce it themselves (07 R19)."""
        while self._deferred:
            self._release(next(iter(self._deferred)), out)

    def _release(self, tool_call_id: str, out: list[AgentEvent]) -> None:
        update = self._deferred.pop(tool_call_id)
        self._announce(update, out)
        self._result(update, out)

    def _announce(self, update: ToolChanged, out: list[AgentEvent]) -> None:
        tool_call_id = update.tool_call_id
        self._known.setdefault(tool_call_id, None)
        if len(self._known) > KNOWN_TOOLS_MAX:
            del self._known[next(iter(self._known))]
        out.append(
            self._event(
                TOOL_CALL,
                tool_call_id=tool_call_id,
                title=update.title,
                raw=update.raw,
            )
        )

    def _result(self, update: ToolChanged, out: list[AgentEvent]) -> None:
        mark = hash(update.raw.data)
        if update.tool_call_id and self._known.get(update.tool_call_id) == mark:
            return  # the same result once more
        if update.tool_call_id:
            self._known[update.tool_call_id] = mark
        out.append(
            self._event(
                TOOL_RESULT,
                tool_call_id=update.tool_call_id,
                title=update.title,
                raw=update.raw,
            )
        )

    # ---- the end

    @property
    def is_open(self) -> bool:
        """Whether the prompt still waits for its answer."""
        return self.phase is Phase.OPEN

    def answered(self, stop_reason: str, usage: TokenUsage) -> None:
        """The prompt was answered; late updates are still taken until :meth:`finish`."""
        self.phase = Phase.SETTLING
        self.stop_reason = stop_reason
        self.usage = self.usage.merge(usage)

    @property
    def suspect(self) -> bool:
        """Whether the answer was a cancel that nobody asked for (07 R3)."""
        return self.stop_reason == STOP_CANCELLED and not self.cancel_sent

    def finish(self, out: list[AgentEvent]) -> None:
        """End with ``done``."""
        self.flush_results(out)
        if self.stop_reason == STOP_END_TURN and not self._has_output:
            out.append(self._event(RUNTIME_WARNING, text=NO_OUTPUT))
        usage = None if self.usage.is_zero else self.usage
        out.append(self._event(DONE, stop_reason=self.stop_reason, usage=usage))
        self.phase = Phase.CLOSED

    def fail(self, error: RequestError, out: list[AgentEvent]) -> None:
        """End with ``error``: the prompt was answered with one, or never will be."""
        if self.cancel_sent:
            kind, step = FailureKind.CANCELLATION, PROMPT_CANCELED
        else:
            kind, step = failure_from_error(error, FailureKind.PROMPT), PROMPT_FAILED
        settled = make_failure(kind, step, error)
        raw: dict[str, Any] = {"code": error.code, "message": str(error)}
        if error.data is not None:
            raw["data"] = error.data
        self._fail(settled, RawJSON.of(raw), out)

    def abandon(self, out: list[AgentEvent]) -> None:
        """End with ``error``: a cancel was not acknowledged in time (D27)."""
        self._fail(failure(FailureKind.CANCELLATION, NOT_ACKNOWLEDGED), None, out)

    def close(self, out: list[AgentEvent]) -> None:
        """End without a terminal event, because a stop was requested (04 4.2)."""
        self.flush_results(out)
        self.phase = Phase.CLOSED

    def _fail(self, settled: SessionFailure, raw: RawJSON | None, out: list[AgentEvent]) -> None:
        self.flush_results(out)
        out.append(self._event(ERROR, error=settled.summary, failure=settled, raw=raw))
        self.phase = Phase.CLOSED

    def _event(self, type_: str, **members: Any) -> AgentEvent:
        return AgentEvent(type=type_, session_id=self._session_id, turn_id=self.turn_id, **members)


def cancel_was_refused(error: RequestError) -> bool:
    """Whether the answer to a cancelled prompt makes the process suspect (07 R3)."""
    return error.code != jsonrpc.REQUEST_CANCELLED


class _Echo:
    """Tells the echo of our prompt from other user messages (07 R22).

    Chunks are held as long as their joined text starts one of the prompts; the first agent
    content proves that they were an echo, any other chunk that they were not.
    """

    def __init__(self, prompts: tuple[str, ...]) -> None:
        self._candidates = prompts
        self._offset = 0
        self._held: list[UserChunk] = []

    def take(self, chunk: UserChunk) -> list[UserChunk]:
        """The chunks that are somebody's message after all."""
        matching = tuple(
            text for text in self._candidates if text.startswith(chunk.text, self._offset)
        )
        if matching:
            self._candidates = matching
            self._offset += len(chunk.text)
            if chunk.text:  # empty ones could pile up without end, and say nothing
                self._held.append(chunk)
            return []
        spoken = [*self._held, chunk]
        self.end()
        return spoken

    def end(self) -> None:
        """No echo is expected any more."""
        self._candidates = ()
        self._held = []
