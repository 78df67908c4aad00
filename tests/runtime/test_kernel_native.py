"""Native threads and workers; in a patched host and after a fork as well."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import gevent
import pytest
from greenroom.actors.runtime.errors import WorkerClosedError, WorkerFullError
from greenroom.actors.runtime.future import GreenFuture
from greenroom.actors.runtime.native import (
    WORKER_QUEUE_MAX,
    NativeEvent,
    NativeWorker,
    SimpleQueue,
    get_ident,
    start_thread,
)
from pykka import get_all


def run_script(script: str, *options: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", *options, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["ok"], ran.stdout + ran.stderr


def test_a_thread_tells_its_ident_and_its_end():
    idents: SimpleQueue[int] = SimpleQueue()
    gate = NativeEvent()
    thread = start_thread(lambda: (idents.put(get_ident()), gate.wait(10)), "one")
    assert thread.ident == idents.get(timeout=10) != get_ident()
    assert thread.join(0) is False
    gate.set()
    assert thread.join(10)
    assert thread.join()


def test_a_thread_that_fails_has_ended():
    assert start_thread(lambda: 1 / 0, "fails").join(10)


def test_an_event_lets_every_waiter_go():
    event = NativeEvent()
    assert event.wait(0.001) is False
    threads = [start_thread(event.wait, "waiter") for _ in range(5)]
    event.set()
    event.set()
    assert all(thread.join(10) for thread in threads)
    assert event.is_set()
    assert event.wait()


def test_a_worker_runs_calls_in_order_in_its_own_thread():
    worker = NativeWorker("files")
    seen = []
    calls = [worker.submit(lambda n: seen.append(n) or get_ident(), n) for n in range(20)]
    idents = set(get_all(calls, timeout=10))
    assert seen == list(range(20))
    assert len(idents) == 1
    assert get_ident() not in idents
    assert worker.unfinished == 0
    assert worker.close(10)


def test_the_hub_goes_on_while_a_worker_blocks():
    worker = NativeWorker("slow")
    gate = NativeEvent()
    blocked = worker.submit(gate.wait, 10)
    ticks = []
    gevent.spawn(lambda: ticks.append(gevent.sleep(0)) or gate.set())
    assert blocked.get(timeout=10)
    assert ticks
    assert worker.close(10)


@pytest.mark.parametrize("error", [OSError, SystemExit, KeyboardInterrupt])
def test_what_a_call_raises_is_in_its_future(error):
    worker = NativeWorker("fails")

    def fail():
        raise error

    with pytest.raises(error):
        worker.submit(fail).get(timeout=10)
    assert worker.submit(lambda: 1).get(timeout=10) == 1
    assert worker.close(10)


def test_threads_of_a_worker_run_side_by_side():
    worker = NativeWorker("two", 2)
    first, second = NativeEvent(), NativeEvent()
    one = worker.submit(lambda: (first.set(), second.wait(10))[1])
    two = worker.submit(lambda: (second.set(), first.wait(10))[1])
    assert one.get(timeout=10)
    assert two.get(timeout=10)
    assert worker.close(10)


def test_the_line_is_bounded():
    assert NativeWorker("default").queue_max == WORKER_QUEUE_MAX
    worker = NativeWorker("full", queue_max=3)
    gate = NativeEvent()
    calls = [worker.submit(gate.wait, 10) for _ in range(3)]
    with pytest.raises(WorkerFullError) as caught:
        worker.submit(print)
    assert (caught.value.worker, caught.value.queue_max) == ("full", 3)
    gate.set()
    assert get_all(calls, timeout=10) == [True] * 3
    assert worker.submit(lambda: 1).get(timeout=10) == 1
    assert worker.close(10)


def test_close_finishes_what_was_accepted():
    worker = NativeWorker("closing")
    gate = NativeEvent()
    calls = [worker.submit(gate.wait, 10) for _ in range(3)]
    assert worker.close(0.001) is False
    with pytest.raises(WorkerClosedError) as caught:
        worker.submit(print)
    assert caught.value.worker == "closing"
    gate.set()
    assert get_all(calls, timeout=10) == [True] * 3
    assert worker.close(10)


def test_every_call_that_races_with_close_is_answered():
    for _ in range(20):
        worker = NativeWorker("race", 2)
        accepted: list[GreenFuture[int]] = []

        def hammer(worker=worker, accepted=accepted):
            try:
                while True:
                    accepted.append(worker.submit(lambda: 1))
            except (WorkerClosedError, WorkerFullError):
                return

        threads = [start_thread(hammer, "hammer") for _ in range(2)]
        assert worker.close(10)
        assert all(thread.join(10) for thread in threads)
        assert get_all(accepted, timeout=10) == [1] * len(accepted)


def test_in_a_patched_host():
    """Threads are real ones, the host's own hub and "threads" go on while they block."""
    run_script("""
        import gevent.monkey
        gevent.monkey.patch_all()
        import threading, time, gevent, pykka
        from greenroom.actors.runtime.actor import GreenActor
        from greenroom.actors.runtime.future import GreenFuture
        from greenroom.actors.runtime.hub import Hub
        from greenroom.actors.runtime.native import NativeWorker, NativeEvent, get_ident

        class Echo(GreenActor):
            def on_receive(self, message):
                gevent.sleep(0)
                return message, get_ident()

        here = get_ident()
        with Hub.start() as hub:
            there = hub.call(get_ident)
            assert there != here
            ref = hub.call(Echo.start_acknowledged)
            assert ref.ask("a", timeout=10) == ("a", there)
            own = Echo.start_acknowledged(timeout=10)
            assert own.ask("b", timeout=10) == ("b", here)
            assert hub.call(own.ask, "c") == ("c", here)

            results = []   # a patched thread is a greenlet of the host's hub
            thread = threading.Thread(target=lambda: results.append(ref.ask("d", timeout=10)))
            thread.start()
            thread.join(10)
            assert results == [("d", there)]

            worker = NativeWorker("w")
            gate = NativeEvent()
            blocked = worker.submit(lambda: (get_ident(), gate.wait(10)))
            gevent.spawn(gate.set)   # runs only if the host's hub is not blocked
            ident, opened = blocked.get(timeout=10)
            assert opened and ident not in (here, there)
            assert worker.close(10)
            pykka.ActorRegistry.stop_all()
        print("ok")
    """)


def test_after_a_fork_every_handle_is_refused():
    run_script("""
        import os, gevent, pykka
        from greenroom.actors.runtime.actor import GreenActor
        from greenroom.actors.runtime.clock import GeventClock
        from greenroom.actors.runtime.errors import ForkedError
        from greenroom.actors.runtime.hub import Hub
        from greenroom.actors.runtime.native import NativeWorker

        class Echo(GreenActor):
            def on_receive(self, message):
                return message

        class Bounded(Echo):
            mailbox_bound = 2

        hub, worker = Hub.start(), NativeWorker("w")
        far = hub.call(Echo.start)
        near, narrow = Echo.start(), Bounded.start()
        current = Hub.current()
        assert near.ask(1) == 1
        uses = [
            lambda: hub.post(print), lambda: hub.submit(print), lambda: hub.call(print),
            hub.close, lambda: current.post(print), current.close,
            lambda: far.tell(1), lambda: far.ask(1), far.stop, lambda: far.monitor(print),
            lambda: near.tell(1), lambda: near.ask(1), near.stop, lambda: near.monitor(print),
            lambda: narrow.tell(1), lambda: narrow.ask(1),
            lambda: worker.submit(print), worker.close,
            lambda: GeventClock(hub).call_later(1, print),
        ]
        near.tell("for the parent only")
        pid = os.fork()
        if pid == 0:
            failed = []
            for n, use in enumerate(uses):
                try:
                    use()
                except ForkedError:
                    continue
                except BaseException as error:
                    failed.append((n, error))
                    continue
                failed.append((n, None))
            alive = [ref.is_alive() for ref in (far, near, narrow)]
            left = pykka.ActorRegistry.get_all()
            if failed or any(alive) or left:
                os.write(2, repr((failed, alive, left)).encode())
                os._exit(1)
            gevent.reinit()   # the child may start anew
            again = Echo.start()
            fine = again.ask(5, timeout=10) == 5 and again.actor_urn[:33] != near.actor_urn[:33]
            os._exit(0 if fine else 2)
        assert os.waitpid(pid, 0)[1] == 0
        assert near.ask(2) == 2 and far.ask(3) == 3   # the parent goes on
        pykka.ActorRegistry.stop_all()
        assert hub.close(10) and worker.close(10)
        print("ok")
    """)


def test_an_exit_with_everything_left_running():
    """No crash and no wait, although nobody closed the hub, the worker or stopped the actors."""
    run_script("""
        import gevent
        from greenroom.actors.runtime.actor import GreenActor
        from greenroom.actors.runtime.clock import GeventClock
        from greenroom.actors.runtime.hub import Hub
        from greenroom.actors.runtime.native import NativeEvent, NativeWorker

        class Flooder(GreenActor):
            def on_receive(self, message):
                self.actor_ref.tell(message)
                return message

        class Blocker(GreenActor):
            def on_receive(self, message):
                gevent.event.Event().wait()

        hub, worker = Hub.start(), NativeWorker("w")
        assert hub.call(Flooder.start).ask(1) == 1
        hub.call(Blocker.start).tell("block")
        hub.submit(gevent.event.Event().wait)
        assert worker.submit(int, "5").get() == 5
        worker.submit(NativeEvent().wait)
        GeventClock(hub).call_later(3600, print)
        Flooder.start().ask(2)
        print("ok")
    """, "-X", "dev")


def test_importing_the_kernel_changes_nothing_in_the_host():
    run_script("""
        import sys, threading, pykka
        before = pykka.ActorRegistry._actor_refs
        import greenroom.actors.runtime.actor, greenroom.actors.runtime.native
        import greenroom.actors.runtime.clock
        from gevent._hub_local import get_hub_if_exists
        import gevent.monkey
        assert pykka.ActorRegistry._actor_refs is before
        assert get_hub_if_exists() is None
        assert not gevent.monkey.saved
        assert threading.active_count() == 1
        print("ok")
    """)
