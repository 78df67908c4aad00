"""Every order in which two things can happen to one session: its core, and a world that answers.

A :class:`World` has lines of what is going to happen: the callers', the log's, the driver's, the
agent's, the process's. Within a line the order is fixed; which line is next is open, and
:func:`interleave` tries every choice. The world is the smallest that behaves: a commit is
acknowledged once, a prompt is taken or refused, an agent plays its turn, obeys a cancel, and dies.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from greenroom.actors.core import effects as fx
from greenroom.actors.core import inputs
from greenroom.actors.core.state import SessionState
from greenroom.actors.core.step import step
from greenroom.actors.core.watching import SUPERVISION_TIMER
from greenroom.actors.errors import PromptCanceledError, SessionError
from greenroom.actors.model.agent import Caps
from greenroom.actors.model.event import AgentEvent, EventType
from greenroom.actors.model.failure import FailureKind, failure
from greenroom.actors.model.session import SessionMeta, State, StopCause
from greenroom.actors.model.settings import SessionBusyInputConfig, SessionSupervisionConfig

NOW = datetime(2026, 4, 3, 10, 0, tzinfo=UTC)
ORDERED = (
    fx.Commit,
    fx.Reply,
    fx.Refuse,
    fx.SendPrompt,
    fx.SteerAgent,
    fx.CloseStream,
    fx.DropStream,
    fx.Finalize,
    fx.Retire,
)
TIMERS_MAX = 20
"""Timers that may fire, one after the other, once nothing else is left to do."""
STORY = (
    AgentEvent(type=EventType.AGENT_MESSAGE, text="well"),
    AgentEvent(type=EventType.TOOL_RESULT, title="look"),
    AgentEvent(type=EventType.DONE, stop_reason="end_turn"),
)

Happening = inputs.Input | Callable[["World"], None]


class World:
    """One session and all that is going to happen to it; cheap to copy."""

    def __init__(self, **changes: Any) -> None:
        meta = SessionMeta(
            id="sess-1",
            agent_name="demo",
            workspace_id="ws-1",
            state=State.STARTING,
            created_at=NOW,
            updated_at=NOW,
        )
        self.state = SessionState(
            meta=meta,
            workspace="/ws",
            id_seed="seed",
            busy_input=SessionBusyInputConfig(queue_cap=4).resolved(),
            supervision=SessionSupervisionConfig(),
            **changes,
        )
        self.lines: dict[str, tuple[Happening, ...]] = {}
        self.outbox: tuple[tuple[int, tuple[fx.Effect, ...]], ...] = ()
        self.timers: dict[str, float] = {}
        self.answers: dict[int, Any] = {}
        self.asked: frozenset[int] = frozenset()
        self.rows: tuple[AgentEvent, ...] = ()
        self.prompts: tuple[str, ...] = ()
        self.open_streams: frozenset[str] = frozenset()
        self.alive = True
        self.decided: frozenset[str] = frozenset()
        self.running = ""
        self.abandoned = ""
        self.finalized = 0
        self.retired = False
        self.stop_fails = 0
        self.trace: tuple[str, ...] = ()

    def copy(self) -> World:
        """The same world, to go another way."""
        other = World.__new__(World)
        other.__dict__.update(self.__dict__)
        other.lines, other.timers = dict(self.lines), dict(self.timers)
        other.answers = dict(self.answers)
        return other

    def started(self) -> World:
        """The session is active, its start complete."""
        self.feed(inputs.AgentStarted(0, "acp-1", Caps(supports_steering=True), 7, NOW, False))
        self.feed(inputs.Activated())
        self.settle()
        return self

    def streaming(self, message: str = "first") -> World:
        """The session runs a turn; its agent is about to play it."""
        self.feed(inputs.PromptSubmitted(100, message))
        while self.running == "":
            self.happen(self.choices()[0])
        return self

    def on(self, line: str, *happenings: Happening) -> World:
        """Let these happen, in this order, some time."""
        self.lines[line] = (*self.lines.get(line, ()), *happenings)
        return self

    def choices(self) -> list[str]:
        """The lines on which something may happen next."""
        return [line for line, waiting in self.lines.items() if waiting]

    def happen(self, line: str) -> None:
        """The next thing of a line."""
        first, *rest = self.lines[line]
        self.lines[line] = tuple(rest)
        name = getattr(first, "__name__", type(first).__name__)
        self.trace = (*self.trace, f"{line}:{name}")
        if callable(first):
            first(self)
        else:
            self.feed(first)

    def settle(self) -> None:
        """Let everything happen, line by line, then what timers are for."""
        for _ in range(1000):
            if lines := self.choices():
                self.happen(lines[0])
            elif not self._fire_timer():
                return
        raise AssertionError(f"never at rest: {self.trace[-20:]}")

    def feed(self, input: inputs.Input) -> None:
        """The session takes an input; what must always hold is checked."""
        ask = getattr(input, "ask", 0)
        if ask:
            self.asked |= {ask}
        if self.retired:
            # The actor is gone: who asks is told so, and nobody else cares.
            self.answers.setdefault(ask, SessionError("not live"))
            return
        before = self.state
        self.state, effects = step(before, input, NOW)
        assert before.stop_cause in (StopCause.NONE, self.state.stop_cause), "the first cause"
        if before.finalizing:
            assert not any(isinstance(e, fx.Commit) for e in effects), "rows after the last"
        if self.state.takes_input and self.state.turn is None and not self.state.held:
            assert not self.state.queue.entries, "queued input waits and nothing runs"
            assert self.state.replacement is None, "an interrupting prompt waits"
        self._cause(effects)

    def _cause(self, effects: fx.Effects) -> None:
        ordered = tuple(e for e in effects if isinstance(e, ORDERED))
        if ordered:
            commits = [e for e in ordered if isinstance(e, fx.Commit)]
            for commit in commits:
                self._record(commit.events)
            self.outbox = (*self.outbox, (len(commits), ordered))
            for _ in commits:
                self.on("log", _acknowledged)
            self._flush()
        for effect in effects:
            if not isinstance(effect, ORDERED):
                self._start(effect)

    def _record(self, events: tuple[AgentEvent, ...]) -> None:
        for event in events:
            ended = {row.turn_id for row in self.rows if row.is_terminal}
            if event.is_terminal:
                assert event.turn_id not in ended, "a second terminal event"
            if event.type == EventType.USER_MESSAGE:
                assert event.turn_id not in ended, "an input after the end of its turn"
            self.rows = (*self.rows, event)

    def _flush(self) -> None:
        while self.outbox and self.outbox[0][0] == 0:
            (_, effects), *rest = self.outbox
            self.outbox = tuple(rest)
            for effect in effects:
                self._release(effect)

    def _release(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Reply() | fx.Refuse():
                assert effect.ask not in self.answers, f"ask {effect.ask} is answered twice"
                told = effect.value if isinstance(effect, fx.Reply) else effect.error
                self.answers[effect.ask] = told
                if isinstance(effect, fx.Reply) and effect.stream_turn_id:
                    self.open_streams |= {effect.stream_turn_id}
            case fx.SendPrompt(turn_id, message):
                assert not self.running, "two prompts at the agent"
                self.prompts = (*self.prompts, message)
                self.on("driver", _Take(turn_id))
            case fx.SteerAgent(entry_id):
                self.on("steer", inputs.SteerAnswered(entry_id, "injected"))
            case fx.CloseStream(turn_id):
                self.open_streams -= {turn_id}
            case fx.Finalize():
                self.finalized += 1
                assert self.finalized == 1, "a second finalization"
                self.on("finalizer", inputs.Finalized())
            case fx.Retire():
                self.retired = True

    def _start(self, effect: fx.Effect) -> None:
        match effect:
            case fx.CancelPrompt():
                self.on("cancel", _Cancel(effect))
            case fx.StopAgent():
                self.on("process", _stop)
            case fx.AnswerPermission(ask, decision, request_id):
                self.on("permission", _Answer(ask, decision, request_id))
            case fx.ArmTimer(name, seconds):
                self.timers[name] = seconds
            case fx.DisarmTimer(name):
                self.timers.pop(name, None)
            case fx.RestartAgent():
                self.on("process", _restart)

    def _fire_timer(self) -> bool:
        due = {name: s for name, s in self.timers.items() if name != SUPERVISION_TIMER}
        if not due or self.retired:
            return False
        name = min(due, key=due.__getitem__)
        del self.timers[name]
        self.feed(inputs.TimerFired(name))
        return True

    def dies(self, error: str = "") -> None:
        """The process of the agent ends; its turn with it."""
        if not self.alive:
            return
        self.alive = False
        told = failure(FailureKind.PROCESS_EXIT, error) if error else None
        if self.running:
            turn_id, self.running = self.running, ""
            self.lines["agent"] = ()
            if told is not None:
                event = AgentEvent(type=EventType.ERROR, error=error, failure=told)
                self.on("agent", inputs.AgentEventsArrived(turn_id, (event,)))
            self.on("agent", inputs.AgentStreamClosed(turn_id))
        self.on("process", inputs.AgentExited(error, told))

    def at_rest(self) -> None:
        """Nothing is left to do: everybody is answered, no turn hangs, the end is complete."""
        unanswered = self.asked - set(self.answers)
        assert not unanswered, f"asks {sorted(unanswered)} are never answered"
        assert self.state.turn is None, "a turn that never ends"
        stopped = [row for row in self.rows if row.type == EventType.SESSION_STOPPED]
        assert len(stopped) == self.finalized
        assert self.retired == bool(self.finalized)
        assert not self.open_streams, "a stream that is never closed"
        inputs_ = (row for row in self.rows if row.type == EventType.USER_MESSAGE)
        dispatched = Counter(row.request_id for row in inputs_ if row.request_id)
        assert all(count == 1 for count in dispatched.values()), "a queued input ran twice"
        assert len(set(self.prompts)) == len(self.prompts), "a text was sent twice"
        if self.state.meta.state is State.ACTIVE:
            begun = {r.turn_id for r in self.rows if r.type == EventType.USER_MESSAGE}
            ended = {row.turn_id for row in self.rows if row.is_terminal}
            assert begun <= ended, "a turn without an end"


def _acknowledged(world: World) -> None:
    """The oldest commit that is open is through."""
    outbox = list(world.outbox)
    place = next(i for i, (open_, _) in enumerate(outbox) if open_)
    outbox[place] = (outbox[place][0] - 1, outbox[place][1])
    world.outbox = tuple(outbox)
    world._flush()


def _stop(world: World) -> None:
    if world.stop_fails and world.alive:
        world.stop_fails -= 1
        world.feed(inputs.AgentStopFailed(SessionError("it lives on")))
    else:
        world.dies()


def _restart(world: World) -> None:
    world.alive = True
    world.feed(inputs.AgentStarted(0, "acp-1", Caps(), 8, NOW, True))


class _Take:
    """The driver takes a prompt, or refuses it."""

    __name__ = "take"

    def __init__(self, turn_id: str) -> None:
        self.turn_id = turn_id

    def __call__(self, world: World) -> None:
        turn_id = self.turn_id
        if not world.alive or turn_id == world.abandoned:
            error = SessionError("gone") if not world.alive else PromptCanceledError("cancelled")
            world.feed(inputs.PromptStartFailed(turn_id, error))
            return
        world.running = turn_id
        world.feed(inputs.PromptStarted(turn_id))
        story = [inputs.AgentEventsArrived(turn_id, (event,)) for event in STORY]
        world.on("agent", *story, _Close(turn_id))


class _Close:
    __name__ = "close"

    def __init__(self, turn_id: str) -> None:
        self.turn_id = turn_id

    def __call__(self, world: World) -> None:
        if world.running == self.turn_id:
            world.running = ""
        world.feed(inputs.AgentStreamClosed(self.turn_id))


class _Cancel:
    """The agent hears of a cancel and ends its turn."""

    __name__ = "cancel"

    def __init__(self, effect: fx.CancelPrompt) -> None:
        self.effect = effect

    def __call__(self, world: World) -> None:
        turn_id = self.effect.turn_id
        if self.effect.before_start:
            world.abandoned = turn_id
            return
        if world.running == turn_id and world.lines.get("agent"):
            done = AgentEvent(type=EventType.DONE, stop_reason="cancelled")
            rest = [inputs.AgentEventsArrived(turn_id, (done,)), _Close(turn_id)]
            told = any(row.is_terminal and row.turn_id == turn_id for row in world.rows)
            world.lines["agent"] = tuple(rest[1:] if told else rest)
        world.feed(inputs.CancelSettled(turn_id, self.effect.ask))


class _Answer:
    """The driver takes the first answer to a permission request and refuses others."""

    __name__ = "answer"

    def __init__(self, ask: int, decision: str, request_id: str) -> None:
        self.ask, self.decision, self.request_id = ask, decision, request_id

    def __call__(self, world: World) -> None:
        pending = any(r.request_id == self.request_id and not r.decision for r in world.rows)
        decided = any(r.request_id == self.request_id and r.decision for r in world.rows)
        if not pending or decided or not world.running or self.request_id in world.decided:
            error = SessionError("not pending")
            world.feed(inputs.PermissionResolved(self.ask, self.request_id, error))
            return
        turn_id = world.running
        event = AgentEvent(
            type=EventType.PERMISSION, request_id=self.request_id, decision=self.decision
        )
        world.decided |= {self.request_id}
        world.feed(inputs.PermissionResolved(self.ask, self.request_id))
        if world.running == turn_id:
            now = (inputs.AgentEventsArrived(turn_id, (event,)), *world.lines.get("agent", ()))
            world.lines["agent"] = now


def interleave(world: World, *, budget_s: float = float("inf"), seed: int = 0) -> Iterator[World]:
    """Every world that can come of it, at rest; those that fit into the budget, drawn by a seed.

    :param budget_s: seconds of the processor.
    """
    chance = random.Random(seed)
    until = time.process_time() + budget_s
    open_: list[World] = [world]
    while open_ and time.process_time() < until:
        # Depth first, so that worlds come to rest early; at random, so that a budget is fair.
        here = open_.pop() if budget_s == float("inf") or chance.random() < 0.9 else open_.pop(0)
        choices = here.choices()
        if not choices:
            here.settle()
            here.at_rest()
            yield here
            continue
        if budget_s != float("inf"):
            chance.shuffle(choices)
        for line in choices:
            other = here.copy()
            other.happen(line)
            open_.append(other)
