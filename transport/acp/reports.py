"""Whose is a report: the open turn's, an earlier turn's, or the session's (07 4.10, 5, R11).

Tool calls and terminals of some agents go on after their turn; what is reported of them belongs to
the turn that announced them, whatever else is open. The reports of subagents are kept as they are.
"""

from __future__ import annotations

from ...actors.model.event import AgentEvent, RawJSON
from .agent_terminals import AgentTerminal, AgentTerminals
from .held import is_users
from .inputs import MessageSet, Report, SessionNoted, TerminalChanged, TextAdded, ToolChanged
from .options import BACKGROUND_MAX
from .outbox import Outbox
from .tools import TOOL_CALL, TOOL_RESULT
from .turn import SYSTEM, Turn, fact_event

CHILD = "subagent"


class Reports:
    """Turns reports into events.

    :param outbox: takes them.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._terminals = AgentTerminals()
        # Calls that outlived their turn, each with the id of that turn.
        self._outliving: dict[str, str] = {}
        self._children: set[str] = set()
        self._drop_logged = False
        self.session_id = ""

    def take(self, report: Report, turn: Turn | None) -> None:
        """Append the events of a report.

        :param turn: the one that is open, or settles.
        """
        events = self._outbox.events
        match report:
            case TerminalChanged():
                self._terminal(report, turn)
                return
            case ToolChanged() if self.outlives(report, turn):
                self._outlived(report)
                return
            case SessionNoted(child=child) if child and len(self._children) < BACKGROUND_MAX:
                self._children.add(child)
        if turn is not None:
            turn.take(report, events)
            return
        fact = fact_event(report, self.session_id)
        if fact is not None:
            events.append(fact)
        elif not self._drop_logged:
            self._drop_logged = True
            self._outbox.log("info", "content outside a turn dropped")

    # ---- work that outlives its turn

    def turn_over(self, turn: Turn) -> None:
        """Remember what it leaves running."""
        self._drop_logged = False
        for tool_call_id in turn.tools.running:
            self._outliving[tool_call_id] = turn.turn_id
        while len(self._outliving) > BACKGROUND_MAX:
            del self._outliving[next(iter(self._outliving))]

    def stoppable_terminals(self, turn_id: str) -> list[str]:
        """Of the agent's own, those of a turn that it stops when asked to (07 R5)."""
        return self._terminals.stoppable(turn_id)

    def terminal(self, terminal_id: str) -> AgentTerminal | None:
        """A terminal of the agent's own."""
        return self._terminals.get(terminal_id)

    def is_work(self, report: Report) -> bool:
        """Whether only an agent at work says that, and not of an earlier turn."""
        match report:
            case TextAdded():
                return True
            case MessageSet():
                return not is_users(report)
            case ToolChanged():
                return not self.outlives(report, None)
            case _:
                return False

    def outlives(self, report: ToolChanged, turn: Turn | None) -> bool:
        """Whether the call was announced by an earlier turn, and not again by this one."""
        known = turn is not None and report.tool_call_id in turn.tools
        # Without upserts a late report is as likely a new call under an old id.
        return report.upserts and report.tool_call_id in self._outliving and not known

    def _outlived(self, report: ToolChanged) -> None:
        turn_id = self._outliving[report.tool_call_id]
        if report.final:
            del self._outliving[report.tool_call_id]
        self._outbox.events.append(
            AgentEvent(
                type=TOOL_RESULT if report.final else TOOL_CALL,
                session_id=self.session_id,
                turn_id=turn_id,
                tool_call_id=report.tool_call_id,
                title=report.title,
                error=report.error,
                raw=report.raw,
            )
        )

    def _terminal(self, report: TerminalChanged, turn: Turn | None) -> None:
        open_turn_id = turn.turn_id if turn else ""
        terminal, text = self._terminals.take(report, open_turn_id)
        if turn is not None and terminal.turn_id == open_turn_id:
            turn.note(report.token, text, report.raw, self._outbox.events)
        else:
            self._note(terminal.turn_id, report.token, text, report.raw)

    # ---- subagents

    def is_child(self, session_id: str) -> bool:
        """Whether that is the session of a subagent that was announced."""
        return session_id in self._children

    def take_child(self, update: bytes, turn: Turn | None) -> None:
        """A report of a subagent, kept whole."""
        raw = RawJSON(update)
        if turn is not None:
            turn.note(CHILD, "", raw, self._outbox.events)
        else:
            self._note("", CHILD, "", raw)

    def _note(self, turn_id: str, title: str, text: str, raw: RawJSON) -> None:
        self._outbox.events.append(
            AgentEvent(
                type=SYSTEM,
                session_id=self.session_id,
                turn_id=turn_id,
                title=title,
                text=text,
                raw=raw,
            )
        )
