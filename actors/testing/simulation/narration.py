"""The trace of a simulation: time, who, what came in, what it caused; the same in every process."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ...core import effects as fx
from ...core.inputs import Input
from ...core.state import SessionState
from ..clock import VirtualClock

__all__ = ["Narrator"]


class Narrator:
    """Writes down what happens.

    :param kept: whether anything is; without, every call costs next to nothing.
    """

    def __init__(self, clock: VirtualClock, kept: bool) -> None:
        self._clock = clock
        self._kept = kept
        self.lines: list[str] = []

    def step(self, state: SessionState, input: Input, effects: fx.Effects) -> None:
        """A session took an input."""
        if self._kept:
            caused = ", ".join(_effect_text(effect) for effect in effects) or "nothing"
            self._add(f"{state.id} [{_state_text(state)}] <- {_input_text(input)} => {caused}")

    def say(self, who: str, what: str, how: object) -> None:
        """Something else happened."""
        if self._kept:
            self._add(f"{who}: {what}: {how}")

    def _add(self, text: str) -> None:
        self.lines.append(f"{len(self.lines):5} {self._clock.monotonic():9.3f}s {text}")


def _state_text(state: SessionState) -> str:
    turn = f" {state.turn.turn_id} {state.turn.phase}" if state.turn else ""
    queue = f" queue={len(state.queue.entries)}" if state.queue.entries else ""
    cause = f" cause={state.stop_cause}" if state.stop_cause != "none" else ""
    return f"{state.meta.state}{turn}{queue}{cause}"


def _input_text(input: Input) -> str:
    told = []
    for field in fields(input):
        value: Any = getattr(input, field.name)
        if field.name == "events":
            value = "+".join(event.type for event in value)
        elif isinstance(value, BaseException):
            value = type(value).__name__
        elif not isinstance(value, str | int | float | bool) or value in ("", 0):
            continue
        told.append(f"{field.name}={value}")
    return f"{type(input).__name__}({' '.join(told)})"


def _effect_text(effect: fx.Effect) -> str:
    name = type(effect).__name__
    match effect:
        case fx.Commit(events, changes, durable):
            rows = "+".join(event.title or event.type for event in events)
            tables = "+".join(change.table for change in changes)
            return f"{name}({' '.join(part for part in (rows, tables) if part)}{' F' * durable})"
        case fx.Reply(ask):
            return f"{name}({ask})"
        case fx.Refuse(ask, error):
            return f"{name}({ask} {type(error).__name__})"
        case fx.SendPrompt(turn_id) | fx.CloseStream(turn_id) | fx.CancelPrompt(turn_id):
            return f"{name}({turn_id})"
        case fx.ArmTimer(timer, seconds):
            return f"{name}({timer} {seconds:.3f})"
        case fx.DisarmTimer(timer):
            return f"{name}({timer})"
        case fx.WriteMeta(meta):
            return f"{name}({meta.state})"
        case fx.Report(_, text):
            return f"{name}({text})"
    return name
