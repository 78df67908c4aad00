"""kill -9 of a runtime that serves, under subscribers and callers of other processes (DESIGN 5.16).

Every subscriber ends with exactly the stored events, and every request that was acknowledged took
effect exactly once: callers retry by themselves, and are not told about the kill.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
from collections import Counter

import pytest
from greenroom.actors import EventType
from greenroom.actors.core.busy_input import GENERATION_KEY, GENERATION_TABLE, QUEUE_TABLE
from greenroom.actors.errors import (
    AgentStartError,
    SessionInputQueueFullError,
    SessionNotActiveError,
    SessionNotFoundError,
)
from greenroom.actors.manager.remote import RemoteSessionManager
from greenroom.storage.home import HomeStore
from greenroom.transport import Subscriber
from greenroom.transport.bus.errors import BusLostError

SUBSCRIBERS = 20
CALLERS = 5
WAIT = 60.0
DAEMON = """
import sys, threading
from greenroom.actors import SessionManager
with SessionManager(home=sys.argv[1]) as manager:
    print("ready", flush=True)
    sys.stdin.read()
"""


def start(home):
    daemon = subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert daemon.stdout.readline() == "ready\n"
    return daemon


class Tail(threading.Thread):
    """One subscriber that follows everything, or one session, from the beginning."""

    def __init__(self, home, session_id):
        super().__init__(daemon=True)
        self.rows = []
        self.session_id = session_id
        self._subscriber = Subscriber(home, session_id)
        self._more = threading.Condition()
        self.start()

    def run(self):
        for row in self._subscriber:
            with self._more:
                self.rows.append((row.session_id, row.epoch, row.sequence, row.id))
                self._more.notify_all()

    def wait_for(self, count):
        with self._more:
            assert self._more.wait_for(lambda: len(self.rows) >= count, WAIT), len(self.rows)

    def close(self):
        self._subscriber.close()
        self.join(WAIT)
        assert not self.is_alive()


class Caller(threading.Thread):
    """Prompts, creates, stops and deletes, and keeps what it was told became of it."""

    def __init__(self, home, workspace, name, seed, acknowledged):
        super().__init__(daemon=True)
        self.name = name
        self.started, self.queued, self.refused = [], [], []
        self.made, self.deleted, self.unborn, self.generations = [], [], 0, []
        self.error = None
        self._random = random.Random(seed)
        self._manager = RemoteSessionManager(home)
        self._new = {"agent_name": "demo", "workspace_path": workspace}
        self._acknowledged = acknowledged
        self._done = threading.Event()
        self.session = self._manager.create(**self._new).id
        self.made.append(self.session)

    def run(self):
        try:
            while not self._done.is_set():
                kinds = (self.prompt, self.interrupt, self.stop, self.create_and_delete)
                self._random.choices(kinds, (20, 2, 1, 1))[0]()
                self._acknowledged()
        except BaseException as error:
            self.error = error
            self._acknowledged()

    def prompt(self):
        text = f"@@say {self.name}-{len(self.started) + len(self.queued) + len(self.refused)}"
        try:
            sent = self._manager.send_prompt(self.session, text, mode="queue")
        except SessionNotActiveError:
            self.refused.append(text)
            self.resume()
            return
        except SessionInputQueueFullError:
            self.refused.append(text)
            self.interrupt()
            return
        if sent.events is None:
            self.queued.append(text)
            return
        self.started.append((text, sent.new_turn_id))
        if self._random.random() < 0.5:
            try:
                sent.events.result(WAIT)
            except BusLostError:
                return  # the events are in the store; the turn was cut off
        else:
            sent.events.close()

    def interrupt(self):
        try:
            told = self._manager.interrupt_prompt(self.session)
        except SessionNotActiveError:
            self.resume()
        else:
            self.generations.append(told.queue_generation)

    def stop(self):
        with contextlib.suppress(SessionNotFoundError, SessionNotActiveError):
            self._manager.stop(self.session)
        self.resume()

    def resume(self):
        # Of one that is just being started, or stopped, the next prompt tells.
        with contextlib.suppress(SessionNotActiveError):
            self._manager.resume(self.session)

    def create_and_delete(self):
        try:
            made = self._manager.create(**self._new).id
        except AgentStartError:
            self.unborn += 1
            return
        self.made.append(made)
        self._manager.delete(made)
        self.deleted.append(made)

    def end(self):
        self._done.set()
        self.join(WAIT)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        self._manager.close()


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(3, marks=pytest.mark.timeout(240)),
        pytest.param(50, marks=[pytest.mark.chaos, pytest.mark.timeout(3600)]),
    ],
)
def test_kill_9_under_subscribers_and_callers(home, workspace, rounds):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    counts = Counter()
    more = threading.Condition()

    def acknowledged():
        with more:
            counts["acknowledged"] += 1
            more.notify_all()

    def wait_for(count):
        target = counts["acknowledged"] + count
        with more:
            assert more.wait_for(lambda: counts["acknowledged"] >= target, WAIT), seed
        failed = [caller for caller in callers if caller.error is not None]
        assert not failed, (seed, failed[0].error)

    daemon = start(home)
    callers = [
        Caller(home, workspace, f"caller{number}", rng.random(), acknowledged)
        for number in range(CALLERS)
    ]
    half = SUBSCRIBERS // 2
    tails = [Tail(home, None) for _ in range(half)]
    tails += [Tail(home, callers[number % CALLERS].session) for number in range(half)]
    for caller in callers:
        caller.start()
    for _ in range(rounds):
        wait_for(rng.randint(1, 60))
        daemon.kill()
        daemon.communicate(timeout=WAIT)
        daemon = start(home)
    for caller in callers:
        caller.end()
    with RemoteSessionManager(home) as manager:
        manager.wait_for_prompt_drains(timeout=WAIT)
        for info in manager.list():
            manager.stop(info.id, timeout=WAIT)
        stored = {info.id: manager.events(info.id) for info in manager.list_all()}
    for tail in tails:
        wanted = [tail.session_id] if tail.session_id else sorted(stored)
        rows = [(r.session_id, r.epoch, r.sequence, r.id) for sid in wanted for r in stored[sid]]
        tail.wait_for(len(rows))
        had = [row for row in tail.rows if row[0] in stored]
        assert sorted(had) == sorted(rows), seed
        for sid in wanted:
            assert [row for row in had if row[0] == sid] == [row for row in rows if row[0] == sid]
        tail.close()
    daemon.communicate(timeout=WAIT)  # its standard input ends: it closes
    unborn = sum(caller.unborn for caller in callers)
    kept = {sid for caller in callers for sid in caller.made if sid not in caller.deleted}
    assert kept <= set(stored)
    assert len(stored) == len(kept) + unborn, seed
    for caller in callers:
        check_caller(home, caller, stored[caller.session], seed)


def check_caller(home, caller, rows, seed):
    """An acknowledged prompt is stored once, a refused one never."""
    inputs = Counter(row.event.text for row in rows if row.type == EventType.USER_MESSAGE)
    turns = {row.event.text: row.turn_id for row in rows if row.type == EventType.USER_MESSAGE}
    for text, turn_id in caller.started:
        assert (inputs[text], turns[text]) == (1, turn_id), (text, seed)
    for text in caller.refused:
        assert inputs[text] == 0, (text, seed)
    assert set(inputs) <= {text for text, _ in caller.started} | set(caller.queued)
    store = HomeStore.open(home, post=lambda work, *args: work(*args))
    try:
        reader = store.reader(caller.session)
        generation = reader.state_document(GENERATION_TABLE, GENERATION_KEY) or {}
        entries = Counter(entry["text"] for entry in reader.state_documents(QUEUE_TABLE).values())
        reader.close()
    finally:
        store.close()
    assert set(entries) == set(caller.queued), seed  # and whatever was refused is not there
    advanced = list(range(1, generation.get("input_generation", 0) + 1))
    assert caller.generations == advanced, seed
    assert all(count == 1 for count in entries.values()), seed
    assert all(inputs[text] <= 1 for text in caller.queued), seed
    print(
        f"{caller.name}: {len(caller.started)} started, {len(caller.queued)} queued, "
        f"{len(caller.refused)} refused, {len(caller.made)} made"
    )
