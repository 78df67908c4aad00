"""The subscriber machine, rule by rule, and under a seeded lossy wire."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from greenroom.actors.model.event import AgentEvent
from greenroom.storage.format.rows import encode_row
from greenroom.transport.bus import cursor as cursor_module
from greenroom.transport.bus.catchup import HeadsReply, RowsReply
from greenroom.transport.bus.cursor import RESETS_IN_A_ROW_MAX, CursorMachine, Phase
from greenroom.transport.bus.errors import BusProtocolError
from greenroom.transport.bus.fields import Head
from greenroom.transport.bus.frames import Heartbeat, RowsFrame, runs_of
from greenroom.transport.bus.positions import decode_cursor
from greenroom.transport.bus.wanted import HeadsWanted, RowsWanted

NOW = datetime(2026, 4, 3, tzinfo=UTC)
Positions = list[tuple[int, int]]


def row(session_id: str, epoch: int, sequence: int) -> bytes:
    return encode_row(
        session_id=session_id,
        epoch=epoch,
        sequence=sequence,
        id="ev",
        turn_id="t",
        type="done",
        agent_name="n",
        timestamp=NOW,
        event=AgentEvent(type="done", timestamp=NOW),
    )


def body(*positions: tuple[int, int], session_id: str = "a") -> bytes:
    return b"".join(row(session_id, *position) for position in positions)


def frame(*positions: tuple[int, int], session_id: str = "a") -> RowsFrame:
    return RowsFrame(session_id, body(*positions, session_id=session_id))


def page(
    *positions: tuple[int, int], head: tuple[int, int], reset: bool = False, session_id: str = "a"
) -> RowsReply:
    data = body(*positions, session_id=session_id)
    return RowsReply(1, session_id, runs_of(session_id, data) if data else (), *head, reset)


def heads(*found: Head, more: bool = False) -> HeadsReply:
    return HeadsReply(1, found, more)


def taken(machine: CursorMachine) -> Positions:
    found: Positions = []
    while (event := machine.take()) is not None:
        found.append(event.cursor)
    return found


def rows_wanted(machine: CursorMachine) -> RowsWanted:
    wanted = machine.wants()
    assert isinstance(wanted, RowsWanted)
    return wanted


def live(*positions: tuple[int, int], session_id: str | None = "a") -> CursorMachine:
    """A machine that has had these rows of "a" and is live."""
    machine = CursorMachine(session_id)
    machine.on_heads(heads())
    if positions:
        machine.on_frame(frame(*positions))
        assert taken(machine) == list(positions)
    assert machine.phase("a") is (Phase.LIVE if positions else Phase.SYNCING)
    assert machine.wants() is None
    return machine


def test_it_begins_by_asking_where_things_end() -> None:
    machine = CursorMachine("a")
    assert machine.wants() == HeadsWanted("a")
    assert CursorMachine().wants() == HeadsWanted(None)
    machine.on_frame(frame((1, 6)))
    assert taken(machine) == []
    machine.on_heads(heads(Head("a", 1, 6)))
    assert rows_wanted(machine) == RowsWanted("a", 0, 0)
    machine.on_page(rows_wanted(machine), page((1, 1), (1, 2), head=(1, 6)))
    assert rows_wanted(machine) == RowsWanted("a", 1, 2)
    assert machine.phase("a") is Phase.SYNCING
    machine.on_page(rows_wanted(machine), page((1, 3), (1, 4), (1, 5), head=(1, 5)))
    assert machine.wants() is None
    assert machine.phase("a") is Phase.LIVE
    assert taken(machine) == [(1, number) for number in range(1, 7)]


def test_live_rows_are_taken_as_they_come() -> None:
    machine = live((1, 1))
    machine.on_frame(frame((1, 2), (1, 3)))
    machine.on_frame(frame((1, 2), (1, 3), (1, 4)))
    machine.on_frame(frame((1, 4)))
    assert taken(machine) == [(1, 2), (1, 3), (1, 4)]
    assert machine.wants() is None


def test_a_gap_is_read_from_the_store() -> None:
    machine = live((1, 1))
    machine.on_frame(frame((1, 3)))
    assert machine.phase("a") is Phase.LAGGING
    assert machine.lagged == 1
    machine.on_page(rows_wanted(machine), page((1, 2), (1, 3), head=(1, 3)))
    assert taken(machine) == [(1, 2), (1, 3)]
    assert machine.phase("a") is Phase.LIVE


def test_a_session_met_in_its_middle_is_read_from_the_store() -> None:
    machine = live(session_id=None)
    machine.on_frame(frame((3, 7)))
    assert rows_wanted(machine) == RowsWanted("a", 0, 0)


def test_a_higher_epoch_is_verified() -> None:
    """Rows 2 and 3 were lost with the power and written anew; only the store knows."""
    machine = live((1, 1), (1, 2), (1, 3))
    machine.on_frame(frame((2, 4)))
    assert taken(machine) == []
    assert machine.phase("a") is Phase.FENCED
    assert rows_wanted(machine) == RowsWanted("a", 1, 3)
    machine.on_page(rows_wanted(machine), page((2, 2), (2, 3), (2, 4), head=(2, 4), reset=True))
    assert taken(machine) == [(2, 2), (2, 3), (2, 4)]
    assert (machine.resets, machine.lagged) == (1, 0)


def test_a_higher_epoch_that_goes_on_goes_on() -> None:
    machine = live((1, 1))
    machine.on_frame(frame((2, 2)))
    machine.on_page(rows_wanted(machine), page((2, 2), head=(2, 2)))
    assert taken(machine) == [(2, 2)]
    machine.on_frame(frame((2, 3)))
    assert taken(machine) == [(2, 3)]
    assert machine.resets == 0


def test_sequence_1_of_a_higher_epoch_is_a_clear() -> None:
    machine = live((1, 1), (1, 2))
    machine.on_frame(frame((2, 1)))
    machine.on_frame(frame((1, 3)))
    machine.on_frame(frame((2, 2), (2, 3)))
    assert taken(machine) == [(2, 1), (2, 2), (2, 3)]
    assert machine.resets == 1
    assert decode_cursor(machine.cursor()) == {"a": (2, 3)}


def test_an_empty_reset_moves_the_cursor() -> None:
    machine = live((1, 1), (1, 2))
    machine.ask_heads()
    machine.on_heads(heads(Head("a", 2, 0)))
    machine.on_page(rows_wanted(machine), page(head=(2, 0), reset=True))
    assert taken(machine) == []
    assert decode_cursor(machine.cursor()) == {"a": (2, 0)}
    machine.on_frame(frame((2, 1)))
    assert taken(machine) == [(2, 1)]


def test_a_head_of_an_activation_without_rows_is_asked_about_once() -> None:
    machine = live((1, 1))
    machine.ask_heads()
    machine.on_heads(heads(Head("a", 2, 1)))
    assert machine.phase("a") is Phase.FENCED
    machine.on_page(rows_wanted(machine), page(head=(2, 1)))
    machine.ask_heads()
    machine.on_heads(heads(Head("a", 2, 1)))
    assert machine.wants() is None
    assert decode_cursor(machine.cursor()) == {"a": (1, 1)}


def test_a_head_behind_the_cursor_is_asked_about() -> None:
    machine = CursorMachine("a", {"a": (1, 9), "b": (1, 1)})
    machine.on_heads(heads(Head("a", 1, 5), Head("b", 1, 7)))
    assert rows_wanted(machine) == RowsWanted("a", 1, 9)
    machine.on_page(rows_wanted(machine), page((1, 1), head=(1, 1), reset=True))
    assert taken(machine) == [(1, 1)]
    assert decode_cursor(machine.cursor()) == {"a": (1, 1)}


def test_a_cursor_at_the_head_needs_no_page() -> None:
    machine = CursorMachine("a", {"a": (2, 9)})
    machine.on_frame(frame((2, 10)))
    machine.on_heads(heads(Head("a", 2, 9)))
    assert machine.wants() is None
    assert taken(machine) == [(2, 10)]


def test_held_frames_that_do_not_follow_the_cursor_are_asked_about() -> None:
    machine = CursorMachine("a", {"a": (2, 9)})
    machine.on_frame(frame((2, 12)))
    machine.on_heads(heads(Head("a", 2, 9)))
    assert rows_wanted(machine) == RowsWanted("a", 2, 9)


def test_a_cursor_of_a_session_that_is_not_there_waits_for_its_rows() -> None:
    machine = CursorMachine(None, {"a": (1, 3)})
    machine.on_heads(heads())
    assert machine.wants() is None
    machine.on_frame(frame((1, 4)))
    assert rows_wanted(machine) == RowsWanted("a", 1, 3)


def test_now_is_the_head_and_a_session_that_begins_later_is_whole() -> None:
    machine = CursorMachine(from_now=True)
    machine.on_frame(frame((1, 5)))
    machine.on_frame(frame((1, 6)))
    machine.on_frame(frame((1, 1), session_id="new"))
    machine.on_heads(heads(Head("a", 1, 5), more=True))
    assert machine.wants() == HeadsWanted(None, "a")
    machine.on_heads(heads(Head("b", 4, 7)))
    assert taken(machine) == [(1, 6)]
    assert rows_wanted(machine) == RowsWanted("new", 0, 0)
    assert decode_cursor(machine.cursor()) == {"a": (1, 6), "b": (4, 7)}
    machine.ask_heads()
    machine.on_heads(heads(Head("new", 1, 1)))
    machine.on_page(rows_wanted(machine), page((1, 1), head=(1, 1), session_id="new"))
    assert taken(machine) == [(1, 1)]
    machine.ask_heads()
    machine.on_heads(heads(Head("c", 1, 2)))
    assert rows_wanted(machine) == RowsWanted("c", 0, 0)


def test_frames_and_heads_of_other_sessions_are_passed_over() -> None:
    machine = CursorMachine("a")
    machine.on_frame(frame((1, 1), session_id="b"))
    machine.on_heads(heads(Head("b", 1, 1)))
    assert machine.wants() is None
    assert machine.phase("b") is Phase.SYNCING


def test_what_arrives_during_a_page_is_joined_to_it() -> None:
    machine = live((1, 1))
    machine.on_frame(frame((1, 3)))
    wanted = rows_wanted(machine)
    machine.on_frame(frame((1, 4)))
    machine.on_frame(frame((1, 6)))
    machine.on_page(wanted, page((1, 2), (1, 3), head=(1, 3)))
    assert taken(machine) == [(1, 2), (1, 3), (1, 4)]
    assert rows_wanted(machine) == RowsWanted("a", 1, 4)
    machine.on_page(rows_wanted(machine), page((1, 5), (1, 6), head=(1, 6)))
    assert taken(machine) == [(1, 5), (1, 6)]
    assert machine.wants() is None


def test_held_frames_are_bounded_and_the_store_makes_up_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cursor_module, "HELD_BYTES_MAX", 3 * len(row("a", 1, 1)))
    machine = live((1, 1))
    machine.on_frame(frame((1, 3)))
    wanted = rows_wanted(machine)
    for number in range(4, 9):
        machine.on_frame(frame((1, number)))
        assert machine._held_bytes <= cursor_module.HELD_BYTES_MAX
    machine.on_frame(frame(*[(1, number) for number in range(9, 13)]))
    machine.on_page(wanted, page((1, 2), (1, 3), head=(1, 3)))
    assert rows_wanted(machine) == RowsWanted("a", 1, 3)
    rest = [(1, number) for number in range(4, 13)]
    machine.on_page(rows_wanted(machine), page(*rest, head=(1, 12)))
    assert taken(machine) == [(1, 2), (1, 3), *rest]
    assert machine.wants() is None
    assert machine._held_bytes == 0


def test_frames_the_store_knows_nothing_of_are_let_go() -> None:
    machine = live((1, 1))
    machine.on_frame(frame((1, 50)))
    machine.on_page(rows_wanted(machine), page(head=(1, 1)))
    assert machine.wants() is None
    assert (machine.phase("a"), machine.garbage) == (Phase.LIVE, 1)
    machine.on_frame(frame((1, 2)))
    assert taken(machine) == [(1, 2)]


def test_garbage_is_replaced_from_the_store() -> None:
    machine = live((1, 1))
    machine.on_frame(RowsFrame("a", b"garbage"))
    machine.on_frame(RowsFrame("a", b"more"))
    machine.on_page(rows_wanted(machine), page((1, 2), head=(1, 2)))
    assert taken(machine) == [(1, 2)]
    assert machine.garbage == 2
    assert rows_wanted(machine) == RowsWanted("a", 1, 2)
    machine.on_page(rows_wanted(machine), page(head=(1, 2)))
    assert machine.wants() is None


def test_an_answer_to_a_question_of_yesterday_is_passed_over() -> None:
    machine = live((1, 1))
    machine.on_frame(frame((1, 3)))
    wanted = rows_wanted(machine)
    machine.on_page(wanted, page((1, 2), (1, 3), head=(1, 3)))
    machine.on_page(wanted, page((1, 2), (1, 3), head=(1, 3)))
    assert taken(machine) == [(1, 2), (1, 3)]


@pytest.mark.parametrize(
    "answer",
    [
        page((1, 2), head=(1, 2), session_id="b"),
        page((1, 3), head=(1, 3)),
        page((1, 2), (1, 4), head=(1, 4)),
        page((2, 2), (1, 3), head=(2, 3)),
        page((1, 1), head=(1, 1)),
        page(head=(1, 2)),
        page(head=(1, 0)),
    ],
)
def test_a_page_that_contradicts_the_request_changes_nothing(answer: RowsReply) -> None:
    machine = live((1, 1))
    machine.on_frame(frame((1, 3)))
    wanted = rows_wanted(machine)
    with pytest.raises(BusProtocolError):
        machine.on_page(wanted, answer)
    assert taken(machine) == []
    assert machine.wants() == wanted


def test_resets_without_end_are_an_error() -> None:
    machine = live((1, 1))
    machine.on_frame(frame((1, 3)))
    for _ in range(RESETS_IN_A_ROW_MAX):
        machine.on_page(rows_wanted(machine), page((1, 1), head=(1, 9), reset=True))
    with pytest.raises(BusProtocolError, match="again and again"):
        machine.on_page(rows_wanted(machine), page((1, 1), head=(1, 9), reset=True))


def test_a_session_that_can_not_be_read_lets_the_others_go_first() -> None:
    machine = CursorMachine()
    machine.on_heads(heads(Head("a", 1, 1), Head("b", 1, 1)))
    assert rows_wanted(machine).session_id == "a"
    machine.postpone("a")
    machine.postpone("unknown")
    assert rows_wanted(machine).session_id == "b"


def beat(number: int, frames: int = 0, *found: Head, instance: str = "i") -> Heartbeat:
    return Heartbeat(instance, number, frames, found)


def asks(machine: CursorMachine, heartbeat: Heartbeat) -> bool:
    machine.on_heartbeat(heartbeat)
    asked = machine.wants() == HeadsWanted(machine.session_id)
    if asked:
        machine.on_heads(heads())
    return asked


def test_heartbeats_of_all_name_heads_or_count_frames() -> None:
    machine = live((1, 1), session_id=None)
    assert asks(machine, beat(1, 1))
    machine.on_frame(frame((1, 2)))
    assert not asks(machine, Heartbeat("i", 2, 2, None)), "too many heads, but nothing was lost"
    assert asks(machine, Heartbeat("i", 3, 5, None)), "frames were lost"
    assert not asks(machine, beat(4, 9))
    assert not asks(machine, beat(5, 10, Head("a", 1, 2)))
    assert not asks(machine, beat(6, 11, Head("a", 1, 3), Head("new", 1, 1)))
    assert rows_wanted(machine) == RowsWanted("a", 1, 2)
    machine.postpone("a")
    assert rows_wanted(machine) == RowsWanted("new", 0, 0)
    assert asks(machine, beat(8, 5)), "a heartbeat was lost"
    assert machine.on_heartbeat(beat(1, 0, instance="other")), "another runtime"
    assert machine.wants() == HeadsWanted(None)


def test_heartbeats_of_one_name_its_head() -> None:
    machine = live((1, 1))
    assert asks(machine, beat(1))
    assert not asks(machine, beat(2, 9))
    assert not asks(machine, beat(3, 9, Head("b", 1, 8), Head("a", 1, 1)))
    assert asks(machine, Heartbeat("i", 4, 9, None))
    assert machine.wants() is None
    machine.on_heartbeat(beat(5, 9, Head("a", 1, 2)))
    assert rows_wanted(machine) == RowsWanted("a", 1, 1)
    assert machine.lagged == 1


def lose(rng: random.Random, wire: list[RowsFrame]) -> list[RowsFrame]:
    """10 % dropped, doubled or moved (figure T1)."""
    out: list[RowsFrame] = []
    for item in wire:
        chance = rng.random()
        if chance < 0.10:
            continue
        out.append(item)
        if chance < 0.20:
            out.append(item)
        elif chance < 0.30 and len(out) > 1:
            out[-1], out[-2] = out[-2], out[-1]
    return out


def answer_all(machine: CursorMachine, stored: Positions, read: Callable[[], None]) -> None:
    for _ in range(10_000):
        match machine.wants():
            case None:
                return
            case HeadsWanted():
                machine.on_heads(heads(Head("a", stored[-1][0], len(stored))))
            case RowsWanted(_, epoch, sequence) as wanted:
                reset = sequence > 0 and stored[sequence - 1][0] != epoch
                rest = stored[0 if reset else sequence :][:7]
                machine.on_page(wanted, page(*rest, head=(stored[-1][0], len(stored)), reset=reset))
        read()
    raise AssertionError("never done asking")


@pytest.mark.parametrize("tenth", range(10))
def test_a_hundred_lossy_lives_end_with_exactly_the_stored_rows(tenth: int) -> None:
    """Figure T1, its fast tier."""
    for seed in range(tenth * 10, tenth * 10 + 10):
        lossy_life(seed)


@pytest.mark.chaos
def test_a_thousand_lossy_lives_end_with_exactly_the_stored_rows() -> None:
    """Figure T1."""
    for seed in range(1000):
        lossy_life(seed)


def lossy_life(seed: int) -> None:
    rng = random.Random(seed)
    stored: Positions = []
    had: Positions = []
    machine = CursorMachine("a")
    epoch = 1

    def read() -> None:
        had.extend(taken(machine))

    while len(stored) < 1000:
        burst = [(epoch, len(stored) + 1 + index) for index in range(rng.randint(1, 20))]
        stored += burst
        wire = [frame(*burst[at : at + 3]) for at in range(0, len(burst), 3)]
        for item in lose(rng, wire):
            machine.on_frame(item)
        match rng.randrange(12):
            case 0:
                epoch += 1  # the runtime was restarted
            case 1:
                read()
                machine = CursorMachine("a", decode_cursor(machine.cursor()))
            case 2 | 3 | 4:
                answer_all(machine, stored, read)
    machine.ask_heads()
    answer_all(machine, stored, read)
    read()
    assert had == stored, f"seed {seed}"
    assert machine.resets == 0, f"seed {seed}"
