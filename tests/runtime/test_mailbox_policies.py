"""Full mailboxes by policy, postponed messages, kills: nothing is lost that was accepted."""

from __future__ import annotations

import time

import gevent
import pytest
from gevent.event import Event
from greenroom.actors.runtime.actor import GreenActor
from greenroom.actors.runtime.errors import MailboxFullError, MessageDroppedError
from greenroom.actors.runtime.future import GreenFuture
from greenroom.actors.runtime.hub import Hub
from greenroom.actors.runtime.life import ActorKilled
from greenroom.actors.runtime.mailbox import Lane, Mailbox, MailboxPolicy
from greenroom.actors.runtime.monitor import DownReason
from greenroom.actors.runtime.native import NativeEvent, start_thread
from greenroom.actors.testing.conservation import assert_conserved
from pykka import ActorDeadError
from pykka._envelope import Envelope

BOUND = 4
NEVER, POLL_S = Event(), 0.001
"""Waiting so leaves the interpreter to native threads; a busy hub starves them."""


class Gated(GreenActor):
    """Handles nothing until its gate is open."""

    mailbox_bound = BOUND

    def __init__(self):
        super().__init__()
        self.gate = Event()
        self.got = []

    def on_receive(self, message):
        self.gate.wait()
        if isinstance(message, tuple):
            message[0].tell(message)
        self.got.append(message)
        return message


class Blocking(Gated):
    mailbox_policy = MailboxPolicy.BLOCK


class Dropping(Gated):
    mailbox_policy = MailboxPolicy.DROP_OLDEST


@pytest.fixture
def started():
    refs = []

    def start(actor_class):
        refs.append(actor_class.start())
        actor = refs[-1]._actor_weakref()
        refs[-1].tell("first")
        gevent.sleep(0)  # it is in the handler now, at the gate
        return refs[-1], actor

    yield start
    for ref in refs:
        ref.kill()
        assert_conserved(ref)
    gevent.sleep(0)


def settle():
    for _ in range(4):
        gevent.sleep(0)


def fill(ref):
    for n in range(BOUND):
        ref.tell(n)


def test_blocked_greenlets_wait_in_line_and_get_their_places_in_order(started):
    ref, actor = started(Blocking)
    fill(ref)
    senders = [gevent.spawn(ref.tell, f"late {n}") for n in range(10)]
    settle()
    cell = ref.actor_inbox
    assert (cell.blocked, cell.depth, cell.accepted) == (10, BOUND, BOUND + 1)
    actor.gate.set()
    gevent.joinall(senders, timeout=10, raise_error=True)
    assert ref.ask("last") == "last"
    assert actor.got == ["first", *range(BOUND), *(f"late {n}" for n in range(10)), "last"]
    assert cell.high_water <= BOUND


def test_blocked_threads_wait_too(started):
    ref, actor = started(Blocking)
    fill(ref)
    threads = [start_thread(lambda n=n: ref.tell(f"thread {n}"), "sender") for n in range(3)]
    while ref.actor_inbox.blocked < 3:
        NEVER.wait(POLL_S)
    actor.gate.set()
    while ref.actor_inbox.handled < BOUND + 4:
        NEVER.wait(POLL_S)
    assert all(thread.join(10) for thread in threads)
    assert {m for m in actor.got if str(m).startswith("thread")} == {
        "thread 0",
        "thread 1",
        "thread 2",
    }


def test_a_sender_that_gives_up_leaves_nothing_behind(started):
    ref, actor = started(Blocking)
    fill(ref)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        ref.tell("never sent")
    killed = gevent.spawn(ref.tell, "never sent")
    settle()
    killed.kill()
    assert ref.actor_inbox.blocked == 0
    actor.gate.set()
    assert ref.ask("last") == "last"
    assert "never sent" not in actor.got


def test_blocked_senders_hear_of_the_end_and_their_messages_were_not_accepted(started):
    ref, _ = started(Blocking)
    fill(ref)
    heard = []

    def dies(send):
        with pytest.raises(ActorDeadError):
            send("late")
        heard.append(send)

    told, asked = gevent.spawn(dies, ref.tell), gevent.spawn(dies, ref.ask)
    thread = start_thread(lambda: dies(ref.tell), "sender")
    while ref.actor_inbox.blocked < 3:
        NEVER.wait(POLL_S)
    ref.kill()
    gevent.joinall([told, asked], timeout=10, raise_error=True)
    while len(heard) < 3:
        NEVER.wait(POLL_S)
    assert thread.join(10)
    assert ref.actor_inbox.accepted == BOUND + 1
    with pytest.raises(ActorDeadError):
        ref.tell("later")


def test_a_thread_that_asks_a_dead_blocking_actor_is_told(started):
    ref, _ = started(Blocking)
    cell = ref.actor_inbox
    ref.kill()
    heard = []

    def offer():
        try:
            cell.offer("x", None, Lane.WORK)
        except Exception as error:
            heard.append(error)

    start_thread(offer, "late")
    while not heard:
        NEVER.wait(POLL_S)


def test_who_would_wait_for_himself_is_refused_instead(started):
    ref, actor = started(Blocking)
    fill(ref)
    refused: GreenFuture = GreenFuture()

    def from_the_loop():
        try:
            ref.tell("from the loop")
        except MailboxFullError as error:
            refused.set(error)

    gevent.get_hub().loop.run_callback(from_the_loop)
    assert refused.get(timeout=10).actor_urn == ref.actor_urn
    ref.actor_inbox.release_postponed()
    actor.got.append(None)
    refs = []

    class Chatty(Blocking):
        mailbox_bound = 1

        def on_receive(self, message):
            refs.append(message)
            self.actor_ref.tell(message)
            self.actor_ref.tell(message)

    chatty = Chatty.start()
    chatty.tell("talks to itself")
    assert chatty.actor_stopped.wait(10)
    assert isinstance(chatty.actor_inbox.error, MailboxFullError)


def test_control_and_exempt_messages_pass_a_line_of_blocked_senders(started):
    ref, actor = started(Blocking)
    fill(ref)
    sender = gevent.spawn(ref.tell, "blocked")
    settle()
    ref.tell("exempt", lane=Lane.EXEMPT)
    ref.tell("control", lane=Lane.CONTROL)
    actor.gate.set()
    sender.join(10)
    ref.ask("last")
    assert actor.got.index("control") == 1
    assert actor.got.index("exempt") < actor.got.index("blocked")


def test_the_oldest_work_is_dropped_and_is_a_dead_letter(started, dispatcher):
    ref, actor = started(Dropping)
    letters = []
    cancel = dispatcher.dead_letters.subscribe(letters.append)
    asked = ref.ask("oldest", block=False)
    fill(ref)
    ref.tell("exempt", lane=Lane.EXEMPT)
    ref.tell("newest")
    cancel()
    with pytest.raises(MessageDroppedError):
        asked.get(timeout=10)
    assert [(dead.message, dead.asked) for dead in letters] == [("oldest", True), (0, False)]
    actor.gate.set()
    assert ref.ask("last") == "last"
    assert actor.got == ["first", 2, 3, "exempt", "newest", "last"]


def test_what_is_exempt_is_not_dropped_even_if_there_is_nothing_else(started):
    ref, _ = started(Dropping)
    cell = ref.actor_inbox
    for n in range(BOUND):
        ref.tell(n, lane=Lane.EXEMPT)
    assert not cell._drop_oldest()
    fill(ref)
    ref.tell("newest")
    assert cell.depth == 2 * BOUND


def test_threads_drop_the_oldest_in_the_hub_and_are_refused_only_when_it_hangs():
    with Hub.start("dropping") as hub:
        ref = hub.call(Dropping.start)
        actor = ref._actor_weakref()
        for n in range(20):
            ref.tell(n)
            hub.call(gevent.sleep, 0)
        cell = ref.actor_inbox
        assert (cell.depth, cell.dead) == (BOUND, 15)
        hung, over = NativeEvent(), NativeEvent()
        hub.post(lambda: hung.set() or over.wait(10))
        assert hung.wait(10)
        for n in range(BOUND):
            ref.tell(f"posted {n}")
        with pytest.raises(MailboxFullError):
            ref.tell("too many")
        over.set()
        hub.call(actor.gate.set)
        ref.ask("last")
        assert actor.got[-1] == "last"
        assert {f"posted {n}" for n in range(1, BOUND)} < set(actor.got)
        ref.stop()


def test_a_bare_mailbox_drops_too(dispatcher):
    box = Mailbox(dispatcher.inlet, 2, MailboxPolicy.DROP_OLDEST)
    answer: GreenFuture = GreenFuture()
    box.put(Envelope("asked", answer))
    for n in range(3):
        box.put(Envelope(n))
    with pytest.raises(MessageDroppedError):
        answer.get(timeout=1)
    assert [box.take().message, box.take().message] == [1, 2]
    assert box.take() is None
    assert_conserved(box)


class Machine(GreenActor):
    """Opens, works and closes; what does not fit its state waits."""

    mailbox_bound = 100

    def __init__(self):
        super().__init__()
        self.open = False
        self.done = []

    def on_receive(self, message):
        match message, self.open:
            case (("open" | "close"), is_open) if is_open is (message == "open"):
                self.postpone()
            case "open" | "close", _:
                self.open = message == "open"
                self.done.append(message)
                self.release_postponed()
            case _, False:
                self.postpone()
            case _:
                self.done.append(message)
        return message

    def method(self):
        if not self.open:
            self.postpone()
        return "method"


def test_postponed_messages_come_back_in_order_before_all_other_work():
    ref = Machine.start()
    for message in ("a", "b"):
        ref.tell(message)
    asked = ref.ask("asked", block=False)
    called = ref.proxy().method()
    ref.tell("exempt", lane=Lane.EXEMPT)
    settle()
    cell = ref.actor_inbox
    assert (cell.postponed, cell.depth, cell.handled) == (5, 5, 0)
    assert not asked.done
    ref.tell("open")
    ref.tell("after")
    assert ref.ask("last") == "last"
    assert asked.get(timeout=1) == "asked"
    assert called.get(timeout=1) == "method"
    done = ref._actor_weakref().done
    assert done == ["open", "a", "b", "asked", "exempt", "after", "last"]
    assert_conserved(ref)
    ref.stop()


def test_postponed_messages_count_against_the_bound_and_die_with_their_actor(dispatcher):
    ref = Machine.start()
    asked = ref.ask("asked", block=False)
    for n in range(99):
        ref.tell(n)
    settle()
    with pytest.raises(MailboxFullError):
        ref.tell("one too many")
    dead = dispatcher.dead_letters.count
    ref.stop()
    assert dispatcher.dead_letters.count == dead + 100
    with pytest.raises(ActorDeadError):
        asked.get(timeout=1)
    assert_conserved(ref)


def test_releasing_from_outside_a_handler_wakes_the_actor():
    ref = Machine.start()
    ref.tell("waits")
    settle()
    actor = ref._actor_weakref()
    actor.open = True
    actor.release_postponed()
    actor.release_postponed()
    settle()
    assert actor.done == ["waits"]
    ref.stop()


def test_a_kill_ends_a_blocked_handler_and_answers_everybody(started, dispatcher):
    ref, actor = started(Gated)
    fill(ref)
    asked = ref.ask("control", block=False, lane=Lane.CONTROL)
    downs = []
    ref.monitor(downs.append)
    why = ValueError("why")
    ref.kill(why)
    ref.kill()
    assert not ref.is_alive()
    settle()
    assert [(down.reason, down.error) for down in downs] == [(DownReason.KILLED, why)]
    assert ref.actor_inbox.worker is None
    assert actor.got == []
    with pytest.raises(ActorDeadError):
        asked.get(timeout=1)


@pytest.mark.parametrize("where", ["on_start", "on_stop", "ask"])
def test_a_kill_reaches_every_callback(where):
    unwound = []

    class Stuck(GreenActor):
        def wait(self, at):
            if at == where:
                try:
                    Event().wait()
                except BaseException as error:
                    unwound.append(type(error))
                    raise

        def on_start(self):
            self.wait("on_start")

        def on_stop(self):
            self.wait("on_stop")

        def on_receive(self, message):
            self.wait("ask")

    ref = Stuck.start()
    asked = ref.ask("x", block=False)
    stopped = ref.stop(block=False)
    settle()
    ref.kill()
    settle()
    assert unwound == [ActorKilled]
    assert stopped.done
    assert asked.done
    assert ref.actor_inbox.reason is DownReason.KILLED
    assert_conserved(ref)


def test_an_actor_that_kills_itself_goes_on_to_its_next_wait():
    steps = []

    class Suicidal(GreenActor):
        def on_receive(self, message):
            self.actor_ref.kill()
            steps.append("after the kill")
            Event().wait()
            steps.append("never")

    ref = Suicidal.start()
    ref.tell("x")
    settle()
    assert steps == ["after the kill"]
    assert ref.actor_inbox.worker is None


def test_postponing_after_being_killed_is_no_postponing():
    class Late(GreenActor):
        def on_receive(self, message):
            self.actor_ref.kill()
            self.postpone()

    ref = Late.start()
    asked = ref.ask("x", block=False)
    settle()
    assert asked.done
    assert_conserved(ref)


def test_kills_come_from_threads_and_reach_closed_hubs():
    hub = Hub.start("killed")
    ref = hub.call(Gated.start)
    ref.kill()
    assert ref.actor_stopped.wait(10)
    assert ref.actor_inbox.reason is DownReason.KILLED
    hub.close()
    ref.kill()


def overload(seconds):
    """Offer ten times what the actor takes; measure how long a control message needs."""

    class Slow(GreenActor):
        mailbox_bound = 1000

        def on_receive(self, message):
            return message

    ref = Slow.start()
    refused, waits = 0, []
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        for n in range(10_000):
            try:
                ref.tell(n)
            except MailboxFullError:
                refused += 1
        begun = time.monotonic()
        ref.ask("control", lane=Lane.CONTROL)
        waits.append(time.monotonic() - begun)
        assert ref.actor_inbox.high_water <= 1001
    ref.stop()
    assert_conserved(ref)
    return refused, sorted(waits)


def test_an_overloaded_mailbox_refuses_and_lets_control_through():
    refused, waits = overload(0.3)
    assert refused > 1000
    assert waits


@pytest.mark.chaos
def test_an_overloaded_mailbox_for_a_minute_control_within_50_ms():
    import resource

    overload(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused, waits = overload(60)
    assert refused > 1_000_000
    assert waits[int(len(waits) * 0.99)] <= 0.05
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss <= before * 1.1
