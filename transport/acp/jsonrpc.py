"""JSON-RPC 2.0 messages: one line of JSON in, one out (04 3; error codes 04 13.3).

Only the members that are read get decoded; ``params``, ``result`` and ``update`` stay bytes until
someone asks. What is not quite JSON but can be read all the same (bytes that are no UTF-8, lone
surrogates) is mended here, once, so that nobody behind this module ever meets it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from ...actors.errors import RequestError
from .options import (
    DECODED_BYTES_MAX,
    DECODED_DEPTH_MAX,
    DECODED_MEMBERS_MAX,
    ERROR_TEXT_MAX,
    LOG_TEXT_MAX,
)

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
REQUEST_CANCELLED = -32800
AUTH_REQUIRED = -32000
RESOURCE_NOT_FOUND = -32002
NO_COMMON_VERSION = -32022

ERROR_TEXTS = {
    PARSE_ERROR: "Parse error",
    INVALID_REQUEST: "Invalid request",
    METHOD_NOT_FOUND: "Method not found",
    INVALID_PARAMS: "Invalid params",
    INTERNAL_ERROR: "Internal error",
    REQUEST_CANCELLED: "Request cancelled",
}
UPDATE = "session/update"
PEER_GONE = "peer disconnected before response"

Id: TypeAlias = int | float | str | None
"""A request id, canonical: ``1``, ``1.0`` and ``1e0`` are equal, ``"1"`` differs."""


@dataclass(frozen=True, slots=True)
class Request:
    """Wants one answer, under ``raw_id`` exactly as it came."""

    id: Id
    raw_id: bytes
    method: str
    params: bytes


@dataclass(frozen=True, slots=True)
class Notification:
    """Wants no answer."""

    method: str
    params: bytes


class UpdateSeen(msgspec.Struct, frozen=True, gc=False):
    """A ``session/update`` notification, the one message that comes in floods."""

    session_id: str
    update: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a request of ours; ``error`` beats ``result`` (04 3.3)."""

    id: Id
    result: bytes
    error: RequestError | None = None


@dataclass(frozen=True, slots=True)
class BadRequest:
    """A request that can not be served; answered with ``error`` under ``raw_id``."""

    raw_id: bytes
    error: RequestError


@dataclass(frozen=True, slots=True)
class Junk:
    """A line that is no message; logged and skipped."""

    reason: str


Message: TypeAlias = Request | Notification | UpdateSeen | Response | BadRequest | Junk


class _UpdateParams(msgspec.Struct, gc=False, rename="camel"):
    session_id: str
    update: msgspec.Raw


class _UpdateLine(msgspec.Struct, gc=False):
    method: str
    params: _UpdateParams
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Line(msgspec.Struct, gc=False):
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    method: Any = msgspec.UNSET
    params: msgspec.Raw = msgspec.Raw(b"null")
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


_decode_update_line = msgspec.json.Decoder(_UpdateLine).decode
_decode_update_params = msgspec.json.Decoder(_UpdateParams).decode
_decode_line = msgspec.json.Decoder(_Line).decode
_decode_any = msgspec.json.Decoder().decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoders raise for bytes that are not what they were made for."""


def decode(line: bytes) -> Message:
    """One line, classified (04 3.2-3.4). Never raises."""
    message = _decode(line)
    return message if message is not None else _decode_mended(line)


def _decode(line: bytes) -> Message | None:
    """``None`` when the line is not JSON as it stands."""
    if not line.isascii():
        line = line.decode("utf-8", "replace").encode()
    if b'"session/update"' in line:
        try:
            frame = _decode_update_line(line)
        except UNREADABLE:
            pass  # the tolerant way below says what is wrong with it, if anything is
        else:
            if frame.method == UPDATE and frame.id is msgspec.UNSET:
                return UpdateSeen(frame.params.session_id, bytes(frame.params.update))
    try:
        return _classify(_decode_line(line))
    except msgspec.ValidationError:
        return Junk("not a JSON object")
    except UNREADABLE:
        return None


def _decode_mended(line: bytes) -> Message:
    """Once more, by a parser that takes lone surrogates, which are replaced."""
    if len(line) > DECODED_BYTES_MAX:
        return Junk("not JSON")
    try:
        value = json.loads(line)
        mended = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    except (ValueError, RecursionError) as error:
        return Junk(f"not JSON: {error}")
    return _decode(mended) or Junk("not JSON")


def _classify(line: _Line) -> Message:
    if line.id is msgspec.UNSET:
        match line.method:
            case str() as method:
                params = bytes(line.params)
                update = decode_update_params(params) if method == UPDATE else None
                return update or Notification(method, params)
            case msgspec.UNSET:
                return Junk("neither id nor method")
            case _:
                return Junk("method is not a string")
    raw_id = bytes(line.id)
    known, request_id = canonical_id(_decode_any(raw_id))
    if line.method is msgspec.UNSET:
        if not known or request_id is None:
            return Junk("answer with an id that is none of ours")
        error = decode_error(decode_value(bytes(line.error)))
        return Response(request_id, bytes(line.result), error)
    if not known:
        return BadRequest(b"null", rpc_error(INVALID_REQUEST, "id is no number and no string"))
    if not isinstance(line.method, str):
        return BadRequest(raw_id, rpc_error(INVALID_REQUEST, "method is not a string"))
    return Request(request_id, raw_id, line.method, bytes(line.params))


def decode_update_params(params: bytes) -> UpdateSeen | None:
    """The params of ``session/update``, or ``None`` when they can not be used."""
    try:
        decoded = _decode_update_params(params)
    except UNREADABLE:
        return None
    return UpdateSeen(decoded.session_id, bytes(decoded.update))


def canonical_id(value: Any) -> tuple[bool, Id]:
    """Whether ``value`` can be an id, and the id; equality of Python numbers is the rule."""
    match value:
        case bool():
            return False, None
        case int() | float() | str() | None:
            return True, value
        case _:
            return False, None


def decode_error(value: Any) -> RequestError | None:
    """The ``error`` member of an answer; one that is malformed is an error all the same."""
    match value:
        case None:
            return None
        case {"code": int() as code, "message": str() as message, **rest} if type(code) is int:
            return RequestError(message, code=code, data=rest.get("data"))
        case {"message": str() as message}:
            return RequestError(message, code=INTERNAL_ERROR, data=value.get("data"))
        case _:
            return RequestError("malformed error", code=INTERNAL_ERROR, data=value)


def decode_value(data: bytes) -> Any:
    """Any JSON value of a message that was decoded here; ``None`` for a number out of range.

    Of a value longer than ``DECODED_BYTES_MAX`` all texts near the top are read and as much else;
    in the place of what is left out stands a text that says so.
    """
    try:
        if len(data) <= DECODED_BYTES_MAX:
            return _decode_any(data)
        return _decode_large(data, DECODED_DEPTH_MAX, [DECODED_BYTES_MAX])
    except UNREADABLE:
        return None


def _decode_large(data: bytes, depth: int, left: list[int]) -> Any:
    """``left``: bytes that may still be decoded, of the whole value."""
    if data.startswith(b'"'):
        return _decode_any(data)
    if len(data) <= left[0]:
        left[0] -= len(data)
        return _decode_any(data)
    if data.startswith(b"{") and depth:
        members = _decode_members(data)
        if len(members) <= DECODED_MEMBERS_MAX:
            return {
                name: _decode_large(bytes(value), depth - 1, left)
                for name, value in members.items()
            }
    return f"[{len(data)} bytes left out]"


def decode_object(data: bytes) -> dict[str, Any] | None:
    """As :func:`decode_value`, and ``None`` for everything that is no object."""
    value = decode_value(data)
    return value if isinstance(value, dict) else None


def encode_request(request_id: int, method: str, params: Any) -> bytes:
    """A request of ours as one line."""
    return _line({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})


def encode_notification(method: str, params: Any) -> bytes:
    """A notification of ours as one line."""
    return _line({"jsonrpc": "2.0", "method": method, "params": params})


def encode_result(raw_id: bytes, result: Any) -> bytes:
    """The answer to a request of the agent as one line."""
    return _line({"jsonrpc": "2.0", "id": msgspec.Raw(raw_id), "result": result})


def encode_error(raw_id: bytes, error: RequestError) -> bytes:
    """The refusal of a request of the agent as one line."""
    body: dict[str, Any] = {"code": error.code, "message": str(error)}
    if error.data is not None:
        body["data"] = error.data
    return _line({"jsonrpc": "2.0", "id": msgspec.Raw(raw_id), "error": body})


def _line(message: dict[str, Any]) -> bytes:
    try:
        return _encode(message) + b"\n"
    except UnicodeEncodeError:
        # Lone surrogates of ours (a file name, pasted text) must not lose the whole message.
        message = {name: _without_surrogates(value) for name, value in message.items()}
        return _encode(message) + b"\n"


def _without_surrogates(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
        case list() | tuple():
            return [_without_surrogates(item) for item in value]
        case _:
            return value


def rpc_error(code: int, detail: str = "", **data: Any) -> RequestError:
    """An error of ours: the standard text of the code, ``detail`` as ``data.error``."""
    if detail:
        data["error"] = detail
    return RequestError(ERROR_TEXTS.get(code, "Error"), code=code, data=data or None)


def error_text(error: RequestError) -> str:
    """Message and data as one text, for people and for classification (04 8); its beginning."""
    message = str(error)[:ERROR_TEXT_MAX]
    match error.data:
        case None:
            return message
        case {"error": str() as detail, **rest} if not rest:
            text = f"{message}: {detail}"
        case str() as detail:
            text = f"{message}: {detail}"
        case data:
            text = f"{message}: {json.dumps(data, ensure_ascii=False, default=str)}"
    return text[:ERROR_TEXT_MAX]


def excerpt(text: str) -> str:
    """Agent text cut for a log line."""
    return text if len(text) <= LOG_TEXT_MAX else text[:LOG_TEXT_MAX] + "..."
