"""``session/request_permission`` of ACP v2: what it is about stands in its subject (07 6, R25)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from . import jsonrpc, permission
from .jsonrpc import decode_object, rpc_error
from .permission import Asked
from .updates_v2 import decode_tool

EXECUTE = "execute"


class _Params(msgspec.Struct, gc=False):
    subject: msgspec.Raw = msgspec.Raw(b"null")


class _Subject(msgspec.Struct, gc=False, rename="camel"):
    tool_call: msgspec.Raw = msgspec.Raw(b"null")


_decode_params = msgspec.json.Decoder(_Params).decode
_decode_subject = msgspec.json.Decoder(_Subject).decode


def decode_permission(params: bytes) -> Asked:
    """The request in ``params``.

    :raises RequestError: -32602, where a member has a type that can not be read around.
    """
    body = decode_object(params)
    if body is None:
        raise rpc_error(jsonrpc.INVALID_PARAMS, "params is no object")
    subject = body.get("subject")
    match subject:
        case {"type": "tool_call", "toolCall": dict() as tool_call}:
            # The bytes as they came: they become the raw of an event.
            raw = _decode_subject(_decode_params(params).subject).tool_call
            asked = permission.asked_for(body, tool_call)
            tool = decode_tool(bytes(raw))
            title = permission.text(body.get("title")) or asked.title
            return replace(asked, title=title, tool=tool)
        case {"type": "command", **command}:
            return permission.asked_for(body, _as_tool_call(body, command))
        case _:
            # Of no kind: somebody is asked, unless the mode decides for every kind (R25).
            return permission.asked_for(body, {"title": body.get("title")})


def _as_tool_call(body: dict[str, Any], command: Mapping[Any, Any]) -> dict[str, Any]:
    """A command is a call that executes something in its directory."""
    cwd = command.get("cwd")
    return {
        "toolCallId": command.get("toolCallId"),
        "title": body.get("title"),
        "kind": EXECUTE,
        "locations": [{"path": cwd}] if isinstance(cwd, str) and cwd else [],
        "rawInput": {"command": command.get("command")},
    }
