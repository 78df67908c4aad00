"""Whatever a callback raises ends its own actor at most; all others live and are told (K1-K5)."""

from __future__ import annotations

import logging

import gevent
import pytest
from gevent.event import Event
from greenlet import GreenletExit
from greenroom.actors.runtime import cell
from greenroom.actors.runtime.actor import GreenActor
from greenroom.actors.runtime.dispatcher import Dispatcher
from greenroom.actors.runtime.future import GreenFuture
from greenroom.actors.runtime.hub import Hub
from greenroom.actors.runtime.monitor import Down, DownReason
from pykka import ActorDeadError, ActorRegistry, Timeout
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

SIBLINGS = 99
ERRORS = (
    ValueError,
    GreenletExit,
    gevent.Timeout,
    SystemExit,
    KeyboardInterrupt,
    MemoryError,
    RecursionError,
)
BREAKS = ("on_start", "on_receive", "on_stop", "on_failure", "method", "attribute")
MESSAGES = {
    "on_start": "any",
    "on_receive": "boom",
    "on_stop": _ActorStop(),
    "on_failure": "boom",
    "method": ProxyCall(("method",), (), {}),
    "attribute": ProxyGetAttr(("attribute",)),
}


class Sibling(GreenActor):
    def on_receive(self, message):
        return message


class Victim(GreenActor):
    crash_on_ask_error = True

    def __init__(self, breaks: str, error: type[BaseException]) -> None:
        super().__init__()
        self.breaks = breaks
        self.error = error
        self.failures = 0

    def fail(self, *places: str) -> None:
        if self.breaks in places:
            if self.error is RecursionError:
                self.fail_deeply()
            raise self.error

    def fail_deeply(self) -> None:
        self.fail_deeply()

    def on_start(self):
        self.fail("on_start")

    def on_stop(self):
        self.fail("on_stop")

    def on_failure(self, *_):
        self.failures += 1
        self.fail("on_failure")

    def on_receive(self, message):
        if message == "boom":
            self.fail("on_receive", "on_failure")

    def method(self):
        self.fail("method")

    @property
    def attribute(self):
        self.fail("attribute")


def outcome_of(future):
    try:
        return future.get(timeout=10)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("by", ["tell", "ask"])
@pytest.mark.parametrize("breaks", BREAKS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.__name__)
def test_only_the_actor_itself_dies(error, breaks, by, dispatcher):
    siblings = [Sibling.start() for _ in range(SIBLINGS)]
    downs: list[Down] = []
    dead_before = dispatcher.dead_letters.count
    victim = Victim.start(breaks, error)
    actor = victim._actor_weakref()
    victim.monitor(downs.append)
    if by == "ask":
        answer = victim.ask(MESSAGES[breaks], block=False)
    else:
        victim.tell(MESSAGES[breaks])
    victim.tell("left behind")
    left = victim.ask("left behind", block=False)

    assert outcome_of(left) is ActorDeadError
    if by == "ask":
        ordinary = issubclass(error, Exception) and breaks != "on_start"
        expected = {"on_stop": None}.get(breaks, error if ordinary else ActorDeadError)
        assert outcome_of(answer) is expected
    assert victim.actor_stopped.wait(10)
    gevent.sleep(0)
    assert [(down.ref, down.reason) for down in downs] == [(victim, DownReason.CRASHED)]
    assert isinstance(downs[0].error, error)
    assert actor.failures == (breaks not in ("on_start", "on_stop"))

    letters = dispatcher.dead_letters.recent[dead_before - dispatcher.dead_letters.count :]
    box = victim.actor_inbox
    assert [letter.message for letter in letters].count("left behind") == 2
    assert box.accepted == box.handled + box.dead
    assert box.depth == 0

    assert set(ActorRegistry.get_all()) == set(siblings)
    assert [sibling.ask(n) for n, sibling in enumerate(siblings)] == list(range(SIBLINGS))
    assert all(ActorRegistry.stop_all())


class Fussy(GreenActor):
    reply_errors = (LookupError,)

    def on_receive(self, message):
        raise message


class FussyAndFragile(Fussy):
    crash_on_ask_error = True


def test_an_error_of_an_ask_is_the_askers_as_in_pykka():
    ref = Fussy.start()
    for error in (ValueError("a"), KeyError("b")):
        with pytest.raises(type(error)) as caught:
            ref.ask(error)
        assert caught.value is error
    with pytest.raises(AttributeError):
        ref.ask(ProxySetAttr(("no", "such"), 1))
    assert ref.is_alive()
    ref.stop()


def test_crash_on_ask_error_spares_declared_answers():
    ref = FussyAndFragile.start()
    with pytest.raises(KeyError):
        ref.ask(KeyError("declared"))
    assert ref.is_alive()
    with pytest.raises(ValueError, match="not declared"):
        ref.ask(ValueError("not declared"))
    assert not ref.is_alive()
    assert isinstance(ref.actor_inbox.error, ValueError)


def test_an_exit_in_an_answer_is_told_with_its_cause():
    ref = Fussy.start()
    with pytest.raises(ActorDeadError) as caught:
        ref.ask(SystemExit(3))
    assert isinstance(caught.value.__cause__, SystemExit)
    assert not ref.is_alive()


def test_an_actor_that_asks_a_dying_one_lives():
    victim = Fussy.start()

    class Asker(GreenActor):
        def on_receive(self, message):
            try:
                return victim.ask(message)
            except ActorDeadError:
                return "it died"

    asker = Asker.start()
    assert asker.ask(GreenletExit()) == "it died"
    assert asker.is_alive()
    asker.stop()


class Blocker(GreenActor):
    """Blocks in the callback it is told to, and says in which greenlet."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.entered = Event()
        self.greenlet = None

    def block(self, where: str) -> None:
        if where == self.where:
            self.greenlet = gevent.getcurrent()
            self.entered.set()
            Event().wait()

    def on_start(self):
        self.block("on_start")

    def on_receive(self, message):
        if message == "boom":
            raise ValueError
        self.block("on_receive")

    def on_stop(self):
        self.block("on_stop")

    def on_failure(self, *_):
        self.block("on_failure")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("on_start", "x"),
        ("on_receive", "x"),
        ("on_stop", _ActorStop()),
        ("on_failure", "boom"),
    ],
)
def test_killing_the_greenlet_of_a_callback_leaves_no_zombie(where, message, dispatcher):
    ref = Blocker.start(where)
    actor = ref._actor_weakref()
    downs = []
    ref.monitor(downs.append)
    ref.tell(message)
    left = ref.ask("left", block=False)
    assert actor.entered.wait(10)
    gevent.kill(actor.greenlet)
    assert outcome_of(left) is ActorDeadError
    assert ref.actor_stopped.wait(10)
    gevent.sleep(0)
    assert len(downs) == 1
    assert ActorRegistry.get_all() == []
    assert ref not in {cell.ref for cell in dispatcher.cells}
    assert Sibling.start().stop()


def test_killing_an_idle_worker_stops_nobody(dispatcher):
    class Leaky(GreenActor):
        def on_receive(self, _message):
            return gevent.getcurrent()

    ref = Leaky.start()
    for error in (GreenletExit, gevent.Timeout, ValueError):
        worker = ref.ask("who")
        gevent.kill(worker, error)
        gevent.sleep(0)
        assert worker.dead
        assert ref.ask("who") is not worker
    assert dispatcher.busy == 0
    ref.stop()


def test_a_stray_switch_into_an_idle_worker_stops_nobody(dispatcher):
    class Leaky(GreenActor):
        def on_receive(self, _message):
            return gevent.getcurrent()

    ref = Leaky.start()
    worker = ref.ask("who")
    idle = dispatcher.idle
    gevent.get_hub().loop.run_callback(worker.switch)
    gevent.sleep(0)
    assert dispatcher.idle == idle
    assert ref.ask("who") is worker
    ref.stop()


def test_an_asker_who_answers_himself_hurts_nobody():
    ref = Sibling.start()
    future = ref.ask("x", block=False)
    future.set("mine")
    assert ref.ask("y") == "y"
    assert future.get() == "mine"
    ref.stop()


@pytest.mark.parametrize("everything", [False, True])
def test_a_logger_that_fails_does_not_stop_an_end(monkeypatch, everything):
    def fail(*_args, **_kwargs):
        raise SystemExit

    monkeypatch.setattr(cell.logger, "error", fail)
    if everything:
        monkeypatch.setattr(logging.getLogger(cell.__name__), "error", fail)
    ref = Fussy.start()
    downs = []
    ref.monitor(downs.append)
    ref.tell(ValueError())
    left = ref.ask("left", block=False)
    assert outcome_of(left) is ActorDeadError
    assert ActorRegistry.get_all() == []
    gevent.sleep(0)
    assert [down.reason for down in downs] == [DownReason.CRASHED]
    assert Sibling.start().stop()


def test_an_actor_ends_once():
    class Quitter(GreenActor):
        def on_receive(self, message):
            self.actor_stopped.set()
            raise ValueError(message)

    ref = Quitter.start()
    downs = []
    ref.monitor(downs.append)
    with pytest.raises(ValueError, match="after the end"):
        ref.ask("after the end")
    ref.actor_stopped.set()
    gevent.sleep(0)
    assert [(down.reason, down.error) for down in downs] == [(DownReason.STOPPED, None)]
    crashed = Fussy.start()
    crashed.tell(ValueError())
    assert crashed.actor_stopped.wait(10)
    crashed.actor_stopped.set()
    assert crashed.actor_inbox.reason is DownReason.CRASHED


@pytest.mark.parametrize("known", [True, False])
def test_monitors_hear_of_an_end_once_before_and_after_it(known):
    ref = Sibling.start()
    downs = []
    if known:
        ref.monitor(downs.append)
        cancelled = ref.monitor(downs.append)
        cancelled.cancel()
        cancelled.cancel()
        ref.monitor(lambda down: 1 / 0)  # logged
    ref.stop()
    if not known:
        late = ref.monitor(downs.append)
        assert downs == []  # in the hub, not here
    gevent.sleep(0)
    assert downs == [Down(ref, DownReason.STOPPED, None)]
    if not known:
        late.cancel()


def test_a_cancelled_monitor_is_forgotten(hub):
    for ref in (Sibling.start(), hub.call(Sibling.start)):
        ref.monitor(print).cancel()
        ref.ask("the hub has seen it")
        assert not ref.actor_inbox._monitors
        ref.stop()


def test_monitors_of_other_threads(hub):
    ref = hub.call(Sibling.start)
    told = GreenFuture()
    ref.monitor(lambda down: told.set((down.reason, hub.is_current())))
    ref.stop()
    assert told.get(timeout=10) == (DownReason.STOPPED, True)
    late = GreenFuture()
    ref.monitor(late.set)
    assert late.get(timeout=10).reason is DownReason.STOPPED


def test_closing_a_hub_ends_its_actors_and_tells():
    hub = Hub.start()
    idle, blocked = hub.call(Sibling.start), hub.call(Blocker.start, "on_receive")
    actor = blocked._actor_weakref()
    downs = []
    for ref in (idle, blocked):
        ref.monitor(downs.append)
    asked, left = (blocked.ask(n, block=False) for n in range(2))
    entered = hub.submit(actor.entered.wait, 10)
    assert entered.get(timeout=10)
    assert hub.close(timeout=10)
    assert {down.ref for down in downs} == {idle, blocked}
    assert {down.reason for down in downs} == {DownReason.HUB_CLOSED}
    assert len(downs) == 2
    for future in (asked, left):
        assert outcome_of(future) is ActorDeadError
    for ref in (idle, blocked):
        with pytest.raises(ActorDeadError):
            ref.tell(1)
        assert outcome_of(ref.ask(1, block=False)) is ActorDeadError
        late = []
        ref.monitor(late.append).cancel()
        assert [down.reason for down in late] == [DownReason.HUB_CLOSED]


def test_a_message_that_arrives_while_an_actor_ends_is_a_dead_letter(dispatcher):
    ref = Blocker.start("on_stop")
    actor = ref._actor_weakref()
    stopping = ref.stop(block=False)
    assert actor.entered.wait(10)
    assert not ref.is_alive()
    ref.actor_inbox.offer("posted before, delivered now", None, 1)
    assert dispatcher.dead_letters.recent[-1].message == "posted before, delivered now"
    with pytest.raises(Timeout):
        stopping.get(timeout=0)
    gevent.kill(actor.greenlet)
    assert stopping.get(timeout=10) is True


def test_dispatchers_are_found_on_their_hub(dispatcher):
    assert Dispatcher.of(gevent.get_hub()) is dispatcher
