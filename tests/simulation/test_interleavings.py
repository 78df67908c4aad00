"""DESIGN A3: every "interleaving that must be safe" of 01 21 and 02 17, in every order.

In each order that there is, all invariants of :mod:`interleavings` hold after every step, and what
the row of the table requires holds at the end. ``make test`` runs what fits into a budget, in an
order drawn by a seed; ``make chaos`` runs all.
"""

from __future__ import annotations

from collections import Counter

import pytest
from greenroom.actors.core import busy_input, inputs, lifecycle, stopping
from greenroom.actors.errors import (
    PromptInProgressError,
    SessionError,
    SessionNotActiveError,
)
from greenroom.actors.model.agent import Caps
from greenroom.actors.model.event import AgentEvent, EventType
from greenroom.actors.model.restart import RestartPolicy
from greenroom.actors.model.session import State, StopCause, StopReason

from .interleavings import NOW, World, interleave

BUDGET_S = 0.3
FULL_MAX = 200_000
"""Orders of one row after which even the full run has seen enough."""


def crash(world):
    world.dies("exit status 9")


def leave(world):
    world.dies()


def stop(ask, cause=StopCause.USER_REQUESTED):
    return inputs.StopRequested(ask, cause)


def prompt(ask, text, mode=None):
    return inputs.PromptSubmitted(ask, text, mode)


def is_error(answer):
    return isinstance(answer, BaseException)


def stopped(world):
    assert world.finalized == 1
    assert world.state.meta.state is State.STOPPED


def texts(world):
    return [row.text for row in world.rows if row.type == EventType.USER_MESSAGE]


# 01 21


def stop_and_crash(world):
    """one finalization, one session_stopped, first cause kept"""
    stopped(world)
    asked = world.state.stop_cause is StopCause.USER_REQUESTED
    reason = world.state.meta.stop_reason
    assert reason is (StopReason.USER_CANCELED if asked else StopReason.AGENT_CRASHED)


def two_stops(world):
    """both succeed (or the later is told that the session is gone), one finalization"""
    stopped(world)
    assert None in (world.answers[1], world.answers[2])


def stop_and_setup(world):
    """stop waits for setup to finish, then stops; no orphan turn"""
    stopped(world)
    answer = world.answers[2]
    assert answer is None or isinstance(answer, SessionError | SessionNotActiveError)


def stop_again(world):
    """retry works"""
    if any(is_error(world.answers[ask]) for ask in (1, 2)):
        world.feed(stop(3))
        world.settle()
    stopped(world)


def exit_after_start(world):
    """created, then stopped"""
    stopped(world)
    assert world.rows[-1].type in (EventType.SESSION_STOPPED, EventType.MARKER_CREATED)


# 02 17


def one_prompt_of_many(world):
    """exactly one accepted at a time, the rest PromptInProgressError; one input event each"""
    refused = [a for a in world.answers.values() if isinstance(a, PromptInProgressError)]
    accepted = len(texts(world))
    assert accepted >= 1
    assert accepted + len(refused) == 3
    assert len(world.prompts) == accepted


def cancel_in_setup(world):
    """execution context cancelled at once, not after setup"""
    assert not is_error(world.answers[2])
    assert world.state.meta.state is State.ACTIVE
    markers = Counter(row.title for row in world.rows if "prompt_cancel" in row.title)
    assert max(markers.values(), default=0) <= 1


def stop_while_streaming(world):
    """pump ends when the driver stream closes; durable input kept"""
    stopped(world)
    kept = [entry.text for entry in world.state.queue.entries]
    ran = "queued" in texts(world)
    refused = is_error(world.answers[2])
    assert refused or ran or kept == ["queued"]


def queue_and_turn_end(world):
    """queued and dispatched without further stimulus, or accepted; never stranded"""
    assert texts(world) == ["first", "second"]
    assert list(world.prompts) == ["first", "second"]


def two_interrupts(world):
    """each advances the generation; the later replaces the earlier's; both get an answer"""
    assert {1, 2} <= set(world.answers)
    ran = texts(world)
    assert ran[0] == "first"
    assert 1 <= len(ran) <= 3
    results = [world.answers[ask] for ask in (1, 2)]
    assert any(not is_error(result) for result in results)


def enqueue_and_fence(world):
    """cancelled, or carries the new generation; never unclaimable"""
    assert world.state.queue.entries == ()
    entry = world.answers[1].queue_entry_id
    if not entry:
        return
    titles = [row.title or row.type for row in world.rows]
    queued = titles.index("transcript_marker.prompt_queued")
    fenced = titles.index("transcript_marker.prompt_interrupted")
    cancelled = world.answers[2].canceled_queued_entries
    assert ("second" in texts(world)) == (not cancelled)
    assert queued < fenced or not cancelled


def one_approval(world):
    """one winner, and the loser is told"""
    answers = [world.answers[ask] for ask in (1, 2)]
    decided = [row for row in world.rows if row.request_id == "p" and row.decision]
    assert len(decided) <= 1
    winners = sum(not is_error(answer) for answer in answers)
    assert winners <= 1 + (not decided)


def late_report(world):
    """a report after the end of its turn is ignored"""
    assert world.state.meta.state is State.ACTIVE
    assert world.state.watch is None


def restart_and_stop(world):
    """a requested stop never restarts, and ends a pending restart (01 9.6)"""
    stopped(world)
    assert not world.state.restarting
    assert world.answers[1] is None


def steer_and_turn_end(world):
    """injected at a boundary, or run as a turn of its own; once (02 9)"""
    if is_error(world.answers[1]):
        return
    markers = [row for row in world.rows if row.type == EventType.MARKER_CREATED]
    told = any("injected" in str(row.raw) or row.text == "left" for row in markers)
    assert texts(world).count("left") == 1 or told
    assert world.prompts.count("left") <= 1
    assert world.state.queue.entries == ()


def streaming(**changes):
    return World(**changes).started().streaming()


def with_permission():
    world = streaming()
    turn_id = world.running
    asked = AgentEvent(type=EventType.PERMISSION, request_id="p", title="write")
    world.feed(inputs.AgentEventsArrived(turn_id, (asked,)))
    return world


def approve(ask):
    return inputs.PermissionApproved(ask, "allow-once", "p", "")


def report(world):
    turn_id = world.running or world.state.last_turn_id
    world.feed(inputs.ActivityReported(turn_id))


ROWS = {
    "01-21 stop vs. process crash during stop": (
        lambda: World().started().on("A", stop(1)).on("B", crash),
        stop_and_crash,
    ),
    "01-21 stop vs. process crash in a turn": (
        lambda: streaming().on("A", stop(1)).on("B", crash),
        stop_and_crash,
    ),
    "01-21 stop vs. watcher that already finalizes": (
        lambda: World().started().on("A", stop(1)).on("B", leave),
        stopped,
    ),
    "01-21 two concurrent stops": (
        lambda: streaming().on("A", stop(1)).on("B", stop(2, StopCause.SHUTDOWN)),
        two_stops,
    ),
    "01-21 stop vs. prompt setup": (
        lambda: World().started().on("A", stop(1)).on("B", prompt(2, "first")),
        stop_and_setup,
    ),
    "01-21 stop returns error, then stop again": (
        lambda: failing_stop().on("A", stop(1)).on("B", stop(2)),
        stop_again,
    ),
    "01-21 process exit immediately after start": (
        lambda: World().on("A", activated(1), may_crash, inputs.Activated()),
        exit_after_start,
    ),
    "01-9.6 stop vs. restart": (
        lambda: streaming(restart=RestartPolicy("permanent")).on("A", crash).on("B", stop(1)),
        restart_and_stop,
    ),
    "02-17 N concurrent prompts on idle": (
        lambda: (
            World()
            .started()
            .on("A", prompt(1, "a"))
            .on("B", prompt(2, "b"))
            .on("C", prompt(3, "c"))
        ),
        one_prompt_of_many,
    ),
    "02-17 cancel_prompt during a blocked driver.prompt": (
        lambda: World().started().on("A", prompt(1, "first")).on("B", inputs.CancelRequested(2)),
        cancel_in_setup,
    ),
    "02-17 stop during streaming": (
        lambda: streaming().on("A", stop(1)).on("B", prompt(2, "queued", "queue")),
        stop_while_streaming,
    ),
    "02-17 send_prompt(queue) racing with turn end": (
        lambda: streaming().on("A", prompt(1, "second", "queue")),
        queue_and_turn_end,
    ),
    "02-17 two send_prompt(interrupt)": (
        lambda: (
            streaming()
            .on("A", prompt(1, "second", "interrupt"))
            .on("B", prompt(2, "third", "interrupt"))
        ),
        two_interrupts,
    ),
    "02-17 enqueue racing with fence": (
        lambda: (
            streaming().on("A", prompt(1, "second", "queue")).on("B", inputs.InterruptRequested(2))
        ),
        enqueue_and_fence,
    ),
    "02-17 approve racing with approve": (
        lambda: with_permission().on("A", approve(1)).on("B", approve(2)),
        one_approval,
    ),
    "02-17 approve racing with cancel": (
        lambda: with_permission().on("A", approve(1)).on("B", inputs.CancelRequested(2)),
        lambda world: None,
    ),
    "02-17 reporter call after turn end": (
        lambda: streaming().on("A", report, report),
        late_report,
    ),
    "02-17 lifecycle end": (
        lambda: (
            streaming()
            .on("A", stop(1, StopCause.SHUTDOWN))
            .on("B", prompt(2, "second", "interrupt"))
        ),
        stopped,
    ),
    "02-9 steer racing with turn end": (
        lambda: streaming().on("A", inputs.SteerRequested(1, "left")),
        steer_and_turn_end,
    ),
}


def failing_stop():
    world = streaming()
    world.stop_fails = 1
    return world


def activated(ask):
    return inputs.AgentStarted(ask, "acp-1", Caps(), 7, NOW, False)


def may_crash(world):
    """The process can only end once it was started."""
    world.on("B", crash)


def explore(row, **limits):
    make, required = ROWS[row]
    count = 0
    for world in interleave(make(), **limits):
        try:
            required(world)
        except AssertionError as error:
            raise AssertionError(f"{row}: {' '.join(world.trace)}") from error
        count += 1
        if count >= FULL_MAX:
            break
    return count


@pytest.mark.parametrize("row", ROWS)
def test_the_orders_that_fit_into_a_budget(row):
    assert explore(row, budget_s=BUDGET_S, seed=1) > 0


@pytest.mark.chaos
@pytest.mark.parametrize("row", ROWS)
def test_every_order(row):
    assert explore(row) > 0


PLANTED = {
    "a cause overwritten": (
        "01-21 two concurrent stops",
        (stopping, "merge_cause", lambda cause, detail, *new: new),
    ),
    "a queued input forgotten": (
        "02-17 send_prompt(queue) racing with turn end",
        (busy_input, "next_entry", lambda queue: None),
    ),
    "an exit ignored": (
        "01-21 stop vs. process crash in a turn",
        (lifecycle, "finalize", lambda state, now: (state, ())),
    ),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug, monkeypatch):
    row, patch = PLANTED[bug]
    monkeypatch.setattr(*patch)
    with pytest.raises(AssertionError):
        explore(row)
