"""What an agent's events do: they are recorded, settle approvals, open a steering boundary (02 4).

A batch becomes one commit per run of rows of the same durability. A ``tool_result`` is the only
boundary at which a staged steering text goes to the agent (02 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import msgspec

from ..model.event import NO_TIME, TERMINAL_TYPES, AgentEvent, EventType
from ..model.failure import FailureKind
from ..model.ids import TURN_PREFIX
from ..model.marker import MarkerKind
from ..model.restart import RestartMode
from ..model.runs import Run, TextRun, head_of, heads_of, of_runs, runs_of
from ..model.turn import QueueEntry
from . import busy_input, host_permissions, own_turns, watching
from .comeback import cut_turn
from .effects import CloseStream, Commit, Effect, Effects, Reply, Report, SteerAgent
from .inputs import AgentEventsArrived, AgentStreamClosed, Ask, SteerAnswered
from .markers import marker, queue_evidence
from .state import SessionState, Turn, TurnPhase, mint
from .stop_markers import marker_for
from .turn import Step, close, next_input, terminated

SUSPECT = "the agent's last turn did not end as it should; later ones may fail"
"""Why an agent that may answer later prompts wrongly is replaced."""
DURABLE_TYPES = frozenset(
    {
        EventType.USER_MESSAGE.value,
        EventType.SYNTHETIC_REENTRY.value,
        EventType.DONE.value,
        EventType.ERROR.value,
        EventType.SESSION_STOPPED.value,
    }
)
"""Class F rows (03 13); a decided permission is one too."""
ERROR = EventType.ERROR.value
TOOL_RESULT = EventType.TOOL_RESULT.value
PERMISSION = EventType.PERMISSION.value


def events_arrived(state: SessionState, input: AgentEventsArrived, now: datetime) -> Step:
    """Record a batch; nothing of a turn is recorded after its terminal event."""
    turn = state.turn
    if not input.turn_id:
        return _facts_arrived(state, input.events, now)
    if own_turns.is_open(state, input.turn_id):
        state, beside = own_turns.recorded_beside(state, input.turn_id, input.events)
        rows = [_normalised(run, input.turn_id, state, now) for run in runs_of(beside)]
        return state, tuple(_commits(of_runs(rows)))
    if turn is None or turn.turn_id != input.turn_id or turn.terminal:
        return state, (Report("debug", f"{len(input.events)} events of no open turn dropped"),)
    state, effects = _watched(state, input, now)
    runs: list[Run] = []
    for run in runs_of(input.events):
        runs.append(_normalised(run, turn.turn_id, state, now))
        event = head_of(run)
        if event.type in TERMINAL_TYPES:
            turn = replace(state.turn or turn, terminal=event.type, phase=TurnPhase.ENDING)
            state = replace(state, dying=_fatal_detail(event))
            if state.dying:
                state = cut_turn(state)
            break
    events = of_runs(runs)
    state, settled = _settle_approvals(replace(state, turn=turn), events)
    if turn.terminal:
        state, cancelled = host_permissions.turn_ended(state, turn.turn_id, now)
        effects.extend(cancelled)
    commits = _owing(_commits(events), settled)
    effects.extend((*commits, *_markers(events, turn, now), *settled))
    if turn.terminal:
        state, told = terminated(state, turn, now)
        effects.extend(told)
    elif any(event.type == TOOL_RESULT for event in heads_of(events)):
        state, steering = _steer_at_boundary(state, turn, now)
        effects.extend(steering)
    return state, tuple(effects)


def _watched(
    state: SessionState, input: AgentEventsArrived, now: datetime
) -> tuple[SessionState, list[Effect]]:
    """Activity, and the warning that must come before the error it is about (02 12.2, 12.6)."""
    state, effects = watching.observe(state, input.events, now, input.at_s)
    told = list(effects)
    for event in heads_of(input.events):
        if event.type == ERROR:
            state, warned = watching.before_error(state, event, now, input.at_s)
            told.extend(warned)
    return state, told


def stream_closed(state: SessionState, input: AgentStreamClosed, now: datetime) -> Step:
    """The driver is done with the turn."""
    turn = state.turn
    if turn is None or turn.turn_id != input.turn_id:
        return own_turns.closed(state, input.turn_id), (CloseStream(input.turn_id),)
    if input.suspect and state.takes_input and state.restart.mode is not RestartMode.TEMPORARY:
        # Replaced before the next prompt (07 R3); a temporary session only tells of it.
        state = replace(state, dying=SUSPECT)
    return close(state, turn, now)


def steer_answered(state: SessionState, input: SteerAnswered, now: datetime) -> Step:
    """The agent took the text, or it goes back to its place in the queue (02 9, 07 9)."""
    turn, entry = state.turn, state.steering
    if entry is None or entry.id != input.entry_id:
        return state, ()
    state = replace(state, steering=None)
    if input.outcome == "injected":
        return state, _injected(state, turn, entry, now)
    queue, changes = busy_input.put_back(state.queue, entry, now)
    warning: tuple[AgentEvent, ...] = ()
    if input.outcome == "failed" and turn is not None and not turn.terminal:
        text = f"dispatch staged steer input: {input.error}"
        warning = (
            AgentEvent(
                type=EventType.RUNTIME_WARNING, turn_id=turn.turn_id, timestamp=now, text=text
            ),
        )
    state, following = next_input(replace(state, queue=queue), now)
    return state, (Commit(warning, changes, durable=True), *following)


def _fatal_detail(event: AgentEvent) -> str:
    """What a terminal event says about the end of the process, blank when nothing."""
    if event.failure is None or event.failure.kind is not FailureKind.PROCESS_EXIT:
        return ""
    return event.error or "agent runtime became unavailable during prompt"


def _commits(events: Sequence[AgentEvent]) -> list[Commit]:
    """One commit per run of rows of the same durability, in order."""
    alike: list[tuple[bool, list[Run]]] = []
    for run in runs_of(events):
        event = head_of(run)
        durable = event.type in DURABLE_TYPES or _is_decided(event)
        if not alike or alike[-1][0] is not durable:
            alike.append((durable, []))
        alike[-1][1].append(run)
    return [Commit(of_runs(runs), durable=durable) for durable, runs in alike]


def _markers(events: Sequence[AgentEvent], turn: Turn, now: datetime) -> list[Commit]:
    """What an ``error`` leaves in the transcript, right behind it (02 13)."""
    cancelled = turn.cancel_requested
    errors = [event for event in heads_of(events) if event.type == ERROR]
    notes = (marker_for(event, now, turn_cancelled=cancelled) for event in errors)
    return [Commit((note,), deliver=False) for note in notes if note is not None]


def _owing(commits: list[Commit], settled: tuple[Reply, ...]) -> list[Commit]:
    """The last of the decisions' rows brings the answers of those who decided."""
    if settled:
        decided = [
            i for i, commit in enumerate(commits) if any(map(_is_decided, heads_of(commit.events)))
        ]
        commits[decided[-1]] = replace(commits[decided[-1]], owed=settled)
    return commits


def _is_decided(event: AgentEvent) -> bool:
    return event.type == PERMISSION and bool(event.decision)


def _facts_arrived(state: SessionState, events: Sequence[AgentEvent], now: datetime) -> Step:
    """What the agent says outside a turn is a fact of the session, under an id of its own (R11)."""
    state, turn_id = mint(state, TURN_PREFIX)
    facts = [_normalised(run, turn_id, state, now) for run in runs_of(events)]
    return state, tuple(_commits(of_runs(facts)))


def _normalised(run: Run, turn_id: str, state: SessionState, now: datetime) -> Run:
    """Fill what the driver left blank; what it gave is kept (03 2.3)."""
    event = head_of(run)
    filled = msgspec.structs.replace(
        event,
        turn_id=event.turn_id or turn_id,
        session_id=event.session_id or state.meta.acp_session_id,
        timestamp=now if event.timestamp == NO_TIME else event.timestamp,
    )
    return run.like(filled) if isinstance(run, TextRun) else filled


def _settle_approvals(
    state: SessionState, events: Sequence[AgentEvent]
) -> tuple[SessionState, tuple[Reply, ...]]:
    """A caller's decision is acknowledged once its row is there."""
    if not state.approvals:
        return state, ()
    decided = {event.request_id for event in heads_of(events) if _is_decided(event)}
    recorded: list[Ask] = [
        ask for ask, request_id in state.approvals if request_id in decided or not request_id
    ]
    if not decided or not recorded:
        return state, ()
    waiting = tuple(pair for pair in state.approvals if pair[0] not in recorded)
    return replace(state, approvals=waiting), tuple(Reply(ask) for ask in recorded)


def _steer_at_boundary(state: SessionState, turn: Turn, now: datetime) -> Step:
    entry = busy_input.staged_steer(state.queue)
    if entry is None or state.steering or turn.cancel_requested:
        return state, ()
    if not state.caps.supports_steering:
        return state, ()
    queue, changes = busy_input.sent(state.queue, entry, now)
    effects: Effects = (
        Commit(changes=changes, durable=True),
        SteerAgent(entry.id, entry.text),
    )
    return replace(state, queue=queue, steering=entry), effects


def _injected(state: SessionState, turn: Turn | None, entry: QueueEntry, now: datetime) -> Effects:
    """The steering text as an input of the running turn, and its marker.

    A turn that ended meanwhile takes no more input rows; the marker alone keeps the text.
    """
    turn_id = turn.turn_id if turn else state.last_turn_id
    note = marker(
        MarkerKind.PROMPT_STEERED,
        entry.text,
        turn_id=turn_id,
        now=now,
        evidence={**queue_evidence(entry), "event_type": str(EventType.USER_MESSAGE)},
    )
    if turn is None or turn.terminal:
        return (Commit((note,), deliver=False),)
    told = AgentEvent(
        type=EventType.USER_MESSAGE,
        session_id=state.meta.acp_session_id,
        turn_id=turn_id,
        request_id=entry.id,
        timestamp=now,
        text=entry.text,
        action="prompt_steered",
        resource="session_input_queue",
        decision=str(entry.session_generation),
    )
    return Commit((told,), durable=True), Commit((note,), deliver=False)
