"""What must be true after every step of a simulated runtime.

========================  ==================================================================
invariant                 holds when
========================  ==================================================================
one-turn                  a turn begins only when the one before it was closed, and an agent
                          is prompted only while it works on nothing else
one-finalization          an incarnation is finalized, and reported stopped, at most once
first-cause               the cause of a stop never changes once it is set (01 9.2)
one-answer                an ask is answered at most once
gap-free                  rows are published in sequence, none left out, none twice
committed-first           a row is published after its commit, a prompt sent after its input
                          row was published
no-stranded-entry         no queued input waits while the session could take it (02 7.7)
no-double-dispatch        a queued input, a turn and a text reach the agent at most once
one-terminal-event        a turn has one terminal event, and no input after it
nothing-after-stopped     after ``session_stopped`` an incarnation writes nothing
survival                  after a power loss a prefix of what was published is there, and every
                          input, end of a turn and stop of it (03 13)
========================  ==================================================================

The invariants of the end are in :mod:`.final_checks`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....storage.format.rows import decode_row, row_position
from ....storage.home import HomeStore
from ....storage.layout import Layout
from ....storage.session_files import read_event_rows
from ....transport.agent.protocol import PromptRequest
from ...core import effects as fx
from ...core.inputs import AgentStarted, Input
from ...core.pump import DURABLE_TYPES
from ...core.state import SessionState
from ...errors import StoreCorruptError
from ...model.event import AgentEvent, EventType
from ...model.session import StopCause
from ..driver import ScriptedProcess
from ..sim_files import SimFileSystem
from .world import HOME

__all__ = ["PAGE_BYTES", "Checks", "Incarnation", "SessionBook", "ViolationError", "stored_rows"]

PAGE_BYTES = 1 << 24
"""Enough for all rows of a simulated session."""


class ViolationError(AssertionError):
    """An invariant does not hold. Fields: ``invariant``, ``detail``."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
        self.detail = detail


@dataclass(slots=True)
class Incarnation:
    """One life of a session, from its start to its stop."""

    session_id: str
    cause: StopCause = StopCause.NONE
    finalized: int = 0
    answered: Counter[int] = field(default_factory=Counter)


@dataclass(slots=True)
class SessionBook:
    """What is known about one session, over all its incarnations."""

    epoch: int = 0
    sequence: int = 0
    rows: list[bytes] = field(default_factory=list)
    history: list[AgentEvent] = field(default_factory=list)
    inputs: set[str] = field(default_factory=set)
    """Turns whose input row is in the history."""
    terminals: set[str] = field(default_factory=set)
    open_turn: str = ""
    dispatched: Counter[str] = field(default_factory=Counter)
    stopped_rows: int = 0
    stopped_before: int = 0
    """Of these, what earlier lives of the runtime left."""
    stopped_notices: int = 0
    created_notices: int = 0
    recovered: int = 0
    """Markers of restarts."""


class Checks:
    """Looks on, and keeps the first violation.

    It is the observer of every session, the runtime's notifier, its bus, and the driver's witness.
    """

    def __init__(self, told: Callable[[str, str, object], None]) -> None:
        """:param told: writes a line into the trace."""
        self.violation: ViolationError | None = None
        self._told = told
        self.books: dict[str, SessionBook] = {}
        self.incarnations: dict[str, Incarnation] = {}
        self.texts: Counter[str] = Counter()
        self.turns: set[str] = set()
        self.store: HomeStore | None = None
        self.before_loss: dict[str, SessionBook] = {}
        self.replays: Counter[str] = Counter()
        """Texts of cut turns that were queued again, visibly (01 9.6)."""

    def fail(self, invariant: str, detail: str) -> None:
        """Note that an invariant does not hold; the first one counts."""
        if self.violation is None:
            self.violation = ViolationError(invariant, detail)
            self._told("VIOLATED", invariant, detail)

    def book(self, session_id: str) -> SessionBook:
        """The book of a session."""
        found = self.books.get(session_id)
        if found is None:
            found = self.books[session_id] = SessionBook()
        return found

    # The observer.

    def stepped(
        self, before: SessionState, input: Input, state: SessionState, effects: fx.Effects
    ) -> None:
        """A session took an input."""
        life = self.incarnations.get(state.id_seed)
        if life is None:
            life = self.incarnations[state.id_seed] = Incarnation(state.id)
        self._check_cause(life, input, state)
        closed = False
        for effect in effects:
            kind = type(effect)
            if kind is fx.Reply or kind is fx.Refuse:
                self._answered(life, effect.ask)  # type: ignore[union-attr]
            elif kind is fx.Commit:
                if before.finalizing:
                    self.fail("nothing-after-stopped", f"{state.id}: {effect}")
            elif kind is fx.Finalize:
                life.finalized += 1
                if life.finalized > 1:
                    self.fail("one-finalization", f"{state.id}: finalized twice")
            elif kind is fx.CloseStream:
                closed = True
            elif kind is fx.SendPrompt:
                self._sent(effect)
        was, turn = before.turn, state.turn
        if was is not None and (turn is None or turn.turn_id != was.turn_id) and not closed:
            self.fail("one-turn", f"{state.id}: turn {was.turn_id} was left open")
        if isinstance(input, AgentStarted) and before.cut and state.restart.replay_interrupted:
            self.replays[before.cut.message] += 1
        if turn is None and state.takes_input:
            if state.queue.entries and not state.held:
                waiting = [entry.id for entry in state.queue.entries]
                self.fail("no-stranded-entry", f"{state.id}: {waiting} wait, nothing runs")
            if state.replacement is not None:
                self.fail("no-stranded-entry", f"{state.id}: an interrupting prompt waits")

    def _check_cause(self, life: Incarnation, input: Input, state: SessionState) -> None:
        if isinstance(input, AgentStarted) or life.cause is StopCause.NONE:
            life.cause = state.stop_cause
        elif state.stop_cause is not life.cause:
            detail = f"{state.id}: {life.cause} became {state.stop_cause}"
            self.fail("first-cause", detail)

    def _answered(self, life: Incarnation, ask: int) -> None:
        life.answered[ask] += 1
        if life.answered[ask] > 1:
            self.fail("one-answer", f"{life.session_id}: ask {ask} was answered twice")

    def _sent(self, effect: Any) -> None:
        if effect.turn_id in self.turns:
            self.fail("no-double-dispatch", f"turn {effect.turn_id} was sent twice")
        self.turns.add(effect.turn_id)

    # The bus.

    def published(self, session_id: str, rows: Sequence[bytes]) -> None:
        """Rows went out to subscribers."""
        book = self.book(session_id)
        assert self.store is not None
        _, committed = self.store.head(session_id)
        for row in rows:
            _, epoch, sequence = row_position(row)
            if sequence != book.sequence + 1 or epoch < book.epoch:
                place = f"({epoch}, {sequence}) after ({book.epoch}, {book.sequence})"
                self.fail("gap-free", f"{session_id}: {place}")
            if sequence > committed:
                self.fail("committed-first", f"{session_id}: row {sequence} is not committed")
            book.epoch, book.sequence = epoch, sequence
            book.rows.append(row)

    # The notifier.

    def on_session_created(self, session: Any) -> None:
        """An incarnation is active."""
        book = self.book(session.id)
        book.created_notices += 1
        book.open_turn = ""

    def on_session_stopped(self, session: Any) -> None:
        """An incarnation is over."""
        book = self.book(session.id)
        book.stopped_notices += 1
        if book.stopped_notices > book.created_notices:
            self.fail("one-finalization", f"{session.id}: reported stopped twice")

    def on_agent_event(self, session_id: str, event: AgentEvent) -> None:
        """An event was stored, or, marked so, could not be."""
        book = self.book(session_id)
        if not event.persisted:
            if event.turn_id == book.open_turn and event.is_terminal:
                book.open_turn = ""
            return
        book.history.append(event)
        kind, turn_id = event.type, event.turn_id
        if kind == EventType.USER_MESSAGE:
            self._input_stored(session_id, book, event)
        elif kind in (EventType.DONE, EventType.ERROR):
            if turn_id in book.terminals:
                self.fail("one-terminal-event", f"{session_id}: {turn_id} ended twice")
            book.terminals.add(turn_id)
            if book.open_turn == turn_id:
                book.open_turn = ""
        elif kind == EventType.SESSION_STOPPED:
            book.stopped_rows += 1
            book.open_turn = ""
        elif kind == EventType.MARKER_CREATED and "session_recovered" in event.title:
            book.recovered += event.text == "Session recovered after agent restart."

    def _input_stored(self, session_id: str, book: SessionBook, event: AgentEvent) -> None:
        if event.request_id:
            book.dispatched[event.request_id] += 1
            if book.dispatched[event.request_id] > 1:
                self.fail("no-double-dispatch", f"{session_id}: entry {event.request_id} ran twice")
        if event.turn_id in book.terminals:
            self.fail("one-terminal-event", f"{session_id}: input after the end of {event.turn_id}")
        if event.action == "prompt_steered":
            return
        if book.open_turn:
            self.fail("one-turn", f"{session_id}: {event.turn_id} began in {book.open_turn}")
        book.open_turn = event.turn_id
        book.inputs.add(event.turn_id)

    # The driver.

    def prompted(self, process: ScriptedProcess, request: PromptRequest) -> None:
        """A prompt reached an agent."""
        self.texts[request.message] += 1
        if self.texts[request.message] > 1 + self.replays[request.message]:
            self.fail("no-double-dispatch", f"{request.message} reached the agent twice")
        if process.done.is_set():
            self.fail("one-turn", f"{request.turn_id}: the prompted agent is gone")

    # The power loss.

    def power_lost(self) -> None:
        """The power is gone; what follows is another life of the same home."""
        assert self.store is not None
        self.before_loss, self.books = self.books, {}
        self.incarnations = {}

    def reopened(self, store: HomeStore, disk: SimFileSystem) -> None:
        """The home is open again: all that was promised to survive is there, and no gap."""
        self.store = store
        for session_id in sorted({*store.session_ids(), *self.before_loss}):
            lost = self.before_loss.get(session_id) or SessionBook()
            rows = stored_rows(disk, session_id)
            both = min(len(rows), len(lost.rows))
            if rows[:both] != lost.rows[:both]:
                self.fail("survival", f"{session_id}: other rows than were published")
            for row in lost.rows[both:]:
                if (kind := decode_row(row).type) in DURABLE_TYPES:
                    self.fail("survival", f"{session_id}: a published {kind} was lost")
            book = self.book(session_id)
            book.rows = list(rows)
            for row in rows:
                _, book.epoch, book.sequence = row_position(row)
                book.open_turn = ""  # rows of earlier failures may be missing
                self.on_agent_event(session_id, decode_row(row).event)
            book.open_turn = ""
            book.stopped_before = book.stopped_rows


def stored_rows(disk: SimFileSystem, session_id: str) -> list[bytes]:
    """The rows of a session that no runtime has open, none for one that does not exist."""
    directory = Layout(HOME).session(session_id)
    if not disk.exists(f"{directory}/events.journal"):
        return []
    try:
        rows, _ = read_event_rows(disk, directory, session_id)
    except StoreCorruptError:
        return []  # the power was lost before the first commit: not even its header is there
    return rows.rows_after(0, bytes_max=PAGE_BYTES)
