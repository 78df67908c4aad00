"""The simulator's checks can fail: each planted bug is found within a bounded number of seeds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from greenroom.actors.core import busy_input, inputs, lifecycle, stopping
from greenroom.actors.core import effects as fx
from greenroom.actors.core.step import RULES, TIMERS
from greenroom.actors.core.turn import error_event
from greenroom.actors.core.watching import SUPERVISION_TIMER
from greenroom.actors.model.failure import FailureKind
from greenroom.actors.session.interpreter import Interpreter
from greenroom.actors.session.notices import Notices
from greenroom.actors.session.outbox import Outbox
from greenroom.actors.testing.simulation.run import simulate
from greenroom.storage.acknowledgements import Acknowledgements
from greenroom.storage.session_store import SessionStore

SEEDS_MAX = 400


def found(expected):
    """The first seed that finds it; what it finds is one of ``expected``."""
    for seed in range(SEEDS_MAX):
        violation = simulate(seed).violation
        if violation is not None:
            assert violation.invariant in expected, f"seed {seed}: {violation}"
            return seed
    pytest.fail(f"not found within {SEEDS_MAX} seeds")


def change_effects(monkeypatch, kind, change):
    """Have ``change(state, effects)`` applied to what the rule of an input causes."""
    rule = RULES[kind]

    def changed(state, input, now):
        state, effects = rule(state, input, now)
        return state, tuple(change(state, effects, now))

    monkeypatch.setitem(RULES, kind, changed)


def without(kind):
    return lambda state, effects, now: [one for one in effects if not isinstance(one, kind)]


def test_a_second_finalization(monkeypatch):
    def twice(state, effects, now):
        return [*effects, *(one for one in effects if isinstance(one, fx.Finalize))]

    change_effects(monkeypatch, inputs.AgentExited, twice)
    found({"one-finalization"})


def test_a_cause_overwritten(monkeypatch):
    monkeypatch.setattr(stopping, "merge_cause", lambda cause, detail, *new: new)
    found({"first-cause"})


def test_a_queued_input_left_waiting(monkeypatch):
    monkeypatch.setattr(busy_input, "next_entry", lambda queue: None)
    found({"no-stranded-entry"})


def test_a_queued_input_sent_twice(monkeypatch):
    sent = busy_input.sent
    monkeypatch.setattr(
        busy_input, "sent", lambda queue, entry, now: (queue, sent(queue, entry, now)[1])
    )
    found({"no-double-dispatch", "comes-to-rest"})


def test_a_queued_input_that_is_not_stored(monkeypatch):
    def forgets(state, effects, now):
        return [replace(e, changes=()) if isinstance(e, fx.Commit) else e for e in effects]

    change_effects(monkeypatch, inputs.PromptSubmitted, forgets)
    found({"no-stranded-entry"})


def test_an_ask_answered_twice(monkeypatch):
    def twice(state, effects, now):
        return [*effects, *(one for one in effects if isinstance(one, fx.Reply))]

    change_effects(monkeypatch, inputs.AgentStarted, twice)
    found({"one-answer"})


def test_an_ask_never_answered(monkeypatch):
    change_effects(monkeypatch, inputs.PromptStarted, without(fx.Reply))
    found({"every-answer"})


def test_a_marker_lost(monkeypatch):
    def unmarked(state, effects, now):
        return [
            replace(e, events=()) if isinstance(e, fx.Commit) and not e.deliver else e
            for e in effects
            if not isinstance(e, fx.SendPrompt)
        ]

    change_effects(monkeypatch, inputs.SteerRequested, unmarked)
    change_effects(monkeypatch, inputs.QueuedPromptCancelRequested, unmarked)
    found({"markers"})


def test_a_turn_that_never_ends(monkeypatch):
    """Supervision alone would stop the session, and so heal it."""
    monkeypatch.setitem(RULES, inputs.AgentStreamClosed, lambda state, input, now: (state, ()))
    monkeypatch.setitem(TIMERS, SUPERVISION_TIMER, lambda state, input, now: (state, ()))
    found({"no-hung-turn", "every-answer"})


def test_a_second_terminal_event(monkeypatch):
    def again(state, effects, now):
        turn_id = next((e.turn_id for e in effects if isinstance(e, fx.CloseStream)), "")
        event = error_event(state, turn_id, "again", FailureKind.PROMPT, now)
        return [fx.Commit((event,)), *effects] if turn_id else effects

    change_effects(monkeypatch, inputs.AgentStreamClosed, again)
    found({"one-terminal-event", "nothing-after-stopped"})


def test_an_exit_that_is_ignored(monkeypatch):
    monkeypatch.setattr(lifecycle, "finalize", lambda state, now: (state, ()))
    found({"every-answer", "no-hung-turn", "stopped"})


def test_rows_published_before_they_are_committed(monkeypatch):
    submit = Interpreter._submit

    def hasty(self, batch, item):
        submit(self, batch, item)
        if item.rows:
            self._ports.publish(self._ports.session_id, [row.row for row in item.rows])

    monkeypatch.setattr(Interpreter, "_submit", hasty)
    found({"committed-first"})


def test_effects_that_do_not_wait_for_their_commits(monkeypatch):
    def flush(self):
        while self._batches:
            batch = self._batches.popleft()
            for item in batch.items:
                self._release(item, batch.error)

    monkeypatch.setattr(Outbox, "flush", flush)
    found({"committed-first"})


def test_a_row_left_out(monkeypatch):
    encode = SessionStore._encode

    def skipping(self, events, agent_name):
        self._sequence += len(events) > 1
        return encode(self, events, agent_name)

    monkeypatch.setattr(SessionStore, "_encode", skipping)
    found({"gap-free", "committed-first"})


def test_an_acknowledgement_before_the_sync(monkeypatch):
    monkeypatch.setattr(Acknowledgements, "written", lambda self, submits: list(submits))
    found({"survival", "markers", "no-stranded-entry"})


def test_an_end_reported_twice(monkeypatch):
    stopped = Notices.stopped

    def twice(self, session):
        stopped(self, session)
        stopped(self, session)

    monkeypatch.setattr(Notices, "stopped", twice)
    found({"one-finalization"})


def test_a_bug_in_a_rule(monkeypatch):
    monkeypatch.setitem(RULES, inputs.SteerRequested, lambda state, input, now: 1 // 0)
    monkeypatch.setitem(RULES, inputs.InterruptRequested, lambda state, input, now: 1 // 0)
    found({"no-crash"})
