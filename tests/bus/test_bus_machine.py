"""The subscriber machine against a store, a lossy wire and restarts: exactly the stored rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from greenroom.actors.model.event import AgentEvent
from greenroom.storage.format.rows import encode_row
from greenroom.transport.bus.catchup import HeadsReply, RowsReply
from greenroom.transport.bus.cursor import CursorMachine
from greenroom.transport.bus.fields import Head
from greenroom.transport.bus.frames import Frame, Heartbeat, RowsFrame, runs_of
from greenroom.transport.bus.positions import Position, decode_cursor
from greenroom.transport.bus.wanted import HeadsWanted, RowsWanted
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

NOW = datetime(2026, 4, 3, tzinfo=UTC)
SESSIONS = ("a", "b")
PAGE_ROWS = 3


def row(session_id: str, epoch: int, sequence: int) -> bytes:
    return encode_row(
        session_id=session_id,
        epoch=epoch,
        sequence=sequence,
        id=f"ev-{sequence}",
        turn_id="t",
        type="agent_message",
        agent_name="n",
        timestamp=NOW,
        event=AgentEvent(type="agent_message", text="x", timestamp=NOW),
    )


@dataclass
class Store:
    """A session's rows, as a list of epochs: row n has sequence n + 1."""

    session_id: str
    epoch: int = 1
    rows: list[int] = field(default_factory=list)
    active: bool = True

    def append(self, count: int) -> bytes:
        """Add rows, after an activation if there was none; the rows as published."""
        self.epoch += not self.active
        self.active = True
        first = len(self.rows) + 1
        self.rows += [self.epoch] * count
        return b"".join(row(self.session_id, self.epoch, first + i) for i in range(count))

    def head(self) -> Head:
        return Head(self.session_id, self.epoch, len(self.rows))

    def holds(self, epoch: int, sequence: int) -> bool:
        if sequence == 0:
            return epoch <= self.epoch
        if sequence > len(self.rows):
            return False
        following = self.rows[sequence] if sequence < len(self.rows) else self.epoch
        return self.rows[sequence - 1] <= epoch <= following

    def page(self, wanted: RowsWanted) -> RowsReply:
        reset = not self.holds(wanted.epoch, wanted.sequence)
        start = wanted.sequence
        while not self.holds(wanted.epoch, start):
            start -= 1
        body = b"".join(
            row(self.session_id, epoch, start + index + 1)
            for index, epoch in enumerate(self.rows[start : start + PAGE_ROWS])
        )
        runs = runs_of(self.session_id, body) if body else ()
        return RowsReply(1, self.session_id, runs, self.epoch, len(self.rows), reset)


class Bus(RuleBasedStateMachine):
    """One subscriber of one session or of both."""

    def __init__(self) -> None:
        super().__init__()
        self.stores = {name: Store(name) for name in SESSIONS}
        self.wire: list[Frame] = []
        self.had: dict[str, list[int]] = {name: [] for name in SESSIONS}
        self.instance, self.beats, self.frames = 0, 0, 0
        self.changed: set[str] = set()
        self.asked: HeadsWanted | RowsWanted | None = None
        self.answer: HeadsReply | RowsReply | None = None

    @initialize(one=st.sampled_from([None, "a"]), before=st.lists(st.sampled_from("ab")))
    def start(self, one: str | None, before: list[str]) -> None:
        for name in before:
            self.stores[name].rows.append(1)
        self.one = one
        self.machine = CursorMachine(one)

    # -- the runtime ----------------------------------------------------------------------------

    @rule(name=st.sampled_from(SESSIONS), count=st.integers(1, 5), lost=st.booleans())
    def append(self, name: str, count: int, lost: bool) -> None:
        body = self.stores[name].append(count)
        self.frames += 1
        self.changed.add(name)
        if not lost:
            self.wire.append(RowsFrame(name, body))

    @rule(name=st.sampled_from(SESSIONS))
    def activate(self, name: str) -> None:
        self.stores[name].epoch += 1

    @rule(name=st.sampled_from(SESSIONS))
    def clear(self, name: str) -> None:
        self.stores[name].epoch += 1
        self.stores[name].rows.clear()

    @rule(name=st.sampled_from(SESSIONS), count=st.integers(1, 4))
    def lose_power(self, name: str, count: int) -> None:
        """It takes the host: what is on the wire goes, a subscriber comes back with its cursor."""
        del self.stores[name].rows[-count:]
        self.restart()
        self.wire.clear()
        self.go_on_with_the_cursor()

    @rule()
    def restart(self) -> None:
        self.instance, self.beats, self.frames = self.instance + 1, 0, 0
        self.changed.clear()
        self.answer = None
        for store in self.stores.values():
            store.active = False

    @rule(known=st.booleans(), lost=st.booleans())
    def beat(self, known: bool, lost: bool) -> None:
        self.beats += 1
        heads = tuple(self.stores[name].head() for name in sorted(self.changed))
        self.changed.clear()
        beat = Heartbeat(str(self.instance), self.beats, self.frames, heads if known else None)
        if not lost:
            self.wire.append(beat)

    # -- the wire -------------------------------------------------------------------------------

    @rule(count=st.integers(1, 10))
    def deliver(self, count: int) -> None:
        for frame in self.wire[:count]:
            self.feed(frame)
        del self.wire[:count]

    @rule(index=st.integers(0, 5))
    def double(self, index: int) -> None:
        if self.wire:
            self.feed(self.wire[index % len(self.wire)])

    @rule(index=st.integers(0, 5), kept=st.booleans())
    def reorder_or_drop(self, index: int, kept: bool) -> None:
        if self.wire:
            frame = self.wire.pop(index % len(self.wire))
            if kept:
                self.wire.insert(0, frame)

    @rule()
    def garbage(self) -> None:
        self.feed(RowsFrame("a", b"\x89garbage"))

    @rule(sequence=st.integers(1, 50), epoch=st.integers(5, 9))
    def frame_from_nowhere(self, sequence: int, epoch: int) -> None:
        if sequence > 1 and epoch > self.stores["a"].epoch:
            self.feed(RowsFrame("a", row("a", epoch, sequence)))

    def feed(self, frame: Frame) -> None:
        if isinstance(frame, Heartbeat):
            if self.machine.on_heartbeat(frame):
                self.answer = None
        else:
            self.machine.on_frame(frame)

    # -- the subscriber -------------------------------------------------------------------------

    @rule()
    def ask(self) -> None:
        self.asked = self.machine.wants()
        self.answer = None
        match self.asked:
            case HeadsWanted(one, after):
                heads = [
                    self.stores[name].head()
                    for name in SESSIONS
                    if name > after and one in (None, name)
                ]
                self.answer = HeadsReply(1, tuple(heads[:1]), more=len(heads) > 1)
            case RowsWanted(name):
                self.answer = self.stores[name].page(self.asked)

    @rule()
    def hear(self) -> None:
        answer, self.answer = self.answer, None
        if isinstance(answer, HeadsReply):
            self.machine.on_heads(answer)
        elif isinstance(answer, RowsReply):
            assert isinstance(self.asked, RowsWanted)
            self.machine.on_page(self.asked, answer)

    @rule(count=st.integers(1, 20))
    def read(self, count: int) -> None:
        for _ in range(count):
            before = self.machine.resets
            event = self.machine.take()
            if event is None:
                break
            had = self.had[event.session_id]
            if event.sequence != len(had) + 1:
                assert event.sequence <= len(had), "a gap"
                assert before > 0, "a row twice"
                del had[event.sequence - 1 :]
            had.append(event.epoch)

    @rule()
    def go_on_with_the_cursor(self) -> None:
        positions = decode_cursor(self.machine.cursor())
        resets = self.machine.resets
        self.machine = CursorMachine(self.one, positions)
        self.machine.resets = resets
        self.answer = None

    @invariant()
    def cursor_is_what_was_read(self) -> None:
        if not hasattr(self, "machine"):
            return
        for name, (_, sequence) in decode_cursor(self.machine.cursor()).items():
            assert sequence <= len(self.had[name])

    def teardown(self) -> None:
        if not hasattr(self, "machine"):
            return
        self.machine.ask_heads()
        for _ in range(200):
            self.ask()
            if self.asked is None:
                break
            self.hear()
        assert self.asked is None, "never done asking"
        self.read(10_000)
        positions: dict[str, Position] = decode_cursor(self.machine.cursor())
        for name in [self.one] if self.one else SESSIONS:
            stored = self.stores[name].rows
            assert self.had[name][: positions.get(name, (0, 0))[1]] == stored


def test_a_loss_told_while_the_heads_are_asked_for_is_looked_for_once_more() -> None:
    bus = Bus()
    bus.start(None, [])
    bus.ask()
    bus.append("a", 1, lost=True)
    bus.hear()  # "a" was answered before, "b" is still to be asked for
    bus.teardown()
    assert bus.had["a"] == [1]


Bus.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestBus = Bus.TestCase
