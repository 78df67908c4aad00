"""F1 to F4: the kernel beside bare gevent, asyncio, Pykka's threads, and what is installed.

All cases of a figure run in each round, one after the other; a ratio is the median of the rounds'
ratios. A memory case runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import subprocess
import sys
import time

import gevent
import pykka
import pytest
from gevent.event import AsyncResult
from gevent.queue import SimpleQueue
from greenroom.actors.runtime.actor import GreenActor

ROUNDS = 9
TELLS, ASKS = 100_000, 10_000
FANOUT, SPAWNS, IDLE = 100_000, 10_000, 100_000


class Green(GreenActor):
    def on_receive(self, message):
        return message


class Threaded(pykka.ThreadingActor):
    def on_receive(self, message):
        return message


def rate(count, begun):
    return count / (time.perf_counter() - begun)


def reader(queue):
    """What a hand-written greenlet does at least: take a message and do something with it."""
    handled = 0
    while queue.get() is not None:
        handled += 1


def tell_green():
    ref = Green.start()
    tell, begun = ref.tell, time.perf_counter()
    for n in range(TELLS):
        tell(n)
    ref.ask(None)
    per_s = rate(TELLS, begun)
    ref.stop()
    return per_s


def tell_bare():
    queue = SimpleQueue()
    greenlet = gevent.spawn(reader, queue)
    put, begun = queue.put, time.perf_counter()
    for n in range(TELLS):
        put(n)
    put(None)
    greenlet.join()
    return rate(TELLS, begun)


def tell_asyncio():
    async def run():
        queue: asyncio.Queue = asyncio.Queue()

        async def read():
            handled = 0
            while await queue.get() is not None:
                handled += 1

        task = asyncio.ensure_future(read())
        begun = time.perf_counter()
        for n in range(TELLS):
            queue.put_nowait(n)
        queue.put_nowait(None)
        await task
        return rate(TELLS, begun)

    return asyncio.run(run())


def tell_threaded():
    ref, count = Threaded.start(), TELLS // 20
    begun = time.perf_counter()
    for n in range(count):
        ref.tell(n)
    ref.ask(None)
    per_s = rate(count, begun)
    ref.stop()
    return per_s


def ask_green():
    ref = Green.start()
    ref.ask(0)
    begun = time.perf_counter()
    for n in range(ASKS):
        ref.ask(n)
    per_s = rate(ASKS, begun)
    ref.stop()
    return per_s


def ask_bare():
    queue = SimpleQueue()

    def serve():
        while (item := queue.get()) is not None:
            item[1].set(item[0])

    greenlet = gevent.spawn(serve)
    begun = time.perf_counter()
    for n in range(ASKS):
        result = AsyncResult()
        queue.put((n, result))
        result.get()
    per_s = rate(ASKS, begun)
    queue.put(None)
    greenlet.join()
    return per_s


def ask_asyncio():
    async def run():
        queue: asyncio.Queue = asyncio.Queue()

        async def serve():
            while (item := await queue.get()) is not None:
                item[1].set_result(item[0])

        task = asyncio.ensure_future(serve())
        loop = asyncio.get_running_loop()
        begun = time.perf_counter()
        for n in range(ASKS):
            future = loop.create_future()
            queue.put_nowait((n, future))
            await future
        per_s = rate(ASKS, begun)
        queue.put_nowait(None)
        await task
        return per_s

    return asyncio.run(run())


def ask_threaded():
    ref, count = Threaded.start(), ASKS // 10
    begun = time.perf_counter()
    for n in range(count):
        ref.ask(n)
    per_s = rate(count, begun)
    ref.stop()
    return per_s


def fan_green():
    refs = [Green.start() for _ in range(FANOUT)]
    refs[-1].ask(0)
    gc.collect()
    begun = time.perf_counter()
    for ref in refs:
        ref.tell(1)
    refs[-1].ask(1)
    per_s = rate(FANOUT, begun)
    for stopped in [ref.stop(block=False) for ref in refs]:
        stopped.get()
    return per_s


def fan_bare():
    queues = [SimpleQueue() for _ in range(FANOUT)]
    greenlets = [gevent.spawn(reader, queue) for queue in queues]
    gevent.sleep(0)
    gc.collect()
    begun = time.perf_counter()
    for queue in queues:
        queue.put(1)
    gevent.sleep(0)
    per_s = rate(FANOUT, begun)
    for queue in queues:
        queue.put(None)
    gevent.joinall(greenlets)
    return per_s


def spawn_green():
    begun = time.perf_counter()
    refs = [Green.start() for _ in range(SPAWNS)]
    for stopped in [ref.stop(block=False) for ref in refs]:
        stopped.get()
    return rate(SPAWNS, begun)


def spawn_bare():
    begun = time.perf_counter()
    queues = [SimpleQueue() for _ in range(SPAWNS)]
    greenlets = [gevent.spawn(reader, queue) for queue in queues]
    gevent.sleep(0)
    for queue in queues:
        queue.put(None)
    gevent.joinall(greenlets)
    return rate(SPAWNS, begun)


def tell_thespian():
    from thespian.actors import Actor, ActorSystem

    class Taker(Actor):
        def receiveMessage(self, message, sender):
            if message is None:
                self.send(sender, "done")

    system, count = ActorSystem("simpleSystemBase"), TELLS // 20
    taker = system.createActor(Taker)
    begun = time.perf_counter()
    for n in range(count):
        system.tell(taker, n)
    system.ask(taker, None, 10)
    per_s = rate(count, begun)
    system.shutdown()
    return per_s


def tell_xoscar():
    import xoscar

    class Taker(xoscar.Actor):
        def take(self, message):
            return message

    async def run():
        pool = await xoscar.create_actor_pool("127.0.0.1", n_process=0)
        async with pool:
            ref = await xoscar.create_actor(Taker, address=pool.external_address)
            count = TELLS // 50
            begun = time.perf_counter()
            for n in range(count):
                await ref.take.tell(n)
            await ref.take(None)
            return rate(count, begun)

    return asyncio.run(run())


def race(title, cases):
    """Run the cases in turns; print their rates, return the ratios of the first to each other."""
    rates = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, case in cases.items():
            gc.collect()
            rates[name].append(case())
    ours = next(iter(cases))
    ratios = {
        name: statistics.median(a / b for a, b in zip(rates[ours], rates[name], strict=True))
        for name in cases
    }
    print(f"\n{title}")
    for name in cases:
        print(
            f"    {name:<22}{statistics.median(rates[name]):>14,.0f}/s   ours is x"
            f"{ratios[name]:.2f}"
        )
    return ratios


@pytest.fixture(autouse=True)
def undisturbed():
    gc.collect()
    yield
    assert not pykka.ActorRegistry.get_all()


@pytest.mark.bench
def test_f1_tell_into_one_actor():
    ratios = race(
        "F1 tell into one actor (bars 0.45 of bare gevent, 7 times Pykka's threads)",
        {
            "greenroom": tell_green,
            "bare gevent": tell_bare,
            "asyncio.Queue": tell_asyncio,
            "Pykka ThreadingActor": tell_threaded,
        },
    )
    assert ratios["bare gevent"] >= 0.45
    assert ratios["Pykka ThreadingActor"] >= 7


@pytest.mark.bench
@pytest.mark.parametrize(("module", "case"), [("thespian", tell_thespian), ("xoscar", tell_xoscar)])
def test_f1_tell_beside_other_actor_libraries(module, case):
    pytest.importorskip(module, reason=f"{module} comes with greenroom[bench]")
    ratios = race(f"F1 tell beside {module}", {"greenroom": tell_green, module: case})
    assert ratios[module] >= 1


@pytest.fixture
def taker_of_ray(monkeypatch):
    """An actor of a Ray on this machine, of one process beside ours."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ray = pytest.importorskip("ray", reason="Ray comes with greenroom[ray]")

    @ray.remote
    class Taker:
        def take(self, message):
            return message

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    taker = Taker.remote()
    ray.get(taker.take.remote(0))
    yield taker
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
def test_f1_tell_beside_ray(taker_of_ray):
    import ray

    def tell_ray():
        count, begun = TELLS // 50, time.perf_counter()
        for n in range(count):
            last = taker_of_ray.take.remote(n)
        ray.get(last)
        return rate(count, begun)

    cases = {"greenroom": tell_green, "Ray, its process": tell_ray}
    assert race("F1 tell beside Ray", cases)["Ray, its process"] >= 1


@pytest.mark.ray
@pytest.mark.filterwarnings("default")
def test_f2_ask_beside_ray(taker_of_ray):
    import ray

    def ask_ray():
        count, begun = ASKS // 20, time.perf_counter()
        for n in range(count):
            ray.get(taker_of_ray.take.remote(n))
        return rate(count, begun)

    cases = {"greenroom": ask_green, "Ray, its process": ask_ray}
    assert race("F2 ask beside Ray", cases)["Ray, its process"] >= 1


@pytest.mark.bench
def test_f2_ask_round_trip():
    ratios = race(
        "F2 ask round trip (bar 1.1 of bare gevent)",
        {
            "greenroom": ask_green,
            "bare gevent": ask_bare,
            "asyncio.Queue + Future": ask_asyncio,
            "Pykka ThreadingActor": ask_threaded,
        },
    )
    assert ratios["bare gevent"] >= 1.1


@pytest.mark.bench
def test_f3_one_message_to_each_of_100_000_actors():
    cases = {"greenroom": fan_green, "bare gevent": fan_bare}
    assert race("F3 fan-out (bar 3 of bare gevent)", cases)["bare gevent"] >= 3


@pytest.mark.bench
def test_f4_start_and_stop_10_000_actors():
    cases = {"greenroom": spawn_green, "bare gevent": spawn_bare}
    assert race("F4 start + stop (bar 1.7 of bare gevent)", cases)["bare gevent"] >= 1.7


IDLE_MEMORY = """
import gc
from greenroom.actors.runtime.actor import GreenActor

class Green(GreenActor):
    def on_receive(self, message): return message

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

Green.start().ask(1)
before = resident()
refs = [Green.start() for _ in range(COUNT)]
refs[-1].ask(1)
print((resident() - before) / COUNT)
"""


@pytest.mark.bench
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_f4_memory_of_an_idle_actor():
    ran = subprocess.run(
        [sys.executable, "-c", IDLE_MEMORY.replace("COUNT", str(IDLE))],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    per_actor = float(ran.stdout)
    print(f"\nF4 memory of an idle actor: {per_actor:,.0f} bytes (bar 1,600)")
    assert per_actor <= 1600
