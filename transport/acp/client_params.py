"""The params of the files and terminals an agent asks for, with their types checked (04 5.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import jsonrpc, methods
from .jsonrpc import decode_object, rpc_error
from .readers import count

TEXT = "text"
NUMBER = "number"
TEXTS = "texts"
PAIRS = "pairs"
TERMINAL_ID = (("terminalId", TEXT, True),)
MEMBERS: dict[str, tuple[tuple[str, str, bool], ...]] = {
    # method: (member, kind, required)
    methods.READ_FILE: (("path", TEXT, True), ("line", NUMBER, False), ("limit", NUMBER, False)),
    methods.WRITE_FILE: (("path", TEXT, True), ("content", TEXT, True)),
    methods.TERMINAL_CREATE: (
        ("command", TEXT, True),
        ("args", TEXTS, False),
        ("env", PAIRS, False),
        ("cwd", TEXT, False),
        ("outputByteLimit", NUMBER, False),
    ),
    methods.TERMINAL_OUTPUT: TERMINAL_ID,
    methods.TERMINAL_WAIT: TERMINAL_ID,
    methods.TERMINAL_KILL: TERMINAL_ID,
    methods.TERMINAL_RELEASE: TERMINAL_ID,
}


def decode_params(method: str, params: bytes) -> dict[str, Any]:
    """The members of a call, of the right types; ``None`` where an optional one is absent.

    :raises RequestError: -32602.
    """
    body = decode_object(params)
    if body is None:
        raise rpc_error(jsonrpc.INVALID_PARAMS, "params is no object")
    return {"sessionId": body.get("sessionId"), **check_members(method, body)}


def check_members(method: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a call in an object.

    :raises RequestError: -32602.
    """
    checked: dict[str, Any] = {}
    for member, kind, required in MEMBERS[method]:
        value = body.get(member)
        found = _read(kind, value)
        if found is None and (required or value is not None):
            raise rpc_error(jsonrpc.INVALID_PARAMS, f"{member} is missing or has a wrong type")
        checked[member] = found
    return checked


def _read(kind: str, value: Any) -> Any:
    """The value as its kind wants it; ``None`` for a value of another kind."""
    match kind, value:
        case ("text", str()):
            return value
        case ("number", _):
            return count(value)
        case ("texts", list()) if all(isinstance(item, str) for item in value):
            return tuple(value)
        case ("pairs", list()):
            pairs = [_pair(item) for item in value]
            return None if None in pairs else tuple(pairs)
        case _:
            return None


def _pair(item: Any) -> tuple[str, str] | None:
    match item:
        case {"name": str() as name, "value": str() as value}:
            return name, value
        case _:
            return None


def tool_input(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The members as the input of a tool, absent ones left out (04 5.6)."""
    given = {name: params[name] for name, _, _ in MEMBERS[method] if params[name] is not None}
    if "args" in given:
        given["args"] = list(given["args"])
    if "env" in given:
        given["env"] = [{"name": name, "value": value} for name, value in given["env"]]
    return given
