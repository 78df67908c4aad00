"""Native threads and signals, also where the host is monkey-patched."""

from __future__ import annotations

import subprocess
import sys

import pytest
from greenroom.storage.native import NATIVE, Signal, Worker


def test_a_signal_set_before_the_wait_is_not_lost_and_counts_once() -> None:
    signal = Signal(NATIVE)
    signal.set()
    signal.set()
    assert signal.wait(0)
    assert not signal.wait(0)


def test_a_set_that_comes_second_is_no_error() -> None:
    class Lost(Signal):
        __slots__ = ()

    signal = Lost(NATIVE)

    class SeenTaken:
        """A lock that another setter releases between the look and the release."""

        def __init__(self) -> None:
            self.lock = NATIVE.allocate_lock()

        def locked(self) -> bool:
            return True

        def release(self) -> None:
            self.lock.release()

    signal._lock = SeenTaken()  # type: ignore[assignment]
    signal.set()


def test_a_worker_can_be_joined_more_than_once() -> None:
    go_on = Signal(NATIVE)
    worker = Worker(NATIVE, lambda: (go_on.wait(), None)[1])
    assert not worker.join(0)
    go_on.set()
    assert worker.join(20)
    assert worker.join(20)


PATCHED = """
import sys
from gevent import monkey
monkey.patch_all()
import gevent, pathlib, tempfile
from gevent.event import Event
from gevent.monkey import get_original

class Originals:
    start_new_thread = staticmethod(get_original("_thread", "start_new_thread"))
    allocate_lock = staticmethod(get_original("_thread", "allocate_lock"))

from greenroom.actors.model.event import AgentEvent
from greenroom.actors.model.query import EventQuery
from greenroom.storage.home import HomeStore

hub = gevent.get_hub()
done = Event()
keep = hub.loop.async_(); keep.start(lambda: None)
with tempfile.TemporaryDirectory() as directory:
    home = HomeStore.open(
        pathlib.Path(directory) / "home",
        post=hub.loop.run_callback_threadsafe,
        threads=Originals(),
    )
    store = home.open_session("s", create=True)
    store.submit(
        [AgentEvent(type="done", turn_id="t")], agent_name="a", durable=True,
        done=lambda error: done.set(),
    )
    assert done.wait(20)
    assert len(store.query(EventQuery())) == 1
    home.close()
print("stored")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no gevent host there")
def test_the_store_works_in_a_monkey_patched_host() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PATCHED], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stdout.strip() == "stored", result.stderr
