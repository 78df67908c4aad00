"""The queue of prompts the daemon made: in memory, first in first out, bounded (02 10).

=============================================  ====================================================
a prompt arrives while                         what becomes of it
=============================================  ====================================================
idle, nothing waits                            submitted
busy, or something waits; ``skip_if_busy``     refused, ``PromptInProgressError``
busy, nothing waits; interrupts if waiting,    at the head of the queue, and the turn is cancelled:
and the agent only waits                       whoever is idle first takes it, late or in time
otherwise                                      at the end of the queue, or refused when it is full
=============================================  ====================================================

At most one prompt is out at a time, from its claim until its turn's stream was read to the end.
Nothing waits while the session is idle: every function that may leave it so claims again itself, so
no wake-up can be lost between "busy" and "put back".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from ..errors import PromptInProgressError, SessionError, SessionInputQueueFullError
from ..model.activity import AGENT_WAITING
from ..model.event import AgentEvent, EventType
from ..model.prompt_meta import PromptMeta

SYNTHETIC_QUEUE_MAX = 64
"""Most prompts waiting: a daemon that outruns its session by more is told so."""


@dataclass(frozen=True, slots=True)
class SyntheticPrompt:
    """One prompt; ``turn_id`` names it.

    :param meta: validated, with a reason.
    """

    turn_id: str
    message: str
    meta: PromptMeta
    skip_if_busy: bool = False
    interrupt_if_agent_waiting: bool = False


@dataclass(frozen=True, slots=True)
class SyntheticQueue:
    """What waits, oldest first, and the one prompt that is out."""

    waiting: tuple[SyntheticPrompt, ...] = ()
    out: SyntheticPrompt | None = None


@dataclass(frozen=True, slots=True)
class Business:
    """What the session is doing.

    :param past_setup: the running turn has reached the agent.
    :param activity_kind: ``last_activity_kind`` of the running turn.
    """

    busy: bool = False
    past_setup: bool = False
    activity_kind: str = ""

    @property
    def only_waits(self) -> bool:
        """Whether the running turn may be cancelled for a prompt that asks for it."""
        return self.busy and self.past_setup and self.activity_kind == AGENT_WAITING


@dataclass(frozen=True, slots=True)
class Submit:
    """Submit the prompt now; it is out until ``stream_ended``, ``put_back`` or ``failed``."""

    prompt: SyntheticPrompt


@dataclass(frozen=True, slots=True)
class Queued:
    """The prompt waits; its caller gets a stream at once.

    ``interrupts``: cancel the running turn and give it the grace to end.
    """

    prompt: SyntheticPrompt
    interrupts: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The caller gets the error; nothing was queued."""

    prompt: SyntheticPrompt
    error: SessionError


Decision = Submit | Queued | Refused
Step = tuple[SyntheticQueue, Submit | None]


def submitted(
    queue: SyntheticQueue, prompt: SyntheticPrompt, business: Business, *, session_id: str
) -> tuple[SyntheticQueue, Decision]:
    """A prompt arrives."""
    empty = not queue.waiting and queue.out is None
    if empty and not business.busy:
        return replace(queue, out=prompt), Submit(prompt)
    if prompt.skip_if_busy:
        error = PromptInProgressError(
            f'prompt_synthetic: session "{session_id}" is busy',
            session_id=session_id,
            operation="prompt_synthetic",
        )
        return queue, Refused(prompt, error)
    if empty and prompt.interrupt_if_agent_waiting and business.only_waits:
        return replace(queue, waiting=(prompt,)), Queued(prompt, interrupts=True)
    if len(queue.waiting) >= SYNTHETIC_QUEUE_MAX:
        full = SessionInputQueueFullError(
            f'prompt_synthetic: session "{session_id}": {SYNTHETIC_QUEUE_MAX} prompts wait already',
            session_id=session_id,
            operation="prompt_synthetic",
            queue_cap=SYNTHETIC_QUEUE_MAX,
        )
        return queue, Refused(prompt, full)
    return replace(queue, waiting=(*queue.waiting, prompt)), Queued(prompt)


def woken(queue: SyntheticQueue, *, busy: bool) -> Step:
    """The session may be idle: a turn ended, and nothing of higher rank started (02 6)."""
    if busy or queue.out is not None or not queue.waiting:
        return queue, None
    prompt, *rest = queue.waiting
    return SyntheticQueue(tuple(rest), prompt), Submit(prompt)


def put_back(queue: SyntheticQueue, *, busy: bool) -> Step:
    """The session was busy after all: the prompt that is out keeps its place.

    :param busy: whether it still is; if not, the prompt is out again at once.
    """
    if queue.out is None:
        return queue, None
    return woken(SyntheticQueue((queue.out, *queue.waiting)), busy=busy)


def stream_ended(queue: SyntheticQueue, turn_id: str, *, busy: bool) -> Step:
    """The turn of a prompt was read to its end, or could not be started: the next one's turn."""
    if queue.out is None or queue.out.turn_id != turn_id:
        return queue, None
    return woken(replace(queue, out=None), busy=busy)


def withdrawn(queue: SyntheticQueue, turn_id: str) -> tuple[SyntheticQueue, SyntheticPrompt | None]:
    """Take back a prompt that waits: cancelling the turn for it failed (02 10)."""
    for prompt in queue.waiting:
        if prompt.turn_id == turn_id:
            kept = tuple(other for other in queue.waiting if other is not prompt)
            return replace(queue, waiting=kept), prompt
    return queue, None


def dropped(queue: SyntheticQueue) -> tuple[SyntheticQueue, tuple[SyntheticPrompt, ...]]:
    """The session stopped or is gone: everything that waits, in order; what is out ends itself."""
    return SyntheticQueue(), queue.waiting


def drop_event(
    prompt: SyntheticPrompt, cause: BaseException, now: datetime, *, session_id: str
) -> AgentEvent:
    """The one event of a prompt's stream that never ran; nothing is stored of it."""
    text = f'session: synthetic prompt dropped for "{session_id}": {cause}'
    return AgentEvent(type=EventType.ERROR, turn_id=prompt.turn_id, timestamp=now, error=text)
