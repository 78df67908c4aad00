"""The conversation of a ready session: prompts, whose work is whose, cancel (07 4, 10, 11).

Where the agent says when a prompt becomes part of its session, the prompt waits for that word, and
so do the reports that may be of it. Its content never reaches another turn. A prompt that was given
up on is an orphan: until the agent is through with it, what comes is nobody's (D27).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...actors.errors import PromptInProgressError, RequestError
from . import codec, methods
from .agent_calls import AgentCalls
from .codec import Codec
from .connection import Connection
from .held import HeldPrompt, Postponed, Waiting, is_users
from .inputs import (
    PromptInserted,
    PromptOutcome,
    PromptRefused,
    Report,
    StateSeen,
    ToolChanged,
    TurnEnded,
    TurnFailed,
    Unreadable,
    Update,
)
from .jsonrpc import Response
from .options import ClientOpts
from .outbox import Outbox
from .steering import SteerCall
from .turn import Turn
from .turns import GRACE, INSERTION, Turns
from .work import IDLE


@dataclass(frozen=True, slots=True)
class PromptCall:
    """The prompt of a turn waits for its answer."""

    turn: Turn


class Conversation:
    """Prompts and reports of one session.

    :param opts: limits, and the system prompt.
    :param connection: where prompts are sent.
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
        self.turns = Turns(opts, connection, outbox, calls)
        self._held: HeldPrompt | None = None
        self._system_prompt_due = bool(opts.system_prompt.strip())
        self._is_abandoned = False
        calls.changed = self.turns.tell_work
        calls.report = self._report

    def ready(self, spoken: Codec, session_id: str) -> None:
        """The handshake is over."""
        turns = self.turns
        turns.codec = spoken
        turns.session_id = turns.reports.session_id = session_id

    @property
    def current(self) -> Turn | None:
        """The turn a caller sees: also one whose prompt was not taken yet."""
        return self.turns.open or (self._held.turn if self._held is not None else None)

    # ---- prompts

    def prompt(self, turn_id: str, text: str, meta: Mapping[str, Any]) -> None:
        """Send a prompt.

        :raises PromptInProgressError: a turn is open.
        """
        turns = self.turns
        turns.end_silent()
        if self.current is not None:
            raise PromptInProgressError(f"prompt already in progress: {self.current.turn_id}")
        message = text.strip()
        sent, sent_meta = message, meta
        if self._system_prompt_due:
            sent, sent_meta = codec.first_prompt(self._opts, message, meta)
        turns.open = turn = turns.new(turn_id, (sent, message))
        self._calls.network_turn = meta.get("turn_source") == "network"
        params = codec.prompt_params(self._opts, turns.session_id, sent, sent_meta)
        try:
            request_id = self._connection.request(methods.SESSION_PROMPT, params, PromptCall(turn))
        except RequestError as error:
            turns.fail(turn, error)
            return
        # Only a prompt that was sent has delivered it (D12).
        self._system_prompt_due = False
        if not turns.codec.INSERTS_AT_ONCE:
            turn.hold()
            turns.open = None
            self._hold(HeldPrompt(turn, (sent, message), request_id))

    def _hold(self, held: HeldPrompt | None) -> None:
        self._held = held
        self.turns.has_held = held is not None

    def prompt_answered(self, turn: Turn, response: Response) -> None:
        """The answer to a prompt, or the news that there will be none."""
        outcome = self.turns.codec.decode_prompt_answer(response)
        held = self._held if self._held is not None and self._held.turn is turn else None
        match outcome:
            case PromptInserted(message_id) if held is not None:
                self._inserted(held, message_id)
            case PromptRefused(error) if held is not None:
                self._refused(held, error)
            case PromptInserted(message_id) if turn is self.turns.open:
                turn.inserted(message_id)  # its echo had said so already
            case PromptRefused(error) | TurnFailed(error) if turn is self.turns.open:
                self.turns.fail(turn, error)
            case TurnEnded() if turn is self.turns.open:
                self.turns.ended(turn, outcome)
            case _:
                self._answered_late(turn, outcome)

    def _answered_late(self, turn: Turn, outcome: PromptOutcome) -> None:
        self._outbox.log("info", f"late answer to the prompt of turn {turn.turn_id} dropped")
        if isinstance(outcome, PromptInserted) and not turn.was_inserted and self.current is None:
            # It was taken after all, when nobody wanted it any more (07 4.7).
            self._send_cancel()

    def steer(self, steer_id: str, text: str) -> None:
        """Send text into the turn.

        :raises OperationUnavailableError: too many such messages are unanswered.
        """
        self.turns.steering.send(self.turns.session_id, steer_id, text)

    def steer_answered(self, call: SteerCall, response: Response) -> None:
        """The agent took it, refused it, or is gone."""
        if self.turns.steering.answered(call, response):
            self.turns.steered_anew()

    # ---- reports

    def take(self, update: Update) -> None:
        """An update of this session."""
        if isinstance(update, Unreadable):
            self._outbox.log("warning", update.reason)
            return
        held = self._held
        if held is None:
            self._process(update)
            return
        held.is_buffering |= is_users(update)
        is_idle = isinstance(update, StateSeen) and update.state == IDLE
        if not held.is_buffering:
            self._process(update)
            held.is_buffering = is_idle
            return
        if len(held) == 0:
            self._outbox.arm(self.turns.timer(INSERTION, held.turn), self._opts.insertion_wait_s)
        held.add(update)
        if is_idle and not held.may_be_inserted:
            self._release(held)
        elif held.is_full:
            self._guess(held)

    def _process(self, update: Waiting) -> None:
        """As :meth:`take`, whatever prompt may wait."""
        match update:
            case StateSeen():
                self._state(update)
            case Postponed(run):
                run()
            case _:
                self._report(update)

    def _report(self, report: Report) -> None:
        turns = self.turns
        if isinstance(report, ToolChanged) and report.final:
            self._calls.tool_finished(report.tool_call_id)
        if self._begins_work(report):
            turns.open_own()
        turn = turns.open
        before = len(self._outbox.events)
        turns.reports.take(report, turn)
        if turn is not None and len(self._outbox.events) > before:
            turns.heard(turn)

    def _begins_work(self, report: Report) -> bool:
        """Whether it is of work that nobody asked for and that no turn is open for."""
        turns = self.turns
        is_busy = turns.work.state != IDLE or self._held is not None
        is_free = turns.open is None and not self._is_abandoned
        return is_busy and is_free and turns.reports.is_work(report)

    def take_child(self, update: bytes) -> None:
        """An update of a subagent."""
        self.turns.reports.take_child(update, self.turns.open)

    def _state(self, seen: StateSeen) -> None:
        """The agent says what it does (07 4.1, 4.5, 4.9)."""
        turns = self.turns
        turns.work.state = seen.state
        if seen.background is not None:
            turns.work.background = seen.background
        turn = turns.open
        if seen.state == IDLE:
            self._is_abandoned = False
            if turn is not None and turn.is_open:
                turns.ended(turn, seen.end)
        else:
            if turn is not None and not turn.is_open:
                turns.finish(turn)  # it was over, and this is something new
            if turns.open is None and not self._is_abandoned:
                turns.open_own()
        turns.tell_work()

    def postpone(self, run: Callable[[], None]) -> bool:
        """Whether a request of the agent has to wait behind reports that wait; then it does."""
        held = self._held
        if held is None or not held.is_buffering or len(held) == 0:
            return False
        held.add(Postponed(run))
        return True

    # ---- a prompt that waits to be taken

    def _release(self, held: HeldPrompt) -> None:
        """What waited is not the work on this prompt."""
        self._outbox.disarm(self.turns.timer(INSERTION, held.turn))
        for update in held.take_all():
            self._process(update)
        held.is_buffering = self.turns.open is None

    def _guess(self, held: HeldPrompt) -> None:
        """Nothing more can wait, and the agent has not said whose it is."""
        if held.echo_id:
            self._inserted(held, held.echo_id)
        else:
            self._release(held)

    def _inserted(self, held: HeldPrompt, message_id: str) -> None:
        """The agent has taken the prompt: from here on its reports are of this turn."""
        turns = self.turns
        self._outbox.disarm(turns.timer(INSERTION, held.turn))
        for update in held.take_before(message_id):
            self._process(update)
        if turns.open is not None:
            turns.finish(turns.open)
        self._hold(None)
        self._is_abandoned = False
        turns.open = held.turn
        held.turn.inserted(message_id)
        for update in held.take_all():
            self._process(update)
        turns.tell_work()

    def _refused(self, held: HeldPrompt, error: RequestError) -> None:
        self._hold(None)
        self.turns.fail(held.turn, error)
        for update in held.take_all():
            self._process(update)

    # ---- cancel, stop, the end

    def cancel(self) -> None:
        """Ask the agent to end the turn; its answer ends it, or the grace (D27)."""
        turns = self._all_turns()
        fresh = [turn for turn in turns if turn.is_open and not turn.cancel_sent]
        if fresh or not turns:
            self._send_cancel()
        if not fresh:
            return
        self._mark_cancelled(fresh)
        self._calls.cancel_waiting()
        for turn in fresh:
            self._outbox.arm(self.turns.timer(GRACE, turn), self._opts.cancel_grace_s)

    def stop(self) -> None:
        """As cancel, but the process will not be waited for."""
        self.turns.stopping = True
        turns = self._all_turns()
        if not turns or not all(turn.cancel_sent for turn in turns):
            self._send_cancel()
        self._mark_cancelled(turns)
        for turn in turns:
            self._outbox.disarm(self.turns.timer(GRACE, turn))
        self._calls.cancel_waiting()

    def _mark_cancelled(self, turns: list[Turn]) -> None:
        for turn in turns:
            if self._held is not None and self._held.turn is turn and not turn.cancel_sent:
                # Not part of the session yet: taken back by the request's own id (07 4.7).
                taken_back = {"requestId": self._held.request_id}
                self._connection.notify(methods.CANCEL_REQUEST, taken_back)
            turn.cancel_sent = True

    def _send_cancel(self) -> None:
        params = {"sessionId": self.turns.session_id}
        self._connection.notify(methods.SESSION_CANCEL, params)

    def _all_turns(self) -> list[Turn]:
        held = [] if self._held is None else [self._held.turn]
        return held if self.turns.open is None else [self.turns.open, *held]

    def timer_fired(self, name: str) -> None:
        """The grace of a cancel is over, a turn has settled, or nobody knows whose work it is."""
        kind, _, number = name.partition(":")
        [turn] = [turn for turn in self._all_turns() if turn.number == int(number)]
        if kind == GRACE:
            self._abandon(turn)
        elif kind == INSERTION:
            assert self._held is not None, "the timer of a held prompt ends with it"
            self._guess(self._held)
        else:
            self.turns.finish(turn)

    def _abandon(self, turn: Turn) -> None:
        held = self._held if self._held is not None and self._held.turn is turn else None
        if held is not None:
            self._hold(None)
        self._is_abandoned = self.turns.work.state != IDLE
        self.turns.abandon(turn)
        for update in held.take_all() if held is not None else ():
            self._process(update)

    def settle(self) -> None:
        """Nothing more will come: a turn whose work is over ends now."""
        if self.turns.open is not None and not self.turns.open.is_open:
            self.turns.finish(self.turns.open)

    def disconnected(self, error: RequestError) -> None:
        """Nothing more will come: what is still open has failed."""
        if self.turns.open is not None:
            self.turns.fail(self.turns.open, error)
