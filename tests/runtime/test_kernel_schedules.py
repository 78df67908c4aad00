"""A state machine on real actors under seeded schedules: whatever the order, its promises hold.

A desk takes prompts and runs them one at a time on an engine each; it writes rows to a slow store;
it is cancelled, stopped twice with different causes, and any of the actors may crash.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from contextlib import suppress

import pytest
from greenroom.actors.runtime import census
from greenroom.actors.runtime.actor import GreenActor
from greenroom.actors.runtime.cell import Cell
from greenroom.actors.runtime.life import Mortal
from greenroom.actors.runtime.mailbox import Lane, Mailbox
from greenroom.actors.runtime.monitor import Down, DownReason, Monitor
from greenroom.actors.runtime.timers import tell_after
from greenroom.actors.testing.conservation import assert_conserved
from greenroom.actors.testing.faults import FaultPlan, InjectedError
from greenroom.actors.testing.scheduler import SeededScheduler
from pykka import ActorDeadError, ActorRegistry

KINDS = ("ok", "slow", "crash", "never")


class RefusedError(Exception):
    pass


class Store(GreenActor):
    """Acknowledges each row, now or later."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw
        self.rows = []

    def on_receive(self, message):
        desk, row = message
        self.rows.append(row)
        if desk.is_alive():
            tell_after(desk, self.draw() * 3, ("stored", row[0]))


class Engine(GreenActor):
    """Runs one turn.

    :param raised: told of the engine when it raises.
    """

    def __init__(self, raised):
        super().__init__()
        self.raised = raised

    def on_receive(self, message):
        desk, kind, turn = message
        match kind:
            case "ok" if desk.is_alive():
                desk.tell(("done", turn))
            case "slow" if desk.is_alive():
                tell_after(desk, 1.0, ("done", turn))
            case "crash":
                if self.actor_ref.is_alive():  # else it was killed as its delay ended
                    self.raised.append(self.actor_ref)
                raise ValueError(kind)


class Desk(GreenActor):
    def __init__(self, store, engines):
        super().__init__()
        self.store = store
        self.engines = engines
        self.engine = None
        self.turn = self.sequence = self.stored = self.finals = 0
        self.cause = None
        self.downs, self.raised = [], []

    def on_receive(self, message):
        match message:
            case ("prompt", kind):
                return self.prompt(kind)
            case ("done", turn) if self.engine is not None and turn == self.turn:
                self.end_turn("done")
            case Down(ref=ref) if ref == self.engine:
                self.end_turn("failed")
            case "cancel" if self.engine is not None:
                self.end_turn("cancelled")
            case ("stop", cause) if self.cause is None:
                self.cause = cause
                if self.engine is not None:
                    self.end_turn("cancelled")
                self.write("final", cause)
            case ("stored", sequence):
                self.stored += 1
                if self.cause is not None and sequence == self.sequence:
                    self.finals += 1
                    self.stop()
        return None

    def prompt(self, kind):
        if self.cause is not None:
            raise RefusedError
        if self.engine is not None:
            self.postpone()
        assert not any(engine.is_alive() for engine in self.engines), "one turn at a time"
        self.turn += 1
        self.engine = Engine.start(self.raised)
        self.engines.append(self.engine)
        self.engine.monitor(self.hear)
        self.engine.tell((self.actor_ref, kind, self.turn))
        return self.turn

    def hear(self, down):
        self.downs.append(down.ref)
        if self.actor_ref.is_alive():
            self.actor_ref.tell(down, lane=Lane.CONTROL)

    def end_turn(self, how):
        engine, self.engine = self.engine, None
        engine.kill()
        self.write(how, self.turn)
        self.release_postponed()

    def write(self, *row):
        assert self.finals == 0, "nothing happens after the end"
        self.sequence += 1
        if self.store.is_alive():
            self.store.tell((self.actor_ref, (self.sequence, *row)))


def run_schedule(seed, trace=False):
    """One life of a desk; returns the trace and how many messages were handled."""
    with SeededScheduler(seed, trace=trace) as scheduler:
        draw = scheduler.draw
        engines, answers = [], []
        store = Store.start(draw)
        store_actor = store._actor_weakref()
        desk = Desk.start(store, engines)
        desk_actor = desk._actor_weakref()
        causes = []
        with FaultPlan().by_chance(draw, crash=0.004, delay=0.02, delay_s=0.5):
            for _ in range(20 + int(draw() * 10)):
                send_something(desk, draw, answers, causes)
                if draw() < 0.3:
                    scheduler.run(until_s=scheduler.clock.monotonic() + draw())
            scheduler.run(until_s=scheduler.clock.monotonic() + 50)
            if desk.is_alive():
                tell(desk, ("stop", "last"), causes)
            scheduler.run()
        check(seed, desk, desk_actor, store, store_actor, engines, answers, causes)
        scheduler.run()
        check_ends(seed, desk_actor, engines)
        return scheduler.trace, scheduler.steps


def send_something(desk, draw, answers, causes):
    drawn = draw()
    if not desk.is_alive():
        return
    if drawn < 0.6:
        kind = KINDS[int(draw() * len(KINDS))]
        answers.append(desk.ask(("prompt", kind), block=False))
    elif drawn < 0.9:
        desk.tell("cancel", lane=Lane.CONTROL if draw() < 0.5 else Lane.WORK)
    elif drawn < 0.93:
        tell(desk, ("stop", f"cause {len(causes)}"), causes)


def tell(desk, message, causes):
    causes.append(message[1])
    desk.tell(message)


def check(seed, desk, desk_actor, store, store_actor, engines, answers, causes):
    reason = desk.actor_inbox.reason
    rows = store_actor.rows
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1)), seed
    finals = [row for row in rows if row[1] == "final"]
    assert finals == rows[len(rows) - len(finals) :], seed
    assert len(finals) <= 1, seed
    if finals:
        assert finals[0][2] == causes[0], f"seed {seed}: the first cause is kept"
    if reason is DownReason.STOPPED:
        assert desk_actor.finals == 1, seed
    else:
        assert reason is DownReason.CRASHED or store.actor_inbox.reason is not None, seed
        assert desk_actor.finals <= 1, seed
    for answer in answers:
        assert answer.done or desk.is_alive(), f"seed {seed}: each ask is answered"
        if answer.done:
            with suppress(ActorDeadError, RefusedError, InjectedError):
                answer.get()
    if desk.is_alive():  # its store died under it: the last asks may be postponed
        desk.kill()
        assert all(answer.done for answer in answers), seed
    assert_conserved(desk, store, *engines)


def check_ends(seed, desk_actor, engines):
    ended = {engine for engine in engines if not engine.is_alive()}
    heard = desk_actor.downs
    assert len(heard) == len(set(heard)), f"seed {seed}: a Down was delivered twice"
    assert set(heard) == ended, f"seed {seed}: a Down was never delivered"
    assert ended.isdisjoint(ActorRegistry.get_all()), f"seed {seed}: the registry keeps the dead"
    reasons = {engine.actor_inbox.reason for engine in desk_actor.raised}
    assert reasons <= {DownReason.CRASHED}, f"seed {seed}: an actor raised and lived on"


def run_many(count):
    steps = sum(run_schedule(seed)[1] for seed in range(count))
    assert steps / count >= 60


def test_ten_thousand_schedules():
    run_many(10_000)


@pytest.mark.chaos
def test_a_hundred_thousand_schedules():
    run_many(100_000)


def swapped(cls, name, make):
    """A method of the kernel replaced by what ``make`` makes of it."""
    return lambda monkeypatch: monkeypatch.setattr(cls, name, make(getattr(cls, name)))


def delivered_twice(monkeypatch):
    def deliver(self, down):
        self._callback(down)

    def twice(self, monitor):
        for _ in range(2):
            self.inlet.loop.run_callback(monitor.deliver, self.down())

    monkeypatch.setattr(Monitor, "deliver", deliver)
    monkeypatch.setattr(Mortal, "_deliver", twice)


def handled_twice(turn_over):
    def repeat(self):
        found = turn_over(self)
        if found:
            self._outgoing.append(self._outgoing[-1])
            self.accepted += 1
        return found

    return repeat


def unanswered(bury):
    return lambda self, message, reply_to, answer: bury(self, message, None, answer)


def uncounted(bury):
    def forget(self, message, reply_to, answer):
        bury(self, message, reply_to, answer)
        self.dead -= 1

    return forget


def last_in_first_out(turn_over):
    def reversed_once_more(self):
        found = turn_over(self)
        self._outgoing.reverse()
        return found

    return reversed_once_more


PLANTS = {
    "a Down is never delivered": swapped(Mortal, "_deliver", lambda _: lambda self, monitor: None),
    "a Down is delivered twice": delivered_twice,
    "what waits at the end vanishes": swapped(Mortal, "_drain", lambda _: Mortal._empty),
    "whoever asked the dead gets no answer": swapped(Mortal, "_bury", unanswered),
    "a dead letter is not counted": swapped(Mortal, "_bury", uncounted),
    "what was postponed is forgotten": swapped(
        Mailbox, "release_postponed", lambda _: lambda self: setattr(self, "_postponed", None)
    ),
    "a message is handled twice": swapped(Mailbox, "_turn_over", handled_twice),
    "a lane is last in, first out": swapped(Mailbox, "_turn_over", last_in_first_out),
    "who raises lives on": swapped(Cell, "_crash", lambda _: lambda self, *error: None),
    "the registry keeps the dead": swapped(census, "unregister", lambda _: lambda ref: None),
}


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS.keys())
def test_a_bug_of_the_kernel_is_found_within_a_hundred_seeds(plant, monkeypatch):
    with monkeypatch.context() as planted, pytest.raises(AssertionError):
        plant(planted)
        run_many(100)
    for kept in ActorRegistry.get_all():
        census.unregister(kept)


def digest(seeds):
    """One hash over the traces of so many seeds; also what the subprocess prints."""
    whole = hashlib.sha256()
    distinct = set()
    for seed in range(seeds):
        trace = run_schedule(seed, trace=True)[0]
        distinct.add(trace)
        whole.update(trace)
    assert len(distinct) == seeds
    return whole.hexdigest()


def digest_elsewhere(seeds, hash_seed):
    code = (
        "import importlib.util as u, logging\n"
        "logging.getLogger('pykka').setLevel(100)\n"
        f"s = u.spec_from_file_location('schedules', {__file__!r})\n"
        "m = u.module_from_spec(s); s.loader.exec_module(m)\n"
        f"print(m.digest({seeds}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_the_same_seed_gives_the_same_trace_in_every_process():
    assert digest(100) == digest(100) == digest_elsewhere(100, 1) == digest_elsewhere(100, 2)


@pytest.mark.chaos
def test_a_thousand_seeds_of_a_thousand_give_the_same_trace_under_two_hash_seeds():
    assert digest(1000) == digest_elsewhere(1000, 1) == digest_elsewhere(1000, 4242)
