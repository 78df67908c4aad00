"""The dispatcher: few greenlets, many actors; nobody waits for a blocked one, or for a busy one."""

from __future__ import annotations

import os
from itertools import pairwise

import gevent
from gevent.event import Event
from greenroom.actors.runtime.actor import GreenActor
from greenroom.actors.runtime.dispatcher import CHECK_EVERY, IDLE_WORKERS_MAX, Dispatcher
from greenroom.actors.runtime.future import GreenFuture
from greenroom.actors.runtime.hub import Hub
from greenroom.actors.runtime.originals import NativeEvent, start_thread
from pykka import ActorRegistry, get_all


class Echo(GreenActor):
    def on_receive(self, message):
        return message


class Waiter(GreenActor):
    def on_receive(self, event):
        event.wait(10)
        return True


class Flooder(GreenActor):
    """Sends itself a message for each one it gets, until it is told to end."""

    ended = False
    handled = 0

    def on_receive(self, message):
        self.handled += 1
        if message == "end":
            self.ended = True
        elif not self.ended:
            self.actor_ref.tell(message)


def test_a_blocked_handler_lets_all_others_run():
    event = Event()
    blocked = [Waiter.start() for _ in range(20)]
    waiting = [ref.ask(event, block=False) for ref in blocked]
    others = [Echo.start() for _ in range(20)]
    assert [ref.ask(n, timeout=10) for n, ref in enumerate(others)] == list(range(20))
    assert not any(future.done for future in waiting)
    event.set()
    assert get_all(waiting, timeout=10) == [True] * 20
    ActorRegistry.stop_all()


def test_an_actor_handles_one_message_at_a_time():
    class Nosy(GreenActor):
        inside = 0

        def on_receive(self, _message):
            self.inside += 1
            gevent.sleep(0)
            seen, self.inside = self.inside, self.inside - 1
            return seen

    ref = Nosy.start()
    answers = [ref.ask(n, block=False) for n in range(50)]
    assert get_all(answers, timeout=10) == [1] * 50
    ref.stop()


def test_workers_are_kept_up_to_a_limit(dispatcher):
    event = Event()
    count = IDLE_WORKERS_MAX + 10
    refs = [Waiter.start() for _ in range(count)]
    waiting = [ref.ask(event, block=False) for ref in refs]
    while dispatcher.runnable:
        gevent.sleep(0)
    assert dispatcher.busy == count
    event.set()
    assert get_all(waiting, timeout=10) == [True] * count
    gevent.sleep(0)
    assert dispatcher.busy == 0
    assert dispatcher.idle == IDLE_WORKERS_MAX
    assert len(dispatcher.inlet.greenlets) == IDLE_WORKERS_MAX
    ActorRegistry.stop_all()


def test_a_flooding_actor_does_not_keep_the_loop_from_files_and_timers():
    flooder = Flooder.start()
    other = Echo.start()
    flooder.tell("on")
    loop = gevent.get_hub().loop
    fired = Event()
    timer = loop.timer(0.001)
    timer.start(fired.set)
    assert fired.wait(10)
    read, write = os.pipe()
    watcher = loop.io(read, 1)
    readable = Event()
    watcher.start(readable.set)
    start_thread(lambda: os.write(write, b"x"), "writer")
    assert readable.wait(10)
    assert other.ask("me too", timeout=10) == "me too"
    flooder.ask("end", timeout=10)
    for close in (watcher.stop, watcher.close, timer.stop, timer.close):
        close()
    os.close(read)
    os.close(write)
    ActorRegistry.stop_all()


def test_slow_handlers_meet_the_budget_message_by_message(monkeypatch):
    """With a clock that runs 1 ms a look, a turn ends after two or three messages."""
    now = [0.0]

    def clock():
        now[0] += 0.001
        return now[0]

    monkeypatch.setattr("greenroom.actors.runtime.dispatcher.monotonic", clock)
    ref = Echo.start()
    polled = []
    prepare = gevent.get_hub().loop.prepare()
    prepare.start(lambda: polled.append(ref.actor_inbox.handled))
    for n in range(40):
        ref.tell(n)
    ref.ask("last")
    prepare.stop()
    prepare.close()
    steps = {b - a for a, b in pairwise(polled)}
    assert max(steps) <= 4
    ref.stop()


def test_a_long_mailbox_shares_the_turn():
    seen = []

    class Logger(GreenActor):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def on_receive(self, _message):
            seen.append(self.name)

    long, short = Logger.start("long"), Logger.start("short")
    for n in range(20 * CHECK_EVERY):
        long.tell(n)
    short.tell(1)
    long.ask("end", timeout=10)
    assert seen.index("short") <= 2 * CHECK_EVERY
    ActorRegistry.stop_all()


def test_ten_thousand_actors_come_and_go(dispatcher):
    letters = dispatcher.dead_letters.count
    refs = [Echo.start() for _ in range(10_000)]
    assert refs[-1].ask(1, timeout=30) == 1
    assert dispatcher.busy + dispatcher.idle <= IDLE_WORKERS_MAX
    assert len(ActorRegistry.get_all()) == len(dispatcher.cells) == 10_000
    for ref in refs:
        ref.tell("one each")
    stopping = [ref.stop(block=False) for ref in refs]
    assert get_all(stopping, timeout=30) == [True] * 10_000
    assert {ref.actor_inbox.handled for ref in refs[:-1]} == {2}
    assert not dispatcher.cells
    assert dispatcher.dead_letters.count == letters
    assert dispatcher.runnable == 0


def test_a_tell_from_a_foreign_thread_wakes_a_sleeping_hub(hub):
    class Setter(GreenActor):
        def on_receive(self, future):
            future.set("woken")

    ref = hub.call(Setter.start)
    future = GreenFuture()
    ref.tell(future)
    assert future.get(timeout=10) == "woken"
    ref.stop()


def test_the_order_of_each_sender_is_kept(hub):
    class Collector(GreenActor):
        def __init__(self):
            super().__init__()
            self.seen = {n: [] for n in range(8)}

        def on_receive(self, message):
            sender, serial = message
            self.seen[sender].append(serial)

    ref = hub.call(Collector.start)
    go = NativeEvent()

    def send(sender):
        go.wait(10)
        for serial in range(1000):
            ref.tell((sender, serial))

    threads = [start_thread(lambda n=n: send(n), f"sender-{n}") for n in range(8)]
    go.set()
    assert all(thread.join(30) for thread in threads)
    assert ref.proxy().seen.get(timeout=30) == {n: list(range(1000)) for n in range(8)}
    box = ref.actor_inbox
    assert box.accepted == box.handled == 8001
    ref.stop()


def test_two_threads_answer_each_other(hub):
    """Ask from here to there and from there to here, at once."""
    here, there = Echo.start(), hub.call(Echo.start)
    asking = hub.submit(lambda: [here.ask(n, timeout=10) for n in range(200)])
    assert [there.ask(n, timeout=10) for n in range(200)] == list(range(200))
    assert asking.get(timeout=10) == list(range(200))
    here.stop()
    there.stop()


def test_each_hub_has_a_dispatcher_of_its_own(hub, dispatcher):
    other = hub.call(Dispatcher.current)
    assert other is not dispatcher
    assert hub.call(Dispatcher.current) is other
    assert repr(dispatcher).startswith("<Dispatcher")


def test_the_kick_is_pending_while_a_handler_started_by_an_ask_blocks():
    """An asker lends its turn to the actor; who becomes runnable meanwhile runs all the same."""
    other = Echo.start()
    event = Event()

    class Busy(GreenActor):
        def on_receive(self, _message):
            answer = other.ask("inner", block=False)
            event.set()
            Event().wait(0)
            return answer.get(timeout=10)

    ref = Busy.start()
    ref.ask("warm")
    for _ in range(5):
        assert ref.ask("x") == "inner"
    assert gevent.spawn(ref.ask, "y").get(timeout=10) == "inner"
    ActorRegistry.stop_all()


def test_an_ask_loop_does_not_starve_timers():
    ref = Echo.start()
    loop = gevent.get_hub().loop
    fired = []
    timer = loop.timer(0.001)
    timer.start(fired.append, 1)
    for n in range(1_000_000):
        assert ref.ask(n) == n
        if fired:
            break
    assert fired
    timer.stop()
    timer.close()
    ref.stop()


def test_a_hub_that_closes_with_runnable_actors_leaves_none():
    hub = Hub.start()
    refs = [hub.call(Flooder.start) for _ in range(3)]
    for ref in refs:
        ref.tell("on")
    assert hub.close(timeout=10)
    assert not any(ref.is_alive() for ref in refs)
    for ref in refs:
        box = ref.actor_inbox
        assert box.accepted == box.handled + box.dead
        assert box.depth == 0


def test_asks_in_a_row_leave_the_loop_its_turn():
    class Quick(GreenActor):
        def on_receive(self, message):
            return message

    ref = Quick.start()
    fired = []
    timer = gevent.get_hub().loop.timer(0.005)
    timer.start(lambda: fired.append(ref.actor_inbox.handled))
    asked = 0
    while not fired and asked < 1_000_000:
        asked += ref.ask(1)
    timer.close()
    assert fired
    assert asked - fired[0] < 5_000
    ref.stop()


def test_an_answer_arrives_although_the_actor_blocks_right_after_it():
    gate = Event()

    class Slow(GreenActor):
        def on_receive(self, message):
            if message == "block":
                gate.wait(10)
            else:
                self.actor_ref.tell("block")
            return message

    ref = Slow.start()
    assert ref.ask("warm") == "warm"
    gate.set()
    assert ref.ask("again") == "again"
    gate.clear()
    assert ref.ask("answer") == "answer"
    assert ref.actor_inbox.worker is not None or ref.actor_inbox.depth == 1
    gate.set()
    ref.stop()


def test_an_asker_that_is_killed_while_its_turn_is_lent_is_not_woken():
    class Murderer(GreenActor):
        def on_receive(self, asker):
            asker.kill(block=False)
            return "answer"

    ref = Murderer.start()
    ref.ask(gevent.spawn(lambda: None))
    heard = []

    def ask():
        heard.append(ref.ask(gevent.getcurrent()))
        gevent.sleep(0)
        heard.append("never")

    asker = gevent.spawn(ask)
    asker.join(10)
    assert asker.dead
    assert "never" not in heard
    ref.stop()
