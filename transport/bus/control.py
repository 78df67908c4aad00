"""Messages of the control plane, to bytes and back; pure.

Calls go to a runtime over a DEALER and are answered over its ROUTER, one ZeroMQ frame each, a CBOR
array ``[version, kind, ...]``. A call is named by its caller, 16 random bytes, and a number that
grows; resent under the same name it takes effect once.

=========== ================================================================================
to runtime
=========== ================================================================================
``call``    ``client, number, verb, args, deadline_ms | null, age_ms, credit``
``grant``   ``client, number, had, until``: items up to ``had`` have arrived, send to ``until``
``poke``    the same, and whatever was sent after ``had``, or the answer, is sent again
``cancel``  ``client, number``
=========== ================================================================================

=========== ================================================================================
to caller
=========== ================================================================================
``ok``      ``number, result``
``error``   ``number, class, message, fields``
``item``    ``number, index, value``: the ``index``-th of a stream, from 1
``end``     ``number, count``: the stream had that many items
``unknown`` ``number``: answers ``poke``; the runtime never saw the call, or is another one
``ping``    nothing; shows the runtime that the caller is still connected
=========== ================================================================================

Whatever the bytes, decoding gives a message or raises :class:`BusProtocolError`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import cbor2
import msgspec

from .errors import BusProtocolError
from .fields import VERSION, number_of, versioned

CALL_BYTES_MAX = 40 * 1024 * 1024
"""The longest message a runtime takes: a prompt of the longest row, and some."""
CLIENT_BYTES = 16
VERB_CHARS_MAX = 100
CREDIT_MAX = 1000
"""Items of a stream that may be on their way at once."""
_DEPTH_MAX = 64
_NODES_MAX = 1_000_000


class CallId(msgspec.Struct, frozen=True):
    """The name of a call, the same each time it is sent."""

    client: bytes
    number: int

    def __str__(self) -> str:
        return f"{self.client.hex()}.{self.number}"


class CallMessage(msgspec.Struct, frozen=True):
    """Do something.

    :param deadline_ms: milliseconds it may take from now on; ``None`` is no limit.
    :param age_ms: since it was sent first; 0 then.
    :param credit: items that may be sent before a grant, if it is a stream.
    """

    id: CallId
    verb: str
    args: dict[str, Any]
    deadline_ms: int | None = None
    age_ms: int = 0
    credit: int = 0


class GrantMessage(msgspec.Struct, frozen=True):
    """More credit for a stream; with ``again``, also what may have been lost."""

    id: CallId
    had: int
    until: int
    again: bool = False


class CancelMessage(msgspec.Struct, frozen=True):
    """The caller wants no answer any more."""

    id: CallId


class OkAnswer(msgspec.Struct, frozen=True):
    """A call's result."""

    number: int
    result: Any


class ErrorAnswer(msgspec.Struct, frozen=True):
    """A call failed: the class of the exception, its text and its fields."""

    number: int
    name: str
    message: str
    fields: dict[str, Any]


class ItemAnswer(msgspec.Struct, frozen=True):
    """One item of a stream."""

    number: int
    index: int
    value: Any


class EndAnswer(msgspec.Struct, frozen=True):
    """A stream is complete."""

    number: int
    count: int


class UnknownAnswer(msgspec.Struct, frozen=True):
    """The runtime does not know that call."""

    number: int


class PingAnswer(msgspec.Struct, frozen=True):
    """Nothing."""


Message: TypeAlias = CallMessage | GrantMessage | CancelMessage
Answer: TypeAlias = OkAnswer | ErrorAnswer | ItemAnswer | EndAnswer | UnknownAnswer | PingAnswer
PING = cbor2.dumps([VERSION, "ping"])


def encode_message(message: Message) -> bytes:
    """A message to a runtime.

    :raises BusProtocolError: an argument that has no plain form.
    """
    match message:
        case CallMessage(CallId(client, number), verb, args, deadline_ms, age_ms, credit):
            return _dump("call", client, number, verb, args, deadline_ms, age_ms, credit)
        case GrantMessage(CallId(client, number), had, until, again):
            return _dump("poke" if again else "grant", client, number, had, until)
        case CancelMessage(CallId(client, number)):
            return _dump("cancel", client, number)


def decode_message(data: bytes) -> Message:
    """A message to a runtime.

    :raises BusProtocolError: it is none, or of another version.
    """
    match versioned(data, "call"):
        case ["call", client, number, verb, args, deadline_ms, age_ms, credit]:
            if type(verb) is not str or not 0 < len(verb) <= VERB_CHARS_MAX:
                raise BusProtocolError("call: no name of a verb")
            return CallMessage(
                _id(client, number),
                verb,
                plain_map(args),
                None if deadline_ms is None else number_of(deadline_ms),
                number_of(age_ms),
                min(number_of(credit), CREDIT_MAX),
            )
        case [("grant" | "poke") as kind, client, number, had, until]:
            start = number_of(had)
            end = min(number_of(until), start + CREDIT_MAX)
            return GrantMessage(_id(client, number), start, end, kind == "poke")
        case ["cancel", client, number]:
            return CancelMessage(_id(client, number))
        case _:
            raise BusProtocolError("call: unknown kind or fields")


def number_in(data: bytes) -> int:
    """The number of what may be a call of any version; 0 when there is none to see."""
    try:
        document = cbor2.loads(data)
        return number_of(document[3]) if type(document) is list else 0
    except Exception:  # whatever a decoder makes of garbage, it is garbage
        return 0


def encode_answer(answer: Answer) -> bytes:
    """A message to a caller.

    :raises BusProtocolError: a value that has no plain form.
    """
    match answer:
        case OkAnswer(number, result):
            return _dump("ok", number, result)
        case ErrorAnswer(number, name, message, fields):
            return _dump("error", number, name, message, fields)
        case ItemAnswer(number, index, value):
            return _dump("item", number, index, value)
        case EndAnswer(number, count):
            return _dump("end", number, count)
        case UnknownAnswer(number):
            return _dump("unknown", number)
        case PingAnswer():
            return PING


def decode_answer(data: bytes) -> Answer:
    """A message to a caller.

    :raises BusProtocolError: it is none, or of another version.
    """
    match versioned(data, "answer"):
        case ["ok", number, result]:
            return OkAnswer(number_of(number), plain(result))
        case ["error", number, str(name), str(message), fields]:
            return ErrorAnswer(number_of(number), name, message, plain_map(fields))
        case ["item", number, index, value]:
            return ItemAnswer(number_of(number), number_of(index), plain(value))
        case ["end", number, count]:
            return EndAnswer(number_of(number), number_of(count))
        case ["unknown", number]:
            return UnknownAnswer(number_of(number))
        case ["ping"]:
            return PingAnswer()
        case _:
            raise BusProtocolError("answer: unknown kind or fields")


def plain(value: Any) -> Any:
    """A value made of null, booleans, numbers, text, bytes, lists, and maps with text keys.

    :raises BusProtocolError: it has anything else in it, or is too deep or too large.
    """
    kind = type(value)
    if kind in _SCALARS or (kind is dict and _is_flat(value)):
        return value
    left = _NODES_MAX
    level = [value]
    for _ in range(_DEPTH_MAX):
        if not level:
            return value
        left -= len(level)
        if left < 0:
            break
        following: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is list:
                following += item
            elif kind is dict:
                if not _TEXT.issuperset(map(type, item)):
                    raise BusProtocolError("a map has a key that is no text")
                following += item.values()
            elif kind not in _SCALARS:
                raise BusProtocolError(f"a {kind.__name__} has no plain form")
            if len(following) > left:
                raise BusProtocolError("a value is too large")
        level = following
    raise BusProtocolError("a value is too deep or too large")


def plain_map(value: Any) -> dict[str, Any]:
    """A map of plain values by text.

    :raises BusProtocolError: it is none; see :func:`plain`.
    """
    if type(value) is not dict:
        raise BusProtocolError("a field is no map")
    checked: dict[str, Any] = plain(value)
    return checked


_TEXT = frozenset({str})
_SCALARS = frozenset({type(None), bool, int, float, str, bytes})


def _is_flat(value: dict[Any, Any]) -> bool:
    return (
        len(value) < _NODES_MAX
        and _TEXT.issuperset(map(type, value))
        and _SCALARS.issuperset(map(type, value.values()))
    )


def _id(client: Any, number: Any) -> CallId:
    if type(client) is not bytes or len(client) != CLIENT_BYTES or number_of(number) == 0:
        raise BusProtocolError("call: no name of a call")
    return CallId(client, number)


def _dump(*fields: Any) -> bytes:
    try:
        return cbor2.dumps([VERSION, *fields])
    except Exception as error:  # an encoder refuses in many ways
        raise BusProtocolError(f"a value has no plain form: {error}") from error
