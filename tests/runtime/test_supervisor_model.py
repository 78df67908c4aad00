"""Random crash histories: a real supervisor and a small model of OTP's rules agree at each step."""

from __future__ import annotations

import random

import pytest
from greenroom.actors.runtime.actor import GreenActor
from greenroom.actors.runtime.childspec import ChildSpec, Restart, Strategy
from greenroom.actors.runtime.errors import SupervisionError
from greenroom.actors.runtime.monitor import DownReason
from greenroom.actors.runtime.restarts import RestartLimits
from greenroom.actors.runtime.supervisor import Supervisor
from greenroom.actors.testing.clock import VirtualClock

WINDOW_S = 5.0
EVENTS = ("crash", "crash", "kill", "end", "time", "terminate", "restart", "delete", "start")


class Model:
    """What a supervisor of children ``ids`` should do, as plain data: no actor, no clock."""

    def __init__(self, specs, strategy, max_restarts, fails):
        self.specs = dict(specs)  # id -> restart kind, in order
        self.status = dict.fromkeys(self.specs, "stopped")
        self.strategy, self.max_restarts, self.fails = strategy, max_restarts, fails
        self.starts = dict.fromkeys("abcdefgh", 0)
        self.times, self.now, self.log, self.gone = [], 0.0, [], False
        for child in self.specs:
            self.start(child)

    def start(self, child):
        self.starts[child] += 1
        if self.starts[child] in self.fails.get(child, ()):
            return False
        self.log.append(f"+{child}")
        self.status[child] = "running"
        return True

    def stop(self, child):
        if self.status[child] == "running":
            self.log.append(f"-{child}")
        self.status[child] = "stopped"

    def forget(self, child):
        del self.specs[child], self.status[child]

    def ended(self, child, normal):
        self.status[child] = "stopped"
        kind = self.specs[child]
        if kind is Restart.PERMANENT or (kind is Restart.TRANSIENT and not normal):
            self.restart(child)
        elif kind is Restart.TEMPORARY:
            self.forget(child)

    def restart(self, child):
        while True:
            recent = [time for time in self.times if time >= self.now - WINDOW_S]
            self.times = [*recent, self.now]
            if len(self.times) > self.max_restarts:
                for other in reversed(self.specs):
                    self.stop(other)
                self.gone = True
                return
            order = list(self.specs)
            first, last = {
                Strategy.ONE_FOR_ONE: (order.index(child), order.index(child) + 1),
                Strategy.ONE_FOR_ALL: (0, len(order)),
                Strategy.REST_FOR_ONE: (order.index(child), len(order)),
            }[self.strategy]
            group = order[first:last]
            for other in reversed(group):
                self.stop(other)
            for other in group:
                if other != child and self.specs[other] is Restart.TEMPORARY:
                    self.forget(other)
            failed = next((c for c in group if c in self.specs and not self.start(c)), None)
            if failed is None:
                return
            child = failed

    def call(self, verb, child):
        """What a caller asks; True if it is granted."""
        status = self.status.get(child)
        match verb, status:
            case "terminate", "running" | "stopped":
                self.stop(child)
                if self.specs[child] is Restart.TEMPORARY:
                    self.forget(child)
                return True
            case "restart", "stopped":
                return self.start(child)
            case "delete", "stopped":
                self.forget(child)
                return True
        return False

    def add(self, child, kind):
        if child in self.specs:
            return False
        if not self.start(child):
            return False
        self.specs[child] = kind
        return True


class Child(GreenActor):
    def __init__(self, world, name):
        super().__init__()
        self.world, self.name = world, name

    def on_start(self):
        self.world.starts[self.name] += 1
        if self.world.starts[self.name] in self.world.fails.get(self.name, ()):
            raise RuntimeError("does not start")
        self.world.log.append(f"+{self.name}")

    def on_stop(self):
        self.world.log.append(f"-{self.name}")

    def on_receive(self, message):
        raise ValueError(message)


class World:
    def __init__(self, fails):
        self.fails = fails
        self.starts = dict.fromkeys("abcdefgh", 0)
        self.log = []

    def spec(self, name, kind):
        return ChildSpec(name, Child, (self, name), restart=kind)


class Quiet(Supervisor):
    def on_report(self, report):
        pass


def live(seed):
    """One history; every step is checked. Returns how it ended."""
    chance = random.Random(seed)
    kinds = list(Restart)
    specs = [(name, chance.choice(kinds)) for name in "abcde"[: chance.randint(1, 5)]]
    strategy = chance.choice(list(Strategy))
    max_restarts = chance.randint(0, 4)
    fails = {
        name: {n for n in range(2, 9) if chance.random() < 0.25}
        for name in "abcdefgh" if chance.random() < 0.4
    }
    model = Model(specs, strategy, max_restarts, fails)
    world = World(fails)
    with VirtualClock() as clock:
        supervisor = Quiet.start_acknowledged(
            [world.spec(*spec) for spec in specs],
            strategy=strategy,
            limits=RestartLimits(max_restarts, WINDOW_S),
        )
        for step in range(chance.randint(4, 16)):
            said = f"seed {seed}, step {step}: {play(chance, model, world, supervisor, clock)}"
            assert supervisor.actor_inbox.closed is model.gone, said
            # A child that crashed or was killed says no "-", and neither does the model's.
            assert world.log == model.log, said
            if model.gone:
                assert supervisor.actor_inbox.reason is DownReason.ESCALATED, said
                return "escalated"
            seen = {info.id: str(info.status) for info in supervisor.which_children()}
            assert list(seen.items()) == list(model.status.items()), said
        supervisor.stop()
    return "lived"


def play(chance, model, world, supervisor, clock):
    """One event, in the real thing and in the model."""
    event = chance.choice(EVENTS)
    running = [child for child, status in model.status.items() if status == "running"]
    match event:
        case "crash" | "kill" | "end" if running:
            child = chance.choice(running)
            ref = supervisor.child(child)
            if event == "crash":
                ref.tell("boom")
            elif event == "kill":
                ref.kill()
            else:
                ref.stop()
                model.log.append(f"-{child}")
            clock.settle()
            model.ended(child, event == "end")
            return f"{event} {child}"
        case "time":
            seconds = chance.choice((0.5, 2.5, WINDOW_S, WINDOW_S + 0.1))
            clock.advance(seconds)
            model.now += seconds
            return f"time {seconds}"
        case "terminate" | "restart" | "delete" if model.specs:
            child = chance.choice([*model.specs, "h"])
            verb = getattr(supervisor, f"{event}_child")
            assert granted(verb, child) is model.call(event, child)
            return f"{event} {child}"
        case "start":
            child, kind = chance.choice("abcdefg"), chance.choice(list(Restart))
            assert granted(supervisor.start_child, world.spec(child, kind)) is model.add(
                child, kind
            )
            return f"start {child} {kind}"
    return "nothing"


def granted(call, subject):
    try:
        call(subject)
    except SupervisionError:
        return False
    return True


def test_a_thousand_random_histories_agree_with_the_model():
    ends = [live(seed) for seed in range(1_000)]
    assert ends.count("escalated") > 200
    assert ends.count("lived") > 200


@pytest.mark.chaos
def test_ten_thousand_random_histories_agree_with_the_model():
    assert len([live(seed) for seed in range(1_000, 11_000)]) == 10_000
