"""The messages of ACP v1: what we send, and how its answers are read (04 13.3; 07 2, 3).

Everything that knows the version is here and in ``updates``. Members we may only send to an agent
that advertised them are left out otherwise; members of the wrong type count as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...actors.model.agent import Caps
from .config_options import Setting, decode_options, ids_in
from .options import ClientOpts, McpServer

VERSION = 1
CLIENT_NAME = "greenroom"

INITIALIZE = "initialize"
AUTHENTICATE = "authenticate"
SESSION_NEW = "session/new"
SESSION_LOAD = "session/load"
SESSION_RESUME = "session/resume"
SESSION_LIST = "session/list"
SESSION_CLOSE = "session/close"
SESSION_PROMPT = "session/prompt"
SESSION_CANCEL = "session/cancel"
SESSION_UPDATE = "session/update"
SET_MODE = "session/set_mode"
SET_MODEL = "session/set_model"
SET_OPTION = "session/set_config_option"
STEERING = "_session/steering"
CANCEL_REQUEST = "$/cancel_request"
REQUEST_PERMISSION = "session/request_permission"
ELICITATION = "elicitation/create"
READ_FILE = "fs/read_text_file"
WRITE_FILE = "fs/write_text_file"

STEER_OUTCOMES = {
    "injected": "injected",
    "promptRequired": "not_running",
    "startedNewTurn": "new_turn",
}
PROMPT_PREFIX = (
    "Session instructions (treat as system guidance for this conversation):\n\n{system}"
    "\n\nUser request:\n\n{message}"
)


@dataclass(frozen=True, slots=True)
class Offer:
    """What an agent said of itself in the handshake.

    :param login_methods: ids of the methods that ``authenticate`` may be sent with.
    """

    caps: Caps
    version: Any
    speaks_v2: bool = False
    lists_sessions: bool = False
    takes_directories: bool = False
    login_methods: tuple[str, ...] = ()


def initialize_params(opts: ClientOpts) -> dict[str, Any]:
    """We serve files unless told not to; terminals never, so they are not advertised."""
    return {
        "protocolVersion": VERSION,
        "clientCapabilities": {
            "fs": {"readTextFile": opts.fs, "writeTextFile": opts.fs},
            "terminal": False,
            "session": {"configOptions": {"boolean": {}}, "notices": {}, "compaction": {}},
        },
        "clientInfo": {"name": CLIENT_NAME, "version": opts.client_version},
    }


def decode_initialize(result: Any) -> Offer:
    """The result of ``initialize``; everything but the version may be missing (07 R16)."""
    body = _object(result)
    agent = _object(body.get("agentCapabilities"))
    session = _object(agent.get("sessionCapabilities"))
    steering = _object(_object(body.get("_meta")).get("steering"))
    info = _object(body.get("agentInfo"))
    methods = [item for item in _list(body.get("authMethods")) if _text(_object(item).get("id"))]
    caps = Caps(
        protocol_version=VERSION,
        supports_load_session=agent.get("loadSession") is True,
        supports_resume_session=_offered(session, "resume"),
        supports_close_session=_offered(session, "close"),
        supports_steering=steering.get("supported") is True,
        auth_methods=tuple(item["id"] for item in methods),
        agent_info=" ".join(filter(None, (_text(info.get("name")), _text(info.get("version"))))),
    )
    return Offer(
        caps=caps,
        version=body.get("protocolVersion"),
        speaks_v2=isinstance(body.get("info"), dict),
        lists_sessions=_offered(session, "list"),
        takes_directories=_offered(session, "additionalDirectories"),
        login_methods=tuple(item["id"] for item in methods if item.get("type") != "terminal"),
    )


def is_v1(version: Any) -> bool:
    """Whether the version an agent answered with is the one this codec speaks (D1)."""
    return type(version) in (int, float) and version == VERSION


def session_params(opts: ClientOpts, offer: Offer, session_id: str = "") -> dict[str, Any]:
    """Of ``session/new``, and with a ``session_id`` of ``session/load`` and ``resume``."""
    params: dict[str, Any] = {"sessionId": session_id} if session_id else {}
    params["cwd"] = opts.cwd
    params["mcpServers"] = [_mcp_server(server) for server in opts.mcp_servers]
    if opts.additional_dirs and offer.takes_directories:
        params["additionalDirectories"] = list(opts.additional_dirs)
    if opts.additional_dirs and opts.legacy_dirs:
        params["additional_dirs"] = list(opts.additional_dirs)
    return params


def _mcp_server(server: McpServer) -> dict[str, Any]:
    return {
        "name": server.name,
        "command": server.command,
        "args": list(server.args),
        "env": [{"name": name, "value": value} for name, value in sorted(server.env)],
    }


def decode_session_id(result: Any) -> str:
    """The id in the result of ``session/new``; blank when there is none (D4)."""
    return _text(_object(result).get("sessionId")).strip()


def apply_session(caps: Caps, result: Any) -> Caps:
    """Capabilities with what a session result says of modes, models and options."""
    body = _object(result)
    return replace(
        apply_options(caps, body),
        supported_modes=ids_in(body.get("modes"), "availableModes", "id"),
        supported_models=ids_in(body.get("models"), "availableModels", "modelId"),
    )


def apply_options(caps: Caps, result: Any) -> Caps:
    """Capabilities with the complete options of a result; unchanged when it has none."""
    options = _object(result).get("configOptions")
    if not isinstance(options, list):
        return caps
    return replace(caps, config_options=decode_options(options))


def list_params(opts: ClientOpts, cursor: str) -> dict[str, Any]:
    """Of ``session/list``."""
    return {"cwd": opts.cwd, "cursor": cursor} if cursor else {"cwd": opts.cwd}


def decode_list(result: Any) -> tuple[set[str], str] | None:
    """The session ids on a page, and the cursor of the next one or blank; else ``None``."""
    body = _object(result)
    if not isinstance(body.get("sessions"), list):
        return None
    ids = {_text(_object(item).get("sessionId")) for item in body["sessions"]}
    return ids, _text(body.get("nextCursor"))


def setting_call(session_id: str, setting: Setting, method: str) -> tuple[str, dict[str, Any]]:
    """Method and params that make a setting; ``method`` where no option does."""
    if setting.option_id:
        params = {"configId": setting.option_id, "value": setting.value}
        return SET_OPTION, {"sessionId": session_id, **params}
    member = "modeId" if method == SET_MODE else "modelId"
    return method, {"sessionId": session_id, member: setting.value}


def prompt_params(session_id: str, text: str, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Of ``session/prompt``; ``_meta`` only when there is something in it."""
    params: dict[str, Any] = {"sessionId": session_id, "prompt": [{"type": "text", "text": text}]}
    return {**params, "_meta": dict(meta)} if meta else params


def first_prompt(opts: ClientOpts, message: str, meta: Mapping[str, Any]) -> tuple[str, Any]:
    """Text and meta of the first prompt of a process with a system prompt (04 4.1)."""
    system, delivery = opts.system_prompt.strip(), opts.system_prompt_delivery
    if delivery != "native":
        message = PROMPT_PREFIX.format(system=system, message=message).strip()
    given = _object(meta.get("system"))
    return message, {**meta, "system": {**given, "prompt_delivery": delivery}}


def decode_stop(result: Any) -> tuple[str, Any]:
    """Stop reason and usage of a prompt's answer."""
    body = _object(result)
    return _text(body.get("stopReason")), body.get("usage")


def steering_params(session_id: str, text: str) -> dict[str, Any]:
    """Of the steering extension; never lets the agent start a turn by it (07 9.1)."""
    meta = {"steering": {"idleBehavior": "promptRequired"}}
    return prompt_params(session_id, text, meta)


def decode_steering(result: Any) -> str:
    """The outcome in our words; blank for an answer that is none."""
    return STEER_OUTCOMES.get(_text(_object(result).get("outcome")), "")


def _offered(capabilities: dict[str, Any], name: str) -> bool:
    """An object, even an empty one, offers it (07, conventions)."""
    return isinstance(capabilities.get(name), dict)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
