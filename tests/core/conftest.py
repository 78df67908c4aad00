"""A session without a world: inputs in, effects out, the state in between."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from greenroom.actors.core import effects as fx
from greenroom.actors.core import inputs
from greenroom.actors.core.state import SessionState
from greenroom.actors.core.step import step
from greenroom.actors.core.watching import SUPERVISION_TIMER
from greenroom.actors.model.agent import Caps
from greenroom.actors.model.event import AgentEvent, EventType
from greenroom.actors.model.session import SessionMeta, State
from greenroom.actors.model.settings import SessionBusyInputConfig, SessionSupervisionConfig

START = datetime(2026, 4, 3, 10, 0, tzinfo=UTC)


class Bench:
    """Feeds one session and remembers what it did."""

    def __init__(self, **changes: Any) -> None:
        meta = SessionMeta(
            id="sess-1",
            agent_name="demo",
            workspace_id="ws-1",
            state=State.STARTING,
            created_at=START,
            updated_at=START,
        )
        self.state = SessionState(
            meta=meta,
            workspace="/ws",
            id_seed="seed",
            busy_input=SessionBusyInputConfig(queue_cap=3, max_text_bytes=512).resolved(),
            supervision=SessionSupervisionConfig(),
            **changes,
        )
        self.now = START
        self.asks = 0
        self.answers: dict[int, Any] = {}

    def feed(self, input: inputs.Input) -> fx.Effects:
        """Apply one input a second later; answers of asks are kept."""
        self.now += timedelta(seconds=1)
        self.state, effects = step(self.state, input, self.now)
        for effect in effects:
            if isinstance(effect, fx.Reply | fx.Refuse):
                assert effect.ask not in self.answers, "an ask is answered once"
                told = effect.value if isinstance(effect, fx.Reply) else effect.error
                self.answers[effect.ask] = told
        self.all_effects = effects
        return tuple(effect for effect in effects if not is_supervision(effect))

    def ask(self, kind: Any, **fields: Any) -> tuple[int, fx.Effects]:
        """Feed an input that wants an answer."""
        self.asks += 1
        return self.asks, self.feed(kind(self.asks, **fields))

    def activate(self, **caps: Any) -> fx.Effects:
        """Bring the session to ``active``, its start complete."""
        effects = self.ask(
            inputs.AgentStarted,
            acp_session_id="acp-1",
            caps=Caps(**caps),
            pid=77,
            started_at=START,
            restored=False,
        )[1]
        return (*effects, *self.feed(inputs.Activated()))

    def prompt(self, message: str = "hello", **fields: Any) -> tuple[int, fx.Effects]:
        """Submit a prompt."""
        return self.ask(inputs.PromptSubmitted, message=message, **fields)

    def run_turn(self, message: str = "hello") -> str:
        """Submit a prompt and let the driver take it; returns the turn id."""
        self.prompt(message)
        turn_id = self.turn_id
        self.feed(inputs.PromptStarted(turn_id))
        return turn_id

    def arrive(self, *events: AgentEvent, turn_id: str | None = None) -> fx.Effects:
        """The driver brings events of the turn."""
        return self.feed(inputs.AgentEventsArrived(turn_id or self.turn_id, events))

    def end_turn(self) -> fx.Effects:
        """The agent answers and the stream closes."""
        turn_id = self.turn_id
        done = self.arrive(AgentEvent(type=EventType.DONE, stop_reason="end_turn"))
        return (*done, *self.feed(inputs.AgentStreamClosed(turn_id)))

    @property
    def turn_id(self) -> str:
        """The id of the open turn."""
        assert self.state.turn is not None
        return self.state.turn.turn_id

    def put_state(self, state: State) -> None:
        """Force a lifecycle state."""
        self.state = replace(self.state, meta=replace(self.state.meta, state=state))


def is_supervision(effect: fx.Effect) -> bool:
    """Whether an effect only watches the turn; most tests are not about that."""
    if isinstance(effect, fx.WriteMeta):
        return effect.activity_only
    timer = isinstance(effect, fx.ArmTimer | fx.DisarmTimer)
    return timer and effect.name == SUPERVISION_TIMER


def events_of(effects: fx.Effects) -> list[AgentEvent]:
    """All rows the effects append, in order."""
    return [e for effect in effects if isinstance(effect, fx.Commit) for e in effect.events]


def kinds(effects: fx.Effects) -> list[str]:
    """The names of the effects, in order."""
    return [type(effect).__name__ for effect in effects]


@pytest.fixture
def bench() -> Bench:
    """A session that is starting."""
    return Bench()


@pytest.fixture
def active(bench: Bench) -> Bench:
    """A session that is active and idle; its agent takes steering."""
    bench.activate(supports_steering=True)
    return bench


@pytest.fixture(name="events_of")
def _events_of() -> Any:
    return events_of


@pytest.fixture(name="kinds")
def _kinds() -> Any:
    return kinds


@pytest.fixture(scope="session")
def make_bench() -> Any:
    """Makes sessions that are starting."""
    return Bench
