"""One ``session/request_permission``: its id, its options, its answer, its events (04 6).

Options are chosen by their kind only; ids, order and labels differ with every agent (07 R24).
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

from ...actors.model.agent import PermissionDecision, PermissionOption
from ...actors.model.event import AgentEvent, EventType, RawJSON
from . import jsonrpc
from .inputs import ToolChanged
from .jsonrpc import decode_object, rpc_error

ACTION = "session/request_permission"
ID_MEMBERS = ("request_id", "requestId", "id")
DECISION_OF_KIND = {
    "allow_once": PermissionDecision.ALLOW_ONCE,
    "allow_always": PermissionDecision.ALLOW_ALWAYS,
    "reject_once": PermissionDecision.REJECT_ONCE,
    "reject_always": PermissionDecision.REJECT_ALWAYS,
}
KINDS_FOR = {
    PermissionDecision.ALLOW_ONCE: ("allow_once", "allow_always"),
    PermissionDecision.ALLOW_ALWAYS: ("allow_always", "allow_once"),
    PermissionDecision.REJECT_ONCE: ("reject_once", "reject_always"),
    PermissionDecision.REJECT_ALWAYS: ("reject_always", "reject_once"),
}
"""Kinds to try for a decision, in order (04 6.3)."""
ALLOWING = frozenset({PermissionDecision.ALLOW_ONCE, PermissionDecision.ALLOW_ALWAYS})


@dataclass(frozen=True, slots=True)
class Asked:
    """A permission request as it came, its required and optional members checked.

    :param given_id: the id the agent gave it in ``_meta``, or blank.
    :param locations: the items of the wire that name a path.
    :param tool: the tool call as an update, which counts before the request does (07 11).
    """

    session_id: str
    given_id: str
    tool_call_id: str
    title: str
    kind: str
    status: str
    locations: tuple[dict[str, Any], ...]
    options: tuple[PermissionOption, ...]
    tool_input: Any = None
    tool: ToolChanged | None = None
    given_tool: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of the locations."""
        return tuple(location["path"] for location in self.locations)

    @property
    def answerable(self) -> bool:
        """Whether any option has a kind we know."""
        return any(option.kind in DECISION_OF_KIND for option in self.options)


def decode_permission(params: bytes) -> Asked:
    """The request in ``params``.

    :raises RequestError: -32602, where a member has a type that can not be read around.
    """
    body = decode_object(params)
    if body is None:
        raise rpc_error(jsonrpc.INVALID_PARAMS, "params is no object")
    tool_call = body.get("toolCall")
    if not isinstance(tool_call, dict | None):
        raise rpc_error(jsonrpc.INVALID_PARAMS, "toolCall has the wrong type")
    return asked_for(body, tool_call or {})


def asked_for(body: dict[str, Any], tool_call: dict[str, Any]) -> Asked:
    """The request about a tool call.

    :raises RequestError: -32602, when the options are no list.
    """
    options = body.get("options")
    if not isinstance(options, list | None):
        raise rpc_error(jsonrpc.INVALID_PARAMS, "options has the wrong type")
    return Asked(
        session_id=text(body.get("sessionId")),
        given_id=_given_id(body.get("_meta")),
        given_tool=given_tool(tool_call.get("_meta")) or given_tool(body.get("_meta")),
        tool_call_id=text(tool_call.get("toolCallId")),
        title=text(tool_call.get("title")),
        kind=text(tool_call.get("kind")),
        status=text(tool_call.get("status")),
        locations=_locations(tool_call.get("locations")),
        options=_options(options or []),
        tool_input=tool_call.get("rawInput"),
    )


def text(value: Any) -> str:
    """The value, or a blank for what is no text."""
    return value if isinstance(value, str) else ""


def _given_id(meta: Any) -> str:
    if not isinstance(meta, dict):
        return ""
    given = (text(meta.get(name)).strip() for name in ID_MEMBERS)
    return next((value for value in given if value), "")


def given_tool(meta: Any) -> str:
    """``toolName`` of any vendor's part of ``_meta`` (04 6.2)."""
    parts = meta.values() if isinstance(meta, dict) else ()
    names = (text(part.get("toolName")).strip() for part in parts if isinstance(part, dict))
    return next((name for name in names if name), "")


def _locations(value: Any) -> tuple[dict[str, Any], ...]:
    items = value if isinstance(value, list) else ()
    return tuple(
        {name: item[name] for name in ("path", "line") if item.get(name) is not None}
        for item in items
        if isinstance(item, dict) and isinstance(item.get("path"), str)
    )


def _options(items: list[Any]) -> tuple[PermissionOption, ...]:
    return tuple(
        PermissionOption(item["optionId"], text(item.get("kind")), text(item.get("name")))
        for item in items
        if isinstance(item, dict) and isinstance(item.get("optionId"), str)
    )


def request_id(asked: Asked, turn_id: str, taken: Container[str], numbers: Iterator[int]) -> str:
    """The id the request is known by outside (04 6.1), unlike every one in ``taken``.

    :param numbers: told apart by these, should the natural id be taken.
    """
    local = next(
        (name for name in (asked.tool_call_id, asked.title, asked.kind) if name.strip()), ""
    )
    natural = asked.given_id
    if not natural and local:
        natural = f"{turn_id}:{local}" if turn_id else local
    natural = natural or "permission"
    unique = natural
    while unique in taken:
        unique = f"{natural}:{next(numbers)}"
    return unique


def select(
    options: tuple[PermissionOption, ...], decision: PermissionDecision, exact: bool = False
) -> tuple[PermissionOption | None, PermissionDecision]:
    """The option that carries out a decision, and the decision it applies.

    :param exact: take the decision's own kind only.
    :return: ``(None, CANCELED)`` when no option fits.
    """
    kinds = KINDS_FOR[decision][: 1 if exact else None]
    for kind in kinds:
        for option in options:
            if option.kind == kind:
                return option, DECISION_OF_KIND[kind]
    return None, PermissionDecision.CANCELED


def outcome(option: PermissionOption | None) -> dict[str, Any]:
    """The result that answers the request; without an option it is ``cancelled``."""
    if option is None:
        return {"outcome": {"outcome": "cancelled"}}
    return {"outcome": {"outcome": "selected", "optionId": option.option_id}}


def event(asked: Asked, turn_id: str, known_as: str, decision: PermissionDecision) -> AgentEvent:
    """The ``permission`` event; one that is pending carries no decision (04 6.2)."""
    token = "" if decision is PermissionDecision.PENDING else decision.value
    return AgentEvent(
        type=EventType.PERMISSION.value,
        session_id=asked.session_id,
        turn_id=turn_id,
        request_id=known_as,
        title=asked.title,
        tool_call_id=asked.tool_call_id,
        action=ACTION,
        resource=asked.paths[0] if asked.locations else asked.title,
        decision=token,
        raw=RawJSON.of(_raw(asked, known_as, token)),
    )


def _raw(asked: Asked, known_as: str, token: str) -> dict[str, Any]:
    """All a client needs to offer the choice again later (03 2.2)."""
    tool_call: dict[str, Any] = {
        "id": asked.tool_call_id,
        "kind": asked.kind,
        "title": asked.title,
        "status": asked.status,
        "locations": list(asked.locations),
    }
    raw: dict[str, Any] = {
        "request_id": known_as,
        "decision": token,
        "tool_input": asked.tool_input,
        "options": [_raw_option(option) for option in asked.options],
        "tool_call": {n: v for n, v in tool_call.items() if v or n == "id"},
    }
    return {n: v for n, v in raw.items() if v not in ("", None, [])}


def _raw_option(option: PermissionOption) -> dict[str, str]:
    decision = DECISION_OF_KIND.get(option.kind)
    raw = {
        "decision": decision.value if decision else "",
        "option_id": option.option_id,
        "kind": option.kind,
        "label": option.label,
    }
    return {n: v for n, v in raw.items() if v or n in ("option_id", "kind")}
