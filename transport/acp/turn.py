"""One turn of an agent: what its reports become, and how it ends (04 4.2-4.5, 7.1; 07 11).

It knows no protocol version. A turn whose prompt the agent has not taken yet is held; then it is
open until the work is over, then it settles: late updates still belong to it. The rules owned here:
usage is merged over the turn, what a message repeats is no event, and nothing but the end of work
that outlives the turn follows its one terminal event.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from ...actors.errors import RequestError
from ...actors.model.event import AgentEvent, EventType, RawJSON, TokenUsage
from ...actors.model.failure import FailureKind, SessionFailure, failure
from ...actors.model.runs import Run, TextRun
from . import jsonrpc
from .echo import Echo
from .failures import failure_from_error, make_failure
from .inputs import (
    MessageSet,
    OptionsChanged,
    PlanChanged,
    Report,
    SessionNoted,
    TextAdded,
    ToolChanged,
    UsageSeen,
    UserChunk,
)
from .messages import Key, Messages
from .text_lines import TextLine
from .tools import IsPrechecked, Tools

# Plain text, so that an event holds no enum member and costs no look-up.
USER_MESSAGE = EventType.USER_MESSAGE.value
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

    HELD = "held"
    OPEN = "open"
    SETTLING = "settling"
    CLOSED = "closed"


def fact_event(update: Report, session_id: str) -> AgentEvent | None:
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
    """One turn; made when its prompt is sent, or when the agent begins to work by itself.

    :param turn_id: fills every event.
    :param session_id: the agent's id of the session.
    :param prompts: texts whose echo is to be recognised: as sent, and as the caller wrote it. A
        turn without any is the agent's own.
    :param prechecked: whether the gateway has seen the tool call of an announcement.
    """

    def __init__(
        self,
        turn_id: str,
        session_id: str,
        prompts: tuple[str, ...],
        prechecked: IsPrechecked = lambda update: False,
    ) -> None:
        self.turn_id = turn_id
        self.phase = Phase.OPEN
        self.cancel_sent = False
        self.usage = TokenUsage(turn_id=turn_id)
        self.stop_reason = ""
        self.is_ours = bool(prompts)
        self.was_inserted = False
        self.number = 0
        """Tells the timers of turns apart."""
        self.tools = Tools(self.event, prechecked)
        self._session_id = session_id
        self._echo = Echo(prompts)
        self._messages = Messages()
        self._templates: dict[str, AgentEvent] = {}
        self._has_output = False

    # ---- what the agent reports

    def take(self, update: Report, out: list[Run]) -> None:
        """Append the events of one report."""
        match update:
            case TextAdded():
                self._output(out)
                if update.message_id:
                    self._messages.add((update.role, update.message_id), update.text)
                out.append(self.event(update.role, text=update.text, raw=update.raw))
            case ToolChanged():
                self._end_echo()
                self.tools.take(update, out)
            case UserChunk():
                self._user(update, out)
            case MessageSet():
                self._set(update, out)
            case PlanChanged():
                self._output(out)
                out.append(self.event(PLAN, raw=update.raw))
            case UsageSeen() if not update.usage.is_zero:
                self.tools.flush(out)
                self.usage = self.usage.merge(update.usage)
                out.append(self.event(USAGE, usage=self.usage, raw=update.raw))
            case OptionsChanged() | SessionNoted():
                self.tools.flush(out)
                out.append(self.event(SYSTEM, title=update.token, raw=update.raw))
            case _:  # usage that says nothing
                pass

    def say(self, key: Key, chunk: TextLine, out: list[Run]) -> None:
        """As :meth:`take` of text added; chunks that follow each other become one run."""
        if not self._has_output or self.tools.deferred:
            self._output(out)
        role, message_id = key
        if message_id:
            self._messages.add(key, chunk.text)
        template = self._templates.get(role)
        if template is None:
            template = self._templates[role] = self.event(role)
        last = out[-1] if out else None
        if isinstance(last, TextRun) and last.template is template:
            last.texts.append(chunk.text)
            last.raws.append(chunk.raw)
        else:
            out.append(TextRun(template, [chunk.text], [chunk.raw]))

    def note(self, token: str, text: str, raw: RawJSON, out: list[Run]) -> None:
        """Something under its own token, such as the output of a terminal of the agent."""
        self._output(out)
        out.append(self.event(SYSTEM, title=token, text=text, raw=raw))

    def permission_asked(self, tool_call_id: str, out: list[Run]) -> None:
        """A permission request is about to become an event: what came before it goes first (D26).

        It also speaks of the call, so that a result of a call that is never announced otherwise
        need not wait.
        """
        self._output(out)
        self.tools.expect(tool_call_id)

    def _user(self, chunk: UserChunk, out: list[Run]) -> None:
        for spoken in self._echo.take(chunk):
            self.tools.flush(out)
            self._has_output = True
            if spoken.message_id:
                self._messages.add((USER_MESSAGE, spoken.message_id), spoken.text)
            out.append(self.event(USER_MESSAGE, text=spoken.text, raw=spoken.raw))

    def _set(self, update: MessageSet, out: list[Run]) -> None:
        """A whole message: only what it adds to what was streamed is news (07 R23)."""
        if update.text is None or update.message_id == self._echo.message_id:
            return
        key = (update.role, update.message_id)
        is_new = key not in self._messages
        rest = self._messages.replace(key, update.text)
        if rest is None:
            self.note(update.token, "", update.raw, out)
        elif rest or (is_new and update.has_blocks):
            self._output(out)
            out.append(self.event(update.role, text=rest, raw=update.raw))

    def _output(self, out: list[Run]) -> None:
        if not self._has_output:
            self._end_echo()
        self.tools.flush(out)

    def _end_echo(self) -> None:
        self._has_output = True
        self._echo.end()

    # ---- the end

    @property
    def is_open(self) -> bool:
        """Whether the work is not over yet, or has not even begun."""
        return self.phase in (Phase.HELD, Phase.OPEN)

    def hold(self) -> None:
        """The prompt was sent; the agent will say when it becomes part of the session."""
        self.phase = Phase.HELD

    def inserted(self, message_id: str) -> None:
        """The agent took the prompt, as the message of that id."""
        self.phase = Phase.OPEN
        self.was_inserted = True
        self._echo.message_id = message_id

    def answered(self, stop_reason: str, usage: TokenUsage) -> None:
        """The work is over; late updates are still taken until :meth:`finish`."""
        self.phase = Phase.SETTLING
        self.stop_reason = stop_reason
        self.usage = self.usage.merge(usage)

    @property
    def suspect(self) -> bool:
        """Whether the answer was a cancel that nobody asked for (07 R3)."""
        return self.stop_reason == STOP_CANCELLED and not self.cancel_sent

    def finish(self, out: list[Run]) -> None:
        """End with ``done``."""
        self.tools.flush(out)
        silent = not (self._has_output or self.cancel_sent)
        if self.stop_reason == STOP_END_TURN and silent and self.is_ours:
            out.append(self.event(RUNTIME_WARNING, text=NO_OUTPUT))
        usage = None if self.usage.is_zero else self.usage
        out.append(self.event(DONE, stop_reason=self.stop_reason, usage=usage))
        self.phase = Phase.CLOSED

    def fail(self, error: RequestError, out: list[Run]) -> None:
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

    def abandon(self, out: list[Run]) -> None:
        """End with ``error``: a cancel was not acknowledged in time (D27)."""
        self._fail(failure(FailureKind.CANCELLATION, NOT_ACKNOWLEDGED), None, out)

    def close(self, out: list[Run]) -> None:
        """End without a terminal event, because a stop was requested (04 4.2)."""
        self.tools.flush(out)
        self.phase = Phase.CLOSED

    def _fail(self, settled: SessionFailure, raw: RawJSON | None, out: list[Run]) -> None:
        self.tools.flush(out)
        out.append(self.event(ERROR, error=settled.summary, failure=settled, raw=raw))
        self.phase = Phase.CLOSED

    def event(self, type_: str, **members: Any) -> AgentEvent:
        """An event of this turn."""
        return AgentEvent(type=type_, session_id=self._session_id, turn_id=self.turn_id, **members)


def cancel_was_refused(error: RequestError) -> bool:
    """Whether the answer to a cancelled prompt makes the process suspect (07 R3)."""
    return error.code != jsonrpc.REQUEST_CANCELLED
