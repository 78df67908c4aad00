"""``wire.cddl`` against everything that really travels, with a reader of the CDDL it uses.

The reader knows what the file needs of RFC 8610 and refuses anything else by raising, so a rule it
can not read fails here instead of passing unseen.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import cbor2
import pytest
import zmq
from greenroom.actors.model.event import AgentEvent, RawJSON, TokenUsage
from greenroom.actors.model.failure import FailureKind, SessionFailure
from greenroom.storage.format.envelope import MEMBERS
from greenroom.storage.format.rows import encode_row, encode_text_row
from greenroom.transport.bus import (
    catchup,
    control,
    control_client,
    frames,
    publisher,
    window,
)
from greenroom.transport.bus.catchup import (
    ErrorReply,
    HeadsReply,
    HeadsRequest,
    RowsRequest,
    encode_page,
    encode_reply,
    encode_request,
)
from greenroom.transport.bus.fields import Head
from greenroom.transport.bus.frames import Heartbeat, encode_heartbeat
from greenroom.transport.bus.positions import encode_cursor

FOLDER = resources.files("greenroom.transport.bus")
CDDL = (FOLDER / "wire.cddl").read_text()
DOCUMENT = (FOLDER / "WIRE.md").read_text()
NOW = datetime(2026, 4, 3, tzinfo=UTC)

# -- a reader of CDDL -------------------------------------------------------------------------

Check = Callable[[Any], bool]
_TOKEN = re.compile(
    r";[^\n]*|\s+|(\"(?:[^\"\\]|\\.)*\"|=>|\.\.|\.[a-z]+|#6\.[0-9]+|[0-9]+"
    r"|[A-Za-z][A-Za-z0-9_-]*|[=/\[\]{}()*?:,])"
)
_PRELUDE: dict[str, Check] = {
    "any": lambda value: True,
    "null": lambda value: value is None,
    "bool": lambda value: type(value) is bool,
    "int": lambda value: type(value) is int,
    "float": lambda value: type(value) is float,
    "tstr": lambda value: type(value) is str,
    "bstr": lambda value: type(value) is bytes,
}


class Schema:
    """Rules by name, each a check."""

    def __init__(self, text: str) -> None:
        self.tokens = [match for match in _tokens(text) if match]
        self.at = 0
        self.rules: dict[str, Check] = {}
        while self.at < len(self.tokens):
            name = self.take()
            self.expect("=")
            assert name not in self.rules, name
            assert name not in _PRELUDE, name
            self.rules[name] = self.type()

    def check(self, rule: str, value: Any) -> bool:
        return self.rules[rule](value)

    def peek(self, ahead: int = 0) -> str:
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else ""

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def expect(self, token: str) -> None:
        found = self.take()
        assert found == token, f"{found!r} instead of {token!r}"

    def type(self) -> Check:
        choices = [self.bounded()]
        while self.peek() == "/":
            self.take()
            choices.append(self.bounded())
        return lambda value: any(choice(value) for choice in choices)

    def bounded(self) -> Check:
        start = self.peek()
        check = self.single()
        match self.peek():
            case "..":
                self.take()
                low, high = int(start), int(self.take())
                return lambda value: type(value) is int and low <= value <= high
            case ".size":
                self.take()
                size = int(self.take())
                return lambda value: check(value) and len(value) == size
            case ".regexp":
                self.take()
                pattern = re.compile(_text(self.take()))
                return lambda value: check(value) and pattern.fullmatch(value) is not None
            case other:
                assert not other.startswith("."), f"{other} is not known"
                return check

    def single(self) -> Check:
        token = self.take()
        if token == "[":
            return self.array()
        if token == "{":
            return self.map()
        if token.startswith('"'):
            text = _text(token)
            return lambda value: value == text
        if token.isdigit():
            number = int(token)
            return lambda value: type(value) is int and value == number
        if token.startswith("#6."):
            self.expect("(")
            inner = self.type()
            self.expect(")")
            tag = int(token[3:])
            return lambda value: (
                isinstance(value, cbor2.CBORTag) and value.tag == tag and inner(value.value)
            )
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", token), token
        if token in _PRELUDE:
            return _PRELUDE[token]
        return lambda value: self.rules[token](value)

    def array(self) -> Check:
        entries: list[tuple[float, Check]] = []
        while self.peek() != "]":
            many = self.peek() == "*"
            self.at += many
            if self.peek(1) == ":":
                self.at += 2
            entries.append((math.inf if many else 1, self.type()))
            self.at += self.peek() == ","
        self.take()
        return lambda value: type(value) is list and _follow(entries, value)

    def map(self) -> Check:
        members: list[tuple[Check, Check]] = []
        while self.peek() != "}":
            assert self.take() in "*?", "members of our maps are optional"
            key = self.type()
            self.expect("=>")
            members.append((key, self.type()))
            self.at += self.peek() == ","
        self.take()
        return lambda value: (
            type(value) is dict
            and all(
                any(key(name) and check(item) for key, check in members)
                for name, item in value.items()
            )
        )


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match, text[at : at + 30]
        yield match[1] or ""
        at = match.end()


def _text(token: str) -> str:
    return token[1:-1].encode().decode("unicode_escape")


def _follow(entries: Sequence[tuple[float, Check]], values: list[Any]) -> bool:
    if not entries:
        return not values
    (times, check), rest = entries[0], entries[1:]
    if times == 1:
        return bool(values) and check(values[0]) and _follow(rest, values[1:])
    assert not rest, "a repeated entry stands last in our arrays"
    return all(check(value) for value in values)


SCHEMA = Schema(CDDL)


def fits(rule: str, data: bytes) -> bool:
    return SCHEMA.check(rule, cbor2.loads(data))


# -- what travels -----------------------------------------------------------------------------

FULL = AgentEvent(
    type="usage",
    session_id="agents-own",
    turn_id="t",
    lease_until=NOW,
    timestamp=NOW,
    text="häm",
    title="T",
    failure=SessionFailure(FailureKind.TIMEOUT, "s", "p"),
    synthetic={"reason": "x"},
    usage=TokenUsage(input_tokens=3, cost_amount=0.5, timestamp=NOW),
    runtime={"elapsed_s": 1.5, "nested": {"a": [1, None]}},
    raw=RawJSON(b'{"a": 1}'),
)


def row(event: AgentEvent, session_id: str = "a") -> bytes:
    return encode_row(
        session_id=session_id,
        epoch=1,
        sequence=1,
        id="ev",
        turn_id="t",
        type=event.type,
        agent_name="n",
        timestamp=NOW,
        event=event,
    )


PLAIN_TEXT_ROW = encode_text_row(
    session_id="a", epoch=1, sequence=1, id="e", turn_id="t", type="x", agent_name="n",
    timestamp=NOW, content="any text",
)  # fmt: skip
ID = control.CallId(b"c" * 16, 3)
ARGS = {"text": "x", "list": [1, None, 2.5, b"b", {"deep": True}]}

TRAVELS: list[tuple[str, bytes]] = [
    ("row", row(FULL)),
    ("row", row(AgentEvent(type="unheard_of", timestamp=NOW, raw=RawJSON(b"{}")))),
    ("row", PLAIN_TEXT_ROW),
    ("heartbeat", encode_heartbeat(Heartbeat("i", 1, 2, None))[2:]),
    ("heartbeat", encode_heartbeat(Heartbeat("i", 1, 2, (Head("a", 1, 2), Head("b", 0, 0))))[2:]),
    ("request", encode_request(HeadsRequest(1, None))),
    ("request", encode_request(HeadsRequest(1, "a", "b"))),
    ("request", encode_request(RowsRequest(1, "a", 0, 0))),
    ("reply", encode_reply(HeadsReply(1, (Head("a", 1, 2),), True))),
    ("reply", encode_reply(ErrorReply(1, "no"))),
    ("reply", encode_page(RowsRequest(1, "a", 0, 0), [row(FULL)], (1, 1), False)),
    ("call-message", control.encode_message(control.CallMessage(ID, "verb", ARGS, 5, 6, 7))),
    ("call-message", control.encode_message(control.CallMessage(ID, "verb", {}))),
    ("call-message", control.encode_message(control.GrantMessage(ID, 1, 2))),
    ("call-message", control.encode_message(control.GrantMessage(ID, 1, 2, again=True))),
    ("call-message", control.encode_message(control.CancelMessage(ID))),
    ("answer", control.encode_answer(control.OkAnswer(1, [ARGS]))),
    ("answer", control.encode_answer(control.ErrorAnswer(1, "E", "m", {"a": 1}))),
    ("answer", control.encode_answer(control.ItemAnswer(1, 1, None))),
    ("answer", control.encode_answer(control.EndAnswer(1, 0))),
    ("answer", control.encode_answer(control.UnknownAnswer(1))),
    ("answer", control.encode_answer(control.PingAnswer())),
    ("cursor", base64.urlsafe_b64decode(encode_cursor({"a": (1, 2), "b": (0, 0)})[4:])),
]


@pytest.mark.parametrize(("rule", "data"), TRAVELS)
def test_what_is_sent_fits_the_schema(rule: str, data: bytes) -> None:
    assert fits(rule, data)


@pytest.mark.parametrize(("rule", "data"), TRAVELS)
def test_what_is_one_member_too_long_or_short_does_not(rule: str, data: bytes) -> None:
    value = cbor2.loads(data)
    if rule == "cursor":
        value = value[0]
        assert SCHEMA.check("cursor", [value])
        assert not SCHEMA.check("cursor", [value[:-1]])
        return
    assert not SCHEMA.check(rule, [*value, 3])
    assert not SCHEMA.check(rule, value[:-1])


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("heartbeat", [2, "i", 1, 2, None]),
        ("heartbeat", [1, "i", -1, 2, None]),
        ("heartbeat", [1, "i", 1, 2**63, None]),
        ("heartbeat", [1, "i", 1, 2, [["a", 1]]]),
        ("request", [1, 2, "heads", 3, ""]),
        ("reply", [1, 2, "rows", "a", "", 1, 2, False]),
        ("call-message", [1, "call", b"c" * 15, 1, "v", {}, None, 0, 0]),
        ("call-message", [1, "call", b"c" * 16, 0, "v", {}, None, 0, 0]),
        ("call-message", [1, "call", b"c" * 16, 1, "v", {1: 1}, None, 0, 0]),
        ("answer", [1, "pong"]),
        ("row", ["a\0", 1, 1, "e", "t", "u", "n", "2026-04-03T00:00:00.000000000Z", "x"]),
        ("row", ["a", 1, 1, "e", "t", "u", "n", "2026-04-03T00:00:00Z", "x"]),
        ("envelope", ["greenroom.event.v2", "usage"]),
        ("envelope", ["greenroom.event.v1", "usage", 3]),
    ],
)
def test_what_is_none_does_not_fit(rule: str, value: Any) -> None:
    assert not SCHEMA.check(rule, value)


def test_real_sockets_carry_what_the_schema_says(runtime: Any) -> None:
    runtime.add("a", 2)
    context: zmq.Context[Any] = zmq.Context()
    try:
        events, control_socket = context.socket(zmq.SUB), context.socket(zmq.DEALER)
        for sock in (events, control_socket):
            sock.setsockopt(zmq.RCVTIMEO, 20_000)
        events.setsockopt(zmq.SUBSCRIBE, b"")
        events.connect(runtime.publisher.endpoints.events)
        control_socket.connect(runtime.publisher.endpoints.control)
        kinds: set[str] = set()
        while kinds != {"h", "s/a"}:
            runtime.add("a", 3)
            topic, _, body = events.recv().partition(b"\0")
            kinds.add(topic.decode())
            stream = io.BytesIO(body)
            while stream.tell() < len(body):
                rule = "heartbeat" if topic == b"h" else "row"
                assert SCHEMA.check(rule, cbor2.load(stream))
        for request in (HeadsRequest(1, None), RowsRequest(2, "a", 0, 0), b"garbage"):
            sent = request if isinstance(request, bytes) else encode_request(request)
            control_socket.send(sent)
            reply = control_socket.recv()
            assert fits("reply", reply)
    finally:
        context.destroy(linger=0)


def test_the_document_names_every_member_of_the_envelope_in_order() -> None:
    section = DOCUMENT.split("<!-- members -->")[1]
    named = re.findall(r"`([a-z_]+)`", section)
    assert named == list(MEMBERS)


def test_the_document_quotes_the_limits_that_the_code_has() -> None:
    section = DOCUMENT.split("<!-- limits -->")[1]
    for value in (
        frames.FRAME_BYTES_MAX,
        frames.MESSAGE_BYTES_MAX,
        frames.HEARTBEAT_HEADS_MAX,
        catchup.REQUEST_BYTES_MAX,
        catchup.PAGE_BYTES_MAX,
        catchup.HEADS_PER_REPLY_MAX,
        control.CALL_BYTES_MAX,
        control.CREDIT_MAX,
        window.CALLS_PER_CALLER_MAX,
    ):
        assert f"| {value:,} |".replace(",", " ") in section, value
    assert f"| {publisher.HEARTBEAT_S} s |" in section
    assert f"| {window.ANSWER_S:.0f} s |" in section
    assert control_client.POKE_S == 1.0


def test_an_independent_parser_reads_the_schema(tmp_path: Path) -> None:
    pycddl = pytest.importorskip("pycddl", reason="pycddl is not installed: schema not cross-read")
    pycddl.Schema(f"start = row\n{CDDL}")
