"""Messages of the control plane, errors as they travel, and what is remembered of calls."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from greenroom.actors.errors import SessionError, SessionNotFoundError
from greenroom.transport.bus import window as window_module
from greenroom.transport.bus.control import (
    CREDIT_MAX,
    VERB_CHARS_MAX,
    Answer,
    CallId,
    CallMessage,
    CancelMessage,
    EndAnswer,
    ErrorAnswer,
    GrantMessage,
    ItemAnswer,
    Message,
    OkAnswer,
    PingAnswer,
    UnknownAnswer,
    decode_answer,
    decode_message,
    encode_answer,
    encode_message,
    number_in,
    plain,
)
from greenroom.transport.bus.error_table import TEXT_CHARS_MAX, ErrorTable
from greenroom.transport.bus.errors import (
    BusOverloadedError,
    BusProtocolError,
    BusRemoteError,
    BusTimeoutError,
    RequestExpiredError,
)
from greenroom.transport.bus.window import ANSWER_S, Window
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = st.integers(0, 2**63 - 1)
POSITIVE = st.integers(1, 2**63 - 1)
IDS = st.builds(CallId, st.binary(min_size=16, max_size=16), POSITIVE)
SCALARS = st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.text() | st.binary()
PLAIN = st.recursive(
    SCALARS | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
MAPS = st.dictionaries(st.text(), PLAIN, max_size=4)
VERBS = st.text(min_size=1, max_size=VERB_CHARS_MAX)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        CallMessage, IDS, VERBS, MAPS, st.none() | NUMBERS, NUMBERS, st.integers(0, CREDIT_MAX)
    ),
    st.builds(
        lambda id, had, more, again: GrantMessage(id, had, had + more, again),
        IDS,
        st.integers(0, 2**40),
        st.integers(0, CREDIT_MAX),
        st.booleans(),
    ),
    st.builds(CancelMessage, IDS),
)
ANSWERS: st.SearchStrategy[Answer] = st.one_of(
    st.builds(OkAnswer, NUMBERS, PLAIN),
    st.builds(ErrorAnswer, NUMBERS, st.text(), st.text(), MAPS),
    st.builds(ItemAnswer, NUMBERS, POSITIVE, PLAIN),
    st.builds(EndAnswer, NUMBERS, NUMBERS),
    st.builds(UnknownAnswer, NUMBERS),
    st.just(PingAnswer()),
)
JUNK = st.recursive(
    SCALARS | st.floats() | st.builds(cbor2.CBORTag, st.integers(1000, 2000), SCALARS),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=12,
)


@given(MESSAGES)
def test_messages_come_back(message: Message) -> None:
    data = encode_message(message)
    assert decode_message(data) == message
    assert number_in(data) == message.id.number


@given(ANSWERS)
def test_answers_come_back(answer: Answer) -> None:
    assert decode_answer(encode_answer(answer)) == answer


@given(st.binary(max_size=300))
def test_whatever_the_bytes_it_is_a_message_or_refused(data: bytes) -> None:
    for decode in (decode_message, decode_answer):
        try:
            decode(data)
        except BusProtocolError:
            continue
    assert number_in(data) >= 0


@given(MESSAGES, st.integers(0, 300), st.integers(0, 255))
def test_a_flipped_byte_is_a_message_or_refused(message: Message, at: int, byte: int) -> None:
    data = bytearray(encode_message(message))
    data[at % len(data)] = byte
    try:
        decode_message(bytes(data))
    except BusProtocolError:
        return


@given(
    st.sampled_from(["call", "grant", "poke", "cancel", "ok", "error", "item", "end"]),
    st.lists(JUNK, max_size=8),
)
def test_known_kinds_with_junk_in_them(kind: str, junk: list[Any]) -> None:
    data = cbor2.dumps([1, kind, *junk])
    for decode in (decode_message, decode_answer):
        try:
            decode(data)
        except BusProtocolError:
            continue


def test_another_version_is_named() -> None:
    with pytest.raises(BusProtocolError) as caught:
        decode_message(cbor2.dumps([2, "cancel", b"c" * 16, 1]))
    assert caught.value.version == 2
    assert number_in(cbor2.dumps([2, "cancel", b"c" * 16, 7])) == 7
    assert number_in(cbor2.dumps({"a": 1})) == 0


def test_credit_is_bounded() -> None:
    id = CallId(b"c" * 16, 1)
    call = decode_message(encode_message(CallMessage(id, "v", {}, credit=10**9)))
    assert call == CallMessage(id, "v", {}, credit=CREDIT_MAX)
    grant = decode_message(encode_message(GrantMessage(id, 5, 10**9)))
    assert grant == GrantMessage(id, 5, 5 + CREDIT_MAX)


@pytest.mark.parametrize("verb", ["", "v" * (VERB_CHARS_MAX + 1)])
def test_a_verb_has_a_length(verb: str) -> None:
    with pytest.raises(BusProtocolError):
        decode_message(encode_message(CallMessage(CallId(b"c" * 16, 1), verb, {})))


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [object(), {1: 2}, [{"a": {2}}], (1,), nested(100), [[0] * 1001] * 1000],
    ids=["object", "key", "set", "tuple", "deep", "large"],
)
def test_what_is_no_plain_data(value: Any) -> None:
    with pytest.raises(BusProtocolError):
        plain(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value += [value, value]
    with pytest.raises(BusProtocolError, match="too"):
        plain(value)


def test_a_value_that_can_not_be_encoded_is_refused() -> None:
    with pytest.raises(BusProtocolError, match="no plain form"):
        encode_answer(OkAnswer(1, object()))


# -- errors -----------------------------------------------------------------------------------


class Odd(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


class Deep(SessionNotFoundError):
    """A class that the table does not know, of one that it does."""


def test_errors_travel_by_their_nearest_known_class() -> None:
    table = ErrorTable([SessionError, SessionNotFoundError, Odd])
    apart = table.take_apart(Deep("gone", session_id="s", state=Deep))
    assert apart is not None
    name, message, fields = apart
    assert (name, message, fields["session_id"]) == ("SessionNotFoundError", "gone", "s")
    assert isinstance(fields["state"], str)
    again = table.rebuild(*apart)
    assert type(again) is SessionNotFoundError
    assert again.session_id == "s"
    assert table.take_apart(ZeroDivisionError()) is None
    assert table.take_apart(ValueError("x" * 10**6)) == ("ValueError", "x" * TEXT_CHARS_MAX, {})
    late = table.rebuild(*table.take_apart(BusTimeoutError("late", timeout_s=1.0)) or ())
    assert isinstance(late, BusTimeoutError)
    assert late.timeout_s == 1.0
    assert isinstance(table.rebuild("Nobody", "m", {}), BusRemoteError)
    assert isinstance(table.rebuild("Odd", "m", {}), BusRemoteError)


# -- what is remembered -----------------------------------------------------------------------


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def call(number: int, client: bytes = b"c" * 16) -> CallId:
    return CallId(client, number)


def test_answers_are_forgotten_in_time_and_do_not_run_again() -> None:
    clock = Clock()
    window = Window(clock)
    first = window.begin(call(1), b"p", 0.0, 0)
    running = window.begin(call(2), b"p", 0.0, 0)
    window.answered(first, b"answer")
    clock.now += ANSWER_S - 1
    window.expire()
    assert window.find(call(1)) is first
    clock.now += 2
    window.expire()
    assert window.find(call(1)) is None
    assert window.find(call(2)) is running
    with pytest.raises(RequestExpiredError) as caught:
        window.begin(call(1), b"p", ANSWER_S / 2, 0)
    assert caught.value.request_id == str(call(1))
    window.answered(running, b"")
    clock.now += ANSWER_S + 1
    window.expire()
    assert not window._callers
    assert window.running == 0
    with pytest.raises(RequestExpiredError):
        window.begin(call(2), b"p", ANSWER_S + 1, 0)
    assert window.begin(call(3), b"p", 0.0, 0)


def test_answers_are_bounded_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_module, "ANSWER_BYTES_MAX", 100)
    window = Window(Clock())
    for number in range(1, 6):
        window.answered(window.begin(call(number), b"p", 0.0, 0), b"x" * 40)
    assert [window.find(call(number)) is not None for number in range(1, 6)] == [
        False, False, False, True, True,
    ]  # fmt: skip
    window.answered(window.begin(call(9), b"p", 0.0, 0), b"x" * 400)
    assert window.find(call(9)) is not None, "the newest stays whatever its size"
    with pytest.raises(RequestExpiredError):
        window.begin(call(2), b"p", 1.0, 0)


def test_answers_of_one_caller_are_bounded_and_leave_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window_module, "ANSWERS_MAX", 3)
    clock = Clock()
    window = Window(clock)
    for number in range(1, 100):
        window.answered(window.begin(call(number), b"p", 0.0, 0), b"x")
    assert [n for n in range(1, 100) if window.find(call(n))] == [97, 98, 99]
    window.expire()
    assert len(window._answers) <= 4
    clock.now += ANSWER_S + 1
    window.expire()
    assert not window._answers
    assert window._answer_bytes == 0


def test_callers_are_bounded_until_some_were_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_module, "CALLERS_MAX", 2)
    clock = Clock()
    window = Window(clock)
    for client in (b"1" * 16, b"2" * 16):
        window.answered(window.begin(call(1, client), b"p", 0.0, 0), b"")
    with pytest.raises(BusOverloadedError):
        window.begin(call(1, b"3" * 16), b"p", 0.0, 0)
    clock.now += ANSWER_S + 1
    assert window.begin(call(1, b"3" * 16), b"p", 0.0, 0)


def test_grants_only_go_forward() -> None:
    window = Window(Clock())
    stream = window.begin(call(1), b"p", 0.0, 2)
    for index in (1, 2, 3):
        stream.add_item(index, b"abc")
    stream.grant(2, 5)
    assert [index for index, _ in stream.items] == [3]
    assert stream.items_bytes == 3
    stream.grant(1, 4)
    assert (stream.had, stream.until) == (2, 5)
    stream.grant(99, 6)
    assert (stream.had, stream.items_bytes) == (3, 0), "no more than was sent"
    window.hear(stream, b"other")
    assert stream.peer == b"other"
