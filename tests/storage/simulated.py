"""A scripted life of a home on a simulated disk, and what must be true of what is left of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from greenroom.actors.errors import SessionNotFoundError, StorageError, StoreCorruptError
from greenroom.actors.model.event import AgentEvent
from greenroom.actors.model.query import EventQuery
from greenroom.actors.model.session import SessionMeta, State
from greenroom.actors.testing.sim_files import SimFileSystem
from greenroom.storage.home import HomeStore
from greenroom.storage.layout import Layout, segment_numbers
from greenroom.storage.meta import read_meta, write_meta
from greenroom.storage.readonly import ReadOnlySessionStore
from greenroom.storage.replay import replay_log
from greenroom.storage.session_store import SessionStore, StateOp

SESSIONS = ("s0", "s1")
NOON = datetime(2026, 4, 3, 12, tzinfo=UTC)


Acked = tuple[int, int, int]


@dataclass
class Ack:
    """What was acknowledged of one session: the last sequence and turn, of class F and of any.

    ``meta`` is the number of its last document.
    """

    durable: tuple[int, int] = (0, 0)
    any: tuple[int, int] = (0, 0)
    meta: int = 0


@dataclass
class Life:
    """Runs the script; ``ids`` is every row ever submitted and not refused, by session."""

    path: Path
    hub: Any
    disk: SimFileSystem
    ids: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in SESSIONS})
    acks: dict[str, Ack] = field(default_factory=lambda: {name: Ack() for name in SESSIONS})
    errors: list[Exception] = field(default_factory=list)
    turn: int = 0
    metas: int = 0

    def run(self, activations: int = 2, submits: int = 30) -> None:
        """Open the home, record, close; every error on the way is kept, and must be typed."""
        for _ in range(activations):
            try:
                home = HomeStore.open(
                    self.path,
                    post=self.hub.post,
                    fs=self.disk,
                    sync_interval=0.001,
                    wal_bytes_max=20_000,
                )
            except StorageError as error:
                self.errors.append(error)
                continue
            # A busy machine may let the journals fall behind: that is not what is tested.
            home._segments.wal_bytes_max = 1 << 30
            self._record(home, submits)
            try:
                home.close()
            except StorageError as error:
                self.errors.append(error)
            self.hub.run_posted()
            self._write_meta(home.layout)

    def acked(self, *, durable: bool) -> dict[str, Acked]:
        """What was acknowledged of each session: sequence, turn, and number of its document."""
        found = {}
        for name, ack in self.acks.items():
            sequence, turn = ack.durable if durable else ack.any
            found[name] = (sequence, turn, ack.meta)
        return found

    def _write_meta(self, layout: Layout) -> None:
        """A document of every session, as its actor writes it: durable when the call returns."""
        for name in SESSIONS:
            self.metas += 1
            path = Path(layout.meta(name))
            if not self.disk.exists(layout.session(name)):
                continue
            try:
                write_meta(path, meta_of(name, self.metas), self.disk)
                self.acks[name].meta = self.metas
            except StorageError as error:
                self.errors.append(error)

    def _record(self, home: HomeStore, submits: int) -> None:
        stores: dict[str, SessionStore] = {}
        waiting = [0]

        def told(error: Exception | None) -> None:
            waiting[0] -= 1
            if error is not None:
                assert isinstance(error, StorageError), error
                self.errors.append(error)

        for name in SESSIONS:
            try:
                waiting[0] += 1
                store = home.open_session(name, create=True, done=told)
            except StorageError as error:
                waiting[0] -= 1
                self.errors.append(error)
                continue
            try:
                self._take_over(name, store)
                stores[name] = store
            except StorageError as error:
                self.errors.append(error)
        for number in range(submits):
            for name, store in stores.items():
                self._submit(name, store, number % 4 == 0, waiting, told)
            if number % 10 == 5:
                self._write_meta(home.layout)
            if number % 3 == 2:
                self.hub.run_until(lambda: waiting[0] == 0)
        self.hub.run_until(lambda: waiting[0] == 0)

    def _take_over(self, name: str, store: SessionStore) -> None:
        """What an earlier activation left: all it acknowledged, and perhaps what it refused."""
        found = [event.id for event in store.query(EventQuery())]
        sequence, _ = self.acks[name].any
        assert found[:sequence] == self.ids[name][:sequence]
        self.ids[name] = found

    def _submit(
        self, name: str, store: SessionStore, durable: bool, waiting: list[int], told: Any
    ) -> None:
        self.turn += 1
        turn = self.turn
        event = AgentEvent(
            type="agent_message", turn_id=f"turn-{turn}", timestamp=NOON, text="x" * (turn % 90)
        )
        rows: list[Any] = []

        def done(error: Exception | None) -> None:
            if error is None:
                reached = (rows[-1].sequence, turn)
                self.acks[name].any = reached
                if durable:
                    self.acks[name].durable = reached
            elif rows:
                del self.ids[name][rows[0].sequence - 1 :]
            told(error)

        try:
            waiting[0] += 1
            rows += store.submit(
                [event] * (turn % 3 + 1),
                agent_name="a",
                durable=durable,
                done=done,
                state_ops=[StateOp("turns", "last", {"turn": turn})],
            )
            del self.ids[name][rows[0].sequence - 1 :]
            self.ids[name] += [row.id for row in rows]
        except StorageError as error:
            waiting[0] -= 1
            self.errors.append(error)


def meta_of(name: str, number: int) -> SessionMeta:
    """A document that says which one it is."""
    return SessionMeta(
        id=name,
        agent_name="a",
        workspace_id="w",
        state=State.ACTIVE,
        created_at=NOON,
        updated_at=NOON,
        stop_detail=f"{number}",
    )


def check_meta(state: SimFileSystem, path: Path, name: str, acked: int) -> None:
    """The document is whole, and no older than the acknowledged one."""
    try:
        found = read_meta(path, state)
    except SessionNotFoundError:
        assert not acked, f"{name} has no document"
        return
    number = int(found.stop_detail)
    assert number >= acked
    assert found.lineage is not None
    assert found == dataclasses.replace(meta_of(name, number), lineage=found.lineage)


def check(
    state: SimFileSystem,
    path: Path,
    acks: dict[str, Acked],
    ids: dict[str, list[str]],
    *,
    killed: bool = False,
) -> None:
    """Recover, and compare: nothing acknowledged is gone, nothing is out of order or doubled."""
    layout = Layout(path)
    if not state.exists(layout.wal):
        assert not any(sequence for sequence, *_ in acks.values())
        return
    report = replay_log(state, layout, segment_numbers(state.names(layout.wal)))
    assert not report.failed, report.failed
    for name, (sequence, turn, meta) in acks.items():
        check_meta(state, Path(layout.meta(name)), name, meta)
        if not state.exists(layout.journal(name, "events")):
            assert sequence == 0, f"{name} is gone"
            continue
        try:
            reader = ReadOnlySessionStore.open(layout.session(name), name, state)
        except StoreCorruptError:
            # Made and not synced: a writable open makes it anew.
            assert sequence == 0, f"{name} is damaged"
            continue
        events = reader.query(EventQuery())
        assert [event.sequence for event in events] == [*range(1, len(events) + 1)]
        assert len(events) >= sequence, f"{name}: {len(events)} rows of {sequence}"
        found = [event.id for event in events]
        assert found[:sequence] == ids[name][:sequence]
        assert len(set(found)) == len(found)
        epochs = [event.epoch for event in events]
        assert epochs == sorted(epochs)
        document = reader.state_document("turns", "last") or {"turn": 0}
        assert document["turn"] >= turn
        if killed and events:
            assert events[-1].turn_id == f"turn-{document['turn']}"


def goes_on(state: SimFileSystem, path: Path, hub: Any, event: Callable[..., Any]) -> None:
    """Open for writing what is left, append, close, and read it back."""
    home = HomeStore.open(path, post=hub.post, fs=state)
    store = home.open_session("s0", create=True)
    done: list[Exception | None] = []
    before = store.last_sequence()
    store.submit(
        [event(number) for number in range(10)], agent_name="a", durable=True, done=done.append
    )
    hub.run_until(lambda: done)
    assert done == [None]
    home.close()
    hub.run_posted()
    reader = ReadOnlySessionStore.open(home.layout.session("s0"), "s0", state)
    events = reader.query(EventQuery())
    assert [event.sequence for event in events] == [*range(1, before + 11)]
