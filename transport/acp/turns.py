"""The life of a turn: begun by a prompt or by the agent, ended once (04 4.2, 7.1; 07 4.9, 9, R5).

At most one turn is open. Who begins and ends it, and whose a report is, is decided elsewhere.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from ...actors.errors import OperationUnavailableError, RequestError
from . import codec_v1, methods
from .agent_calls import AgentCalls
from .codec import Codec
from .connection import Connection
from .failures import is_suppressible
from .inputs import TurnEnded, TurnFailed
from .options import ClientOpts
from .outbox import Outbox
from .outputs import TurnClosed, TurnOpened
from .reports import Reports
from .steering import Steering
from .turn import Phase, Turn, cancel_was_refused
from .work import Work

GRACE = "cancel_grace"
SETTLE = "settle"
SETTLE_MAX = "settle_max"
INSERTION = "insertion"
SILENCE = "unowned_silence"
TURN_TIMERS = (GRACE, SETTLE, SETTLE_MAX, INSERTION, SILENCE)


@dataclass(frozen=True, slots=True)
class StopCall:
    """A tool call or terminal was asked to stop; what comes of it comes as a report."""


class Turns:
    """The turns of one session, one after the other.

    :param opts: limits.
    :param connection: where tools are asked to stop.
    :param outbox: takes events and ends.
    :param calls: the agent's requests, some of which end with the turn.
    """

    def __init__(
        self, opts: ClientOpts, connection: Connection[Any], outbox: Outbox, calls: AgentCalls
    ) -> None:
        self._opts = opts
        self._connection = connection
        self._outbox = outbox
        self._calls = calls
        self.codec: Codec = codec_v1
        self.session_id = ""
        self.open: Turn | None = None
        """The turn that is open or settles: of a prompt, or begun by the agent."""
        self.has_held = False
        """Whether a prompt waits to be taken."""
        self.stopping = False
        self.reports = Reports(outbox)
        self.steering = Steering(opts, connection, outbox)
        self.work = Work(outbox)
        self._numbers = count(1)
        self._own_numbers = count(1)
        self._new_turn_due = False

    @property
    def streaming(self) -> Turn | None:
        """The turn whose text is just one more event: nothing waits, ends or begins with it."""
        turn = self.open
        if turn is None or self.has_held or not turn.is_ours or turn.phase is not Phase.OPEN:
            return None
        return turn

    def new(self, turn_id: str, prompts: tuple[str, ...]) -> Turn:
        """A turn that is not open yet."""
        calls = self._calls
        turn = Turn(
            turn_id, self.session_id, prompts, lambda update: calls.prechecked(turn_id, update)
        )
        turn.number = next(self._numbers)
        self._new_turn_due = False
        return turn

    def open_own(self) -> Turn:
        """The agent works without a prompt of ours (07 4.9)."""
        if self._opts.new_turn_id is not None:
            turn_id = self._opts.new_turn_id()
        else:
            turn_id = f"agent-turn-{next(self._own_numbers)}"
        self.open = turn = self.new(turn_id, ())
        self._outbox.put(TurnOpened(turn_id))
        self.tell_work()
        return turn

    # ---- the end

    def ended(self, turn: Turn, end: TurnEnded | TurnFailed) -> None:
        """The work of the turn is over; what is late may still come."""
        self._calls.cancel_waiting()
        if isinstance(end, TurnFailed):
            turn.usage = turn.usage.merge(end.usage)
            self.fail(turn, end.error)
            return
        turn.answered(end.stop_reason, end.usage)
        self._outbox.disarm(self.timer(GRACE, turn))
        if self._opts.settle_s <= 0 or not turn.is_ours:
            self.finish(turn)
            return
        self._outbox.arm(self.timer(SETTLE, turn), self._opts.settle_s)
        self._outbox.arm(self.timer(SETTLE_MAX, turn), 2 * self._opts.settle_s)

    def finish(self, turn: Turn) -> None:
        """End with ``done``; what still waits for the user waits in vain (D24)."""
        self._calls.cancel_waiting()
        turn.finish(self._outbox.events)
        self._close(turn, turn.suspect)

    def fail(self, turn: Turn, error: RequestError) -> None:
        """End with ``error``, or silently where that only says that a stop took effect."""
        suspect = turn.cancel_sent and cancel_was_refused(error)
        self._calls.cancel_waiting()
        if self.stopping and is_suppressible(error):
            turn.close(self._outbox.events)
        else:
            turn.fail(error, self._outbox.events)
        self._close(turn, suspect)

    def abandon(self, turn: Turn) -> None:
        """It was cancelled, and the agent does not say so (D27)."""
        self._calls.cancel_waiting()
        turn.abandon(self._outbox.events)
        self._close(turn, suspect=True)

    def _close(self, turn: Turn, suspect: bool) -> None:
        for name in TURN_TIMERS:
            self._outbox.disarm(self.timer(name, turn))
        if turn.cancel_sent:
            self._stop_tools(turn)
        self.steering.give_up()
        self._calls.turn_over()
        if not self.codec.INSERTS_AT_ONCE:
            self.reports.turn_over(turn)
        if self.open is turn:
            self.open = None
        self._outbox.put(TurnClosed(turn.turn_id, suspect))
        self.tell_work()
        if self._new_turn_due and not self._connection.closed:
            self._open_silent()

    def _stop_tools(self, turn: Turn) -> None:
        """The end of a cancelled turn does not end its tools (07 R5)."""
        self._calls.client.kill_terminals(turn.turn_id)
        for name in turn.tools.stoppable:
            self.ask_to_stop(methods.CANCEL_TOOL, "toolCallId", name)
        for name in self.reports.stoppable_terminals(turn.turn_id):
            self.ask_to_stop(methods.CANCEL_TERMINAL, "terminalId", name)

    def stop_tool(self, name: str) -> None:
        """Ask for the end of a tool call of the open turn.

        :raises OperationUnavailableError: the agent does not offer it.
        """
        if self.open is None or name not in self.open.tools.stoppable:
            raise OperationUnavailableError("the call can not be stopped", operation="stop_tool")
        self.ask_to_stop(methods.CANCEL_TOOL, "toolCallId", name)

    def stop_terminal(self, name: str) -> None:
        """Ask for the end of a terminal of the agent's own, of whatever turn.

        :raises OperationUnavailableError: the agent does not offer it.
        """
        terminal = self.reports.terminal(name)
        if terminal is None or terminal.exited or not terminal.cancellable:
            raise OperationUnavailableError(
                "the terminal can not be stopped", operation="stop_terminal"
            )
        self.ask_to_stop(methods.CANCEL_TERMINAL, "terminalId", name)

    def ask_to_stop(self, method: str, member: str, name: str) -> None:
        """Ask for the end of one tool call or terminal; it comes as a report."""
        # The pipe may be gone, and then so are the tools.
        with suppress(RequestError):
            params = {"sessionId": self.session_id, member: name}
            self._connection.request(method, params, StopCall())

    # ---- turns that only silence ends

    def steered_anew(self) -> None:
        """Steering began a turn: such an agent tells neither its start nor its end (07 9.1)."""
        if self.codec.INSERTS_AT_ONCE and not self.stopping:
            self._new_turn_due = True
            if self.open is None:
                self._open_silent()

    def _open_silent(self) -> None:
        turn = self.open_own()
        self._outbox.arm(self.timer(SILENCE, turn), self._opts.unowned_silence_s)

    def end_silent(self) -> None:
        """The next prompt ends it too."""
        if self.codec.INSERTS_AT_ONCE and self.open is not None and not self.open.is_ours:
            self.finish(self.open)

    def heard(self, turn: Turn) -> None:
        """Something of the turn has come: silence begins anew."""
        if not turn.is_open:
            self._outbox.arm(self.timer(SETTLE, turn), self._opts.settle_s)
        elif not turn.is_ours and self.codec.INSERTS_AT_ONCE:
            self._outbox.arm(self.timer(SILENCE, turn), self._opts.unowned_silence_s)

    # ---- small things

    def tell_work(self) -> None:
        """Report what the agent does now, where that has changed."""
        self.work.is_asking = self._calls.is_asking
        self.work.tell(in_turn=self.open is not None or self.has_held)

    def timer(self, name: str, turn: Turn) -> str:
        """Timers carry the number of their turn: one that fires late hits no other."""
        return f"{name}:{turn.number}"
