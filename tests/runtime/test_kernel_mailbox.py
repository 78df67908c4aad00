"""Mailboxes: two lanes, a bound, and a law: accepted = handled + dead + waiting."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event
from greenroom.actors.runtime.actor import GreenActor
from greenroom.actors.runtime.deadletters import DEAD_LETTERS_KEPT
from greenroom.actors.runtime.errors import HubClosedError, MailboxFullError
from greenroom.actors.runtime.future import GreenFuture
from greenroom.actors.runtime.inlet import Inlet
from greenroom.actors.runtime.mailbox import Lane, Mailbox
from greenroom.actors.runtime.native import NativeEvent
from greenroom.actors.runtime.originals import start_thread
from hypothesis import given, settings
from hypothesis import strategies as st
from pykka import ActorDeadError
from pykka._envelope import Envelope


def mailbox(bound=None):
    return Mailbox(Inlet.of(gevent.get_hub()), bound)


def drain(box):
    return [envelope.message for envelope in iter(box.take, None)]


def test_it_is_an_inbox_to_pykka():
    box = mailbox()
    assert box.empty()
    future = GreenFuture()
    box.put(Envelope("a", future))
    box.put(Envelope(None))
    assert (box.qsize(), box.empty()) == (2, False)
    first = box.get()
    assert (first.message, first.reply_to) == ("a", future)
    assert box.get().message is None
    assert box.take() is None


def test_get_waits():
    box = mailbox()
    reader = gevent.spawn(lambda: [box.get().message for _ in range(3)])
    gevent.sleep(0)
    box.put(Envelope(1))
    gevent.sleep(0)
    box.put(Envelope(2))
    box.put(Envelope(3))
    assert reader.get(timeout=10) == [1, 2, 3]


def test_control_comes_before_work_in_order_each():
    box = mailbox(bound=9)
    for n in range(3):
        box.put(Envelope(("work", n)))
        box.put(Envelope(("exempt", n)), Lane.EXEMPT)
        box.put(Envelope(("control", n)), Lane.CONTROL)
    assert drain(box) == [
        *(("control", n) for n in range(3)),
        *((lane, n) for n in range(3) for lane in ("work", "exempt")),
    ]


def test_a_full_lane_refuses_at_the_sender_and_loses_nothing():
    box = mailbox(bound=3)
    for n in range(3):
        box.put(Envelope(n))
    with pytest.raises(MailboxFullError) as caught:
        box.put(Envelope("refused"))
    assert caught.value.depth_max == 3
    box.put(Envelope("exempt"), Lane.EXEMPT)
    box.put(Envelope("control"), Lane.CONTROL)
    assert box.high_water == box.depth == 5
    assert box.take().message == "control"
    assert box.take().message == 0
    box.put(Envelope("room again"))
    with pytest.raises(MailboxFullError):
        box.put(Envelope("refused"))
    assert drain(box) == [1, 2, "exempt", "room again"]
    assert (box.accepted, box.handled, box.dead) == (6, 6, 0)


def test_a_foreign_sender_meets_the_bound_too():
    box = mailbox(bound=3)
    refused = []

    def send():
        for n in range(10):
            try:
                box.put(Envelope(n))
            except MailboxFullError:
                refused.append(n)

    thread = start_thread(send, "sender")
    assert thread.join(10)  # while the hub has not looked yet
    assert refused == [3, 4, 5, 6, 7, 8, 9]
    with pytest.raises(MailboxFullError):
        box.put(Envelope("no room here either"))
    gevent.sleep(0)
    assert drain(box) == [0, 1, 2]
    assert box.accepted == box.handled == 3


def test_many_foreign_senders_never_pass_the_bound():
    box = mailbox(bound=50)
    accepted = []

    def send():
        for n in range(200):
            try:
                box.put(Envelope(n))
            except MailboxFullError:
                continue
            accepted.append(n)

    threads = [start_thread(send, "sender") for _ in range(4)]
    assert all(thread.join(10) for thread in threads)
    gevent.sleep(0)
    assert len(accepted) == box.depth == box.high_water <= 50
    assert box.depth > 40


def test_a_reserved_place_is_not_lost_to_somebody_who_tries_meanwhile():
    box = mailbox(bound=1)
    assert start_thread(lambda: box.put(Envelope("in time")), "sender").join(10)
    box._gate.posted.append(None)  # another thread, between taking a place and giving it back
    gevent.sleep(0)
    assert drain(box) == ["in time"]


def test_exempt_messages_leave_no_room_behind():
    box = mailbox(bound=1)
    box.put(Envelope("exempt"), Lane.EXEMPT)
    assert drain(box) == ["exempt"]
    box.put(Envelope("work"))
    with pytest.raises(MailboxFullError):
        box.put(Envelope("refused"))
    ref = Bounded.start()
    ref.tell("exempt", lane=Lane.EXEMPT)
    ref.ask("control", lane=Lane.CONTROL)
    ref.ask("both are handled")
    for n in range(4):
        ref.tell(n)
    with pytest.raises(MailboxFullError):
        ref.tell("refused")
    ref.stop()


def test_a_closed_mailbox_refuses_with_an_answer():
    box = mailbox()
    box.close()
    future = GreenFuture()
    box.put(Envelope("late", future))
    with pytest.raises(HubClosedError):
        future.get(timeout=0)
    assert (box.accepted, box.dead, box.depth) == (1, 1, 0)


class Recorder(GreenActor):
    def __init__(self, gate=None):
        super().__init__()
        self.seen = []
        self.gate = gate

    def on_start(self):
        if self.gate is not None:
            self.gate.wait(10)

    def on_receive(self, message):
        if isinstance(message, Exception):
            raise message
        self.seen.append(message)
        return message


class Bounded(Recorder):
    mailbox_bound = 4


def test_an_actor_s_bound():
    gate = Event()
    ref = Bounded.start(gate)
    futures = [ref.ask(n, block=False) for n in range(2)]
    ref.tell(2)
    ref.tell(3)
    for send in (ref.tell, ref.ask):
        with pytest.raises(MailboxFullError) as caught:
            send("refused")
        assert caught.value.actor_urn == ref.actor_urn
        assert caught.value.depth_max == 4
        assert ref.actor_urn in str(caught.value)
    ref.tell("control", lane=Lane.CONTROL)
    ref.tell("exempt", lane=Lane.EXEMPT)
    stopping = ref.stop(block=False)  # a stop is never refused
    actor = ref._actor_weakref()
    gate.set()
    assert stopping.get(timeout=10) is True
    assert [future.get() for future in futures] == [0, 1]
    assert actor.seen == ["control", 0, 1, 2, 3, "exempt"]
    box = ref.actor_inbox
    assert (box.accepted, box.handled, box.dead) == (7, 7, 0)
    assert box.high_water == 7


def test_an_overloaded_actor_s_memory_is_flat_and_control_gets_through(hub):
    """Ten times more than it can take, from a foreign thread."""
    gate = NativeEvent()
    ref = hub.call(Bounded.start)
    hub.post(gate.wait, 10)
    refused = 0
    for n in range(40):
        try:
            ref.tell(n)
        except MailboxFullError:
            refused += 1
    assert refused == 36
    stopping = ref.stop(block=False, lane=Lane.CONTROL)
    gate.set()
    assert stopping.get(timeout=10) is True
    box = ref.actor_inbox
    assert box.high_water <= 5
    assert (box.accepted, box.handled, box.dead) == (5, 1, 4)


def test_the_high_water_of_an_unbounded_mailbox():
    ref = Recorder.start()
    for n in range(20):
        ref.tell(n)
    ref.ask("all seen")
    assert ref.actor_inbox.high_water == 21
    ref.stop()


def test_dead_letters_are_counted_kept_and_told(dispatcher):
    letters = dispatcher.dead_letters
    told = []
    cancel = letters.subscribe(told.append)
    broken = letters.subscribe(lambda letter: 1 / 0)  # logged
    before = letters.count
    ref = Recorder.start()
    ref.tell(ValueError("poison"))
    count = DEAD_LETTERS_KEPT + 10
    for n in range(count - 1):
        ref.tell(n)
    asked = ref.ask("asked", block=False)
    with pytest.raises(ActorDeadError):
        asked.get(timeout=10)
    assert letters.count - before == count
    assert len(letters.recent) == DEAD_LETTERS_KEPT
    assert [letter.message for letter in told] == [*range(count - 1), "asked"]
    assert [letter.asked for letter in told] == [False] * (count - 1) + [True]
    assert told[0].ref == ref
    cancel()
    broken()
    other = Recorder.start()
    other.tell(ValueError("poison"))
    other.tell("unheard")
    assert other.actor_stopped.wait(10)
    assert letters.count - before == count + 1
    assert len(told) == count


SENDS = st.sampled_from(["tell", "ask", "control", "exempt", "foreign", "poison", "stop", "yield"])


@settings(max_examples=150, deadline=None)
@given(sends=st.lists(SENDS, max_size=40), bound=st.sampled_from([None, 1, 4]))
def test_nothing_vanishes(sends, bound):
    """Whatever is sent, in whatever order: each accepted message is handled or a dead letter."""

    class Actor(Recorder):
        mailbox_bound = bound

    ref = Actor.start()
    actor = ref._actor_weakref()
    letters = []
    cancel = ref.actor_inbox.dispatcher.dead_letters.subscribe(letters.append)
    answers, accepted = [], []

    def tell(message, lane=Lane.WORK):
        try:
            ref.tell(message, lane=lane)
        except (MailboxFullError, ActorDeadError):
            return
        accepted.append(message)

    def ask(message, lane=Lane.WORK):
        try:
            answers.append((message, ref.ask(message, block=False, lane=lane)))
        except MailboxFullError:
            return
        if not answers[-1][1].done:
            accepted.append(message)

    for serial, send in enumerate(sends, 1):
        match send:
            case "tell":
                tell(serial)
            case "ask":
                ask(serial)
            case "control":
                ask(serial, Lane.CONTROL)
            case "exempt":
                tell(serial, Lane.EXEMPT)
            case "foreign":
                assert start_thread(lambda n=serial: tell(n), "sender").join(10)
            case "poison":
                tell(ValueError(serial))
            case "stop":
                ref.stop(block=False)
            case "yield":
                gevent.sleep(0)
    ref.stop()
    cancel()

    box = ref.actor_inbox
    poisons = [m for m in accepted if isinstance(m, ValueError)]
    lost = [letter.message for letter in letters]
    handled_poisons = [m for m in poisons if m not in lost]
    assert sorted(map(str, actor.seen + lost + handled_poisons)) == sorted(map(str, accepted))
    assert len(handled_poisons) <= 1
    assert box.accepted == box.handled + box.dead
    assert box.dead == len(lost)
    assert box.depth == 0
    assert box.high_water <= len(sends) + 1
    for message, future in answers:
        try:
            assert future.get(timeout=10) == message
            assert message in actor.seen
        except ActorDeadError:
            assert message not in actor.seen
    work = [m for m in actor.seen if sends[m - 1] in ("tell", "ask", "exempt")]
    assert work == sorted(work)
