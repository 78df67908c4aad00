"""Drives the handshake, and keeps what an agent says before it is over (07 8, R13).

Updates that come early are held until the answer that names their session; a replayed conversation
is counted and dropped; facts about the session become events once it is ready.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from ...actors.errors import AgentError, RequestError
from ...actors.model.event import AgentEvent
from . import jsonrpc
from .connection import Connection
from .failures import classified_failure
from .handshake import Answer, Ask, AwaitSilence, Handshake
from .inputs import OptionsChanged, StateSeen, Unreadable, Update
from .jsonrpc import UpdateSeen, rpc_error
from .options import HELD_BYTES_MAX, HELD_UPDATES_MAX, ClientOpts
from .outbox import Outbox
from .outputs import Ready, StartFailed
from .turn import fact_event

STEP = "step:"
REPLAY_SILENCE = "replay"
REPLAY_MAX = "replay_max"


@dataclass(frozen=True, slots=True)
class StepCall:
    """The request of one step waits for its answer."""

    number: int


class Starting:
    """One start.

    :param opts: what the session asks for.
    :param connection: where the steps ask.
    :param outbox: takes the outcome, events and timers.
    """

    def __init__(self, opts: ClientOpts, connection: Connection[Any], outbox: Outbox) -> None:
        self._opts = opts
        self._connection = connection
        self._outbox = outbox
        self.handshake = Handshake(opts)
        self._steps = self.handshake.steps()
        self._step = 0
        self._request_id = 0
        self._limit_s = 0.0
        self._silent = False
        self._held: list[UpdateSeen] = []
        self._held_bytes = 0
        self._facts: deque[AgentEvent] = deque(maxlen=HELD_UPDATES_MAX)
        self._replayed = 0
        self.state: StateSeen | None = None
        """What the agent does, as it last said; how its work ended before is history (07 4.11)."""
        self.ready = False
        self.failed = False

    # ---- steps

    def begin(self) -> None:
        """Take the first step."""
        self._advance(None)

    def answered(self, call: StepCall, answer: Answer) -> None:
        """The answer of a step; go on with the next."""
        self._outbox.disarm(f"{STEP}{call.number}")
        self._advance(answer)

    def timer_fired(self, name: str) -> None:
        """A step took too long (D2), or the replay is over."""
        if name in (REPLAY_SILENCE, REPLAY_MAX):
            self._silent = False
            self._outbox.disarm(REPLAY_SILENCE)
            self._outbox.disarm(REPLAY_MAX)
            self._advance(Answer())
            return
        self._connection.forget(self._request_id)
        late = rpc_error(jsonrpc.INTERNAL_ERROR, f"timed out after {self._limit_s:g} s")
        self._advance(Answer(error=late))

    def disconnected(self, error: RequestError) -> None:
        """The pipe was lost while no step waited for an answer."""
        if self._silent:
            self._silent = False
            self._advance(Answer(error=error))

    def _advance(self, answer: Answer | None) -> None:
        asked = self._next(answer)
        while isinstance(asked, Ask):
            try:
                self._ask(asked)
                return
            except RequestError as error:
                asked = self._next(Answer(error=error))
        if asked is not None:
            self._silent = True
            self._outbox.arm(REPLAY_SILENCE, self._opts.replay_silence_s)
            self._outbox.arm(REPLAY_MAX, self._opts.replay_silence_max_s)

    def _next(self, answer: Answer | None) -> Ask | AwaitSilence | None:
        """What to do next; ``None`` when the start has ended, one way or the other."""
        try:
            asked = next(self._steps) if answer is None else self._steps.send(answer)
        except StopIteration:
            self._release_held()
            self._finish()
            return None
        except AgentError as error:
            self.failed = True
            settled = classified_failure(error)
            assert settled is not None, "every step classifies its error"
            self._outbox.put(StartFailed(settled, error))
            return None
        if self.handshake.acp_session_id:
            self._release_held()
        return asked

    def _ask(self, asked: Ask) -> None:
        self._step += 1
        call = StepCall(self._step)
        self._request_id = self._connection.request(asked.method, asked.params, call)
        self._limit_s = asked.limit_s
        self._outbox.arm(f"{STEP}{self._step}", asked.limit_s)

    def _finish(self) -> None:
        self.ready = True
        handshake = self.handshake
        self._outbox.put(
            Ready(handshake.acp_session_id, handshake.caps, handshake.restored, self._replayed)
        )
        self._outbox.events.extend(self._facts)
        self._facts.clear()

    # ---- updates before it is over

    def take(self, seen: UpdateSeen) -> None:
        """An update that comes before the session is ready."""
        known_as = self.handshake.acp_session_id
        if not known_as and self.handshake.opening:
            self._hold(seen)
        elif seen.session_id != known_as:
            self._outbox.log("info", f"update for session {seen.session_id!r} dropped")
        else:
            if self._silent:
                self._outbox.arm(REPLAY_SILENCE, self._opts.replay_silence_s)
            update = self.handshake.codec.decode_update(seen.update)
            if isinstance(update, OptionsChanged):
                self.handshake.replace_options(update.options)
            self._note(update)

    def _hold(self, seen: UpdateSeen) -> None:
        size = len(seen.update) + len(seen.session_id)
        full = len(self._held) >= HELD_UPDATES_MAX or self._held_bytes + size > HELD_BYTES_MAX
        if full:
            self._outbox.log("warning", "too many updates before session/new was answered")
            return
        self._held.append(seen)
        self._held_bytes += size

    def _release_held(self) -> None:
        held, self._held = self._held, []
        for seen in held:
            if seen.session_id != self.handshake.acp_session_id:
                self._outbox.log("info", f"update for session {seen.session_id!r} dropped")
                continue
            update = self.handshake.codec.decode_update(seen.update)
            # The answer is newer than what was held, where it speaks of options at all.
            if isinstance(update, OptionsChanged) and not self.handshake.caps.config_options:
                self.handshake.replace_options(update.options)
            self._note(update)

    def _note(self, update: Update) -> None:
        if isinstance(update, Unreadable):
            self._outbox.log("warning", update.reason)
            return
        if isinstance(update, StateSeen):
            self.state = update
            return
        fact = fact_event(update, self.handshake.acp_session_id)
        if fact is None:
            self._replayed += 1
        else:
            self._facts.append(fact)
