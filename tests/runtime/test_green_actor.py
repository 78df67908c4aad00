"""GreenActor behaves as a Pykka actor does, and starts with an acknowledgement."""

from __future__ import annotations

import uuid

import gevent
import pykka
import pytest
from gevent.event import Event
from greenroom.actors.runtime.actor import GreenActor
from greenroom.actors.runtime.census import RefTable
from greenroom.actors.runtime.errors import HubClosedError, StartFailedError
from greenroom.actors.runtime.hub import Hub
from greenroom.actors.runtime.mailbox import Lane
from greenroom.actors.runtime.monitor import DownReason
from greenroom.actors.runtime.ref import GreenRef
from pykka import ActorDeadError, ActorRegistry, Timeout


class Engine:
    pykka_traversable = True

    def __init__(self) -> None:
        self.rpm = 0

    def rev(self, rpm: int) -> int:
        self.rpm = rpm
        return rpm


class Car(GreenActor):
    wheels = 4

    def __init__(self, owner: str = "nobody", *, fuel: int = 0) -> None:
        super().__init__()
        self.owner = owner
        self.fuel = fuel
        self.engine = Engine()
        self.log: list[object] = []

    def on_start(self) -> None:
        self.log.append("started")

    def on_stop(self) -> None:
        self.log.append("stopped")

    def on_failure(self, kind, value, traceback) -> None:  # type: ignore[no-untyped-def]
        self.log.append((kind, str(value), traceback is not None))

    def on_receive(self, message):  # type: ignore[no-untyped-def]
        if isinstance(message, Exception):
            raise message
        self.log.append(message)
        return ("got", message)

    def drive(self, distance: int, *, slowly: bool = False) -> str:
        if distance < 0:
            raise ValueError("backwards")
        return f"{distance} {'slowly' if slowly else 'fast'}"

    def whoami(self):  # type: ignore[no-untyped-def]
        return self.actor_ref

    @property
    def odometer(self) -> int:
        return 123


@pytest.fixture
def car():
    ref = Car.start("ann", fuel=9)
    yield ref
    ref.stop()


def test_start_gives_a_living_registered_ref(car):
    assert isinstance(car, GreenRef)
    assert car.is_alive()
    assert not car.actor_stopped.is_set()
    assert car.actor_class is Car
    assert ActorRegistry.get_all() == [car]
    assert ActorRegistry.get_by_urn(car.actor_urn) == car
    assert ActorRegistry.get_by_class(GreenActor) == [car]
    assert ActorRegistry.get_by_class_name("Car") == [car]
    assert str(car) == f"Car ({car.actor_urn})"


def test_messages_in_order_with_answers(car):
    car.tell(1)
    car.tell(None)
    assert car.ask(2) == ("got", 2)
    assert car.ask(None) == ("got", None)
    assert car.proxy().log.get() == ["started", 1, None, 2, None]


def test_refs_are_equal_when_they_mean_the_same_actor(car):
    other = Car.start()
    again = car.proxy().whoami().get()
    assert again == car
    assert hash(again) == hash(car)
    assert car != other
    assert car != "car"
    assert len({car, again, other}) == 2
    other.stop()


def test_urns_are_uuids_and_never_alike():
    refs = [Car.start() for _ in range(50)]
    urns = {ref.actor_urn for ref in refs}
    assert len(urns) == 50
    assert {uuid.UUID(urn).version for urn in urns} == {4}
    ActorRegistry.stop_all()


def test_an_actor_knows_itself(car):
    actor = car._actor_weakref()
    assert actor.actor_ref is car
    assert actor.actor_urn == car.actor_urn
    assert actor.actor_inbox is car.actor_inbox
    assert str(actor) == str(car)


def test_ask_without_blocking_and_with_a_timeout():
    class Slow(GreenActor):
        def on_receive(self, event):
            return event.wait(10)

    ref = Slow.start()
    event = Event()
    future = ref.ask(event, block=False)
    assert not future.done
    with pytest.raises(Timeout):
        ref.ask(event, timeout=0.001)
    with pytest.raises(Timeout):
        ref.ask(event, timeout=0)
    event.set()
    assert future.get(timeout=10) is True
    assert ref.stop(timeout=10) is True


def test_proxy_calls_attributes_and_nested_ones(car):
    proxy = car.proxy()
    assert proxy.drive(3).get() == "3 fast"
    assert proxy.drive(3, slowly=True).get() == "3 slowly"
    with pytest.raises(ValueError, match="backwards"):
        proxy.drive(-1).get()
    assert (proxy.owner.get(), proxy.wheels.get(), proxy.odometer.get()) == ("ann", 4, 123)
    proxy.owner = "bob"
    assert proxy.owner.get() == "bob"
    assert proxy.engine.rev(900).get() == 900
    assert proxy.engine.rpm.get() == 900
    proxy.engine.rpm = 1
    assert proxy.engine.rpm.get() == 1
    with pytest.raises(AttributeError):
        proxy.no_such_thing  # noqa: B018
    proxy.drive.defer(1)
    proxy.stop().get()  # it has told itself to stop
    assert car.actor_stopped.wait(10)
    with pytest.raises(ActorDeadError):
        car.proxy()


def test_a_deferred_call_that_fails_is_a_failure_of_the_actor():
    ref = Car.start()
    actor = ref._actor_weakref()
    ref.proxy().drive.defer(-1)
    assert ref.actor_stopped.wait(10)
    assert actor.log == ["started", (ValueError, "backwards", True)]


def test_stop_comes_after_the_messages_before_it():
    ref = Car.start()
    actor = ref._actor_weakref()
    ref.tell("before")
    stopping = ref.stop(block=False)
    late = ref.ask("after", block=False)
    again = ref.stop(block=False)
    assert stopping.get() is True
    assert again.get() is True
    with pytest.raises(ActorDeadError):
        late.get()
    assert actor.log == ["started", "before", "stopped"]
    assert ref.stop() is False
    assert not ref.is_alive()
    assert ActorRegistry.get_all() == []


def test_stop_over_the_control_lane_comes_before_them():
    ref = Car.start()
    actor = ref._actor_weakref()
    waiting = ref.ask("never", block=False)
    assert ref.stop(lane=Lane.CONTROL)
    with pytest.raises(ActorDeadError):
        waiting.get()
    assert actor.log == ["started", "stopped"]


def test_a_dead_actor_refuses():
    ref = Car.start()
    ref.stop()
    with pytest.raises(ActorDeadError):
        ref.tell(1)
    with pytest.raises(ActorDeadError):
        ref.ask(1)
    future = ref.ask(1, block=False)
    with pytest.raises(ActorDeadError):
        future.get()
    assert ref._actor_weakref() is None


def test_an_actor_may_stop_itself_twice_and_in_on_start():
    class Brief(GreenActor):
        def on_start(self):
            self.stop()
            self.stop()

    ref = Brief.start()
    assert ref.actor_stopped.wait(10)
    assert ref.actor_stopped.wait(0.001)
    assert ref.actor_inbox.reason is DownReason.STOPPED


def test_the_stop_flag_ends_an_actor_at_once_without_on_stop(hub):
    here, there = Car.start(), hub.call(Car.start)
    actors = [here._actor_weakref(), there._actor_weakref()]
    assert here.actor_stopped.wait(0.001) is False
    there.ask("x")
    for ref in (here, there):
        ref.actor_stopped.set()
        assert ref.actor_stopped.wait(10)
    assert [actor.log for actor in actors] == [["started"], ["started", "x"]]


def test_an_actor_may_set_its_own_stop_flag():
    class Quitter(GreenActor):
        def on_receive(self, message):
            self.actor_stopped.set()
            return message

    ref = Quitter.start()
    left = ref.ask("left", block=False), ref.ask("behind", block=False)
    assert left[0].get(timeout=10) == "left"
    with pytest.raises(ActorDeadError):
        left[1].get(timeout=10)


def test_messages_of_the_constructor_wait_for_on_start():
    class Eager(Car):
        def __init__(self):
            super().__init__()
            self.actor_ref.tell("from init")

    ref = Eager.start()
    assert ref.proxy().log.get() == ["started", "from init"]
    ref.stop()


def test_an_actor_that_was_never_started_is_nobody():
    actor = Car()
    actor.actor_ref.tell("waits for a start")
    gevent.sleep(0)
    assert actor.log == []
    assert ActorRegistry.get_all() == []


def test_forgetting_super_init_is_told():
    class Forgetful(GreenActor):
        def __init__(self):
            pass

    with pytest.raises(AssertionError, match="super"):
        Forgetful.start()


def test_an_unexpected_message_is_only_logged(caplog):
    caplog.set_level("WARNING", logger="pykka")
    ref = GreenActor.start()
    assert ref.ask("odd") is None
    assert "Unexpected message received" in caplog.text
    ref.stop()


def test_actors_ask_each_other_while_they_handle_a_message():
    class Chain(GreenActor):
        def __init__(self, following):
            super().__init__()
            self.following = following

        def on_receive(self, message):
            return [message] if self.following is None else [message, *self.following.ask(message)]

    first = None
    for _ in range(30):
        first = Chain.start(first)
    assert first.ask("x") == ["x"] * 30
    ActorRegistry.stop_all()


def test_threading_actors_and_ours_live_in_one_registry():
    class Threaded(pykka.ThreadingActor):
        def on_receive(self, message):
            return message + 1

    threaded, ours = Threaded.start(), Car.start()
    assert ActorRegistry.get_all() == [threaded, ours]
    assert threaded.ask(1) == 2
    ActorRegistry.broadcast("all", target_class=Car)
    assert ours.proxy().log.get() == ["started", "all"]
    assert ActorRegistry.stop_all() == [True, True]


def test_the_registry_table_is_a_list_to_pykka(car):
    table = ActorRegistry._actor_refs
    assert isinstance(table, RefTable)
    assert len(table) == 1
    assert list(table) == table[:] == [car]
    assert table[0] == car
    table.remove(car)
    with pytest.raises(ValueError, match="not registered"):
        table.remove(car)
    table.discard(car)
    assert car not in table
    ActorRegistry.register(car)
    assert car in table


def test_the_registry_table_takes_over_what_is_registered(car):
    ActorRegistry._actor_refs = [car]  # as Pykka has it before our first start
    other = Car.start()
    assert ActorRegistry.get_all() == [car, other]
    other.stop()
    assert ActorRegistry.get_all() == [car]


def test_a_start_can_wait_for_on_start():
    seen = []

    class Ready(GreenActor):
        def on_start(self):
            gevent.sleep(0)
            seen.append("ready")

    ref = Ready.start_acknowledged()
    assert seen == ["ready"]
    assert ref.is_alive()
    ref.stop()


def test_a_start_that_fails_says_why():
    class Broken(GreenActor):
        def on_start(self):
            raise ValueError("no")

    with pytest.raises(StartFailedError) as caught:
        Broken.start_acknowledged()
    assert isinstance(caught.value.__cause__, ValueError)
    assert uuid.UUID(caught.value.actor_urn)
    assert ActorRegistry.get_all() == []
    ref = Broken.start()  # Pykka's way: a ref all the same
    assert ref.actor_stopped.wait(10)


def test_a_start_that_is_late_is_killed():
    gate = Event()
    left = []

    class Late(GreenActor):
        def on_start(self):
            try:
                gate.wait(10)
            finally:
                left.append(self.actor_ref)

    with pytest.raises(StartFailedError) as caught:
        Late.start_acknowledged(timeout=0.001)
    assert isinstance(caught.value.__cause__, Timeout)
    assert not ActorRegistry.get_all()
    gevent.sleep(0)
    assert [ref.actor_inbox.reason for ref in left] == [DownReason.KILLED]


def test_a_start_that_stops_itself_has_started():
    class Brief(GreenActor):
        def on_start(self):
            self.stop()

    assert Brief.start_acknowledged().actor_stopped.wait(10)


def test_a_closing_hub_starts_nobody():
    hub = Hub.start()
    refused = []

    def cut():
        try:
            Event().wait()
        finally:
            try:
                Car.start()
            except HubClosedError as error:
                refused.append(error)

    hub.submit(cut)
    hub.post(int)
    assert hub.close(timeout=10)
    assert len(refused) == 1
