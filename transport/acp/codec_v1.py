"""The messages of ACP v1: what we send, and how its answers are read (04 13.3; 07 2, 3).

Everything that knows this version is here and in ``updates_v1``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...actors.model.agent import Caps
from . import methods
from .codec import (
    CLIENT_NAME,
    Offer,
    as_list,
    as_object,
    as_text,
    elicitation_capability,
    name_of,
    native_system_prompt,
    offered,
    remote_server,
    stdio_server,
    steers,
)
from .config_options import Setting, decode_options, ids_in
from .inputs import PromptOutcome, TurnEnded, TurnFailed
from .jsonrpc import Response, decode_value
from .options import ClientOpts
from .permission import decode_permission as decode_permission
from .readers import decode_usage
from .updates_v1 import decode_update as decode_update
from .updates_v1 import text_key as text_key

VERSION = 1
LOGIN = methods.AUTHENTICATE
LOGOUT = methods.LOGOUT
SERVED = methods.FILE_METHODS | methods.TERMINAL_METHODS
INSERTS_AT_ONCE = True
REMOTE = ("http", "sse")


def initialize_params(opts: ClientOpts) -> dict[str, Any]:
    """Files and terminals are advertised where they are served."""
    capabilities = {
        "fs": {"readTextFile": opts.fs, "writeTextFile": opts.fs},
        "terminal": opts.terminal,
        "session": {"configOptions": {"boolean": {}}, "notices": {}, "compaction": {}},
    }
    return {
        "protocolVersion": VERSION,
        "clientCapabilities": {**capabilities, **elicitation_capability(opts)},
        "clientInfo": {"name": CLIENT_NAME, "version": opts.client_version},
    }


def decode_initialize(result: Any) -> Offer:
    """The result of ``initialize``; everything but the version may be missing (07 R16)."""
    body = as_object(result)
    agent = as_object(body.get("agentCapabilities"))
    session = as_object(agent.get("sessionCapabilities"))
    mcp = as_object(agent.get("mcpCapabilities"))
    listed = as_list(body.get("authMethods"))
    logins = [item for item in listed if as_text(as_object(item).get("id"))]
    caps = Caps(
        protocol_version=VERSION,
        supports_load_session=agent.get("loadSession") is True,
        supports_resume_session=offered(session, "resume"),
        supports_close_session=offered(session, "close"),
        supports_list_sessions=offered(session, "list"),
        supports_delete_session=offered(session, "delete"),
        supports_fork_session=offered(session, "fork"),
        supports_session_title=offered(session, "title"),
        supports_logout=offered(as_object(agent.get("auth")), "logout"),
        supports_steering=steers(body),
        auth_methods=tuple(item["id"] for item in logins),
        agent_info=name_of(body.get("agentInfo")),
    )
    return Offer(
        caps=caps,
        version=body.get("protocolVersion"),
        has_info=isinstance(body.get("info"), dict),
        takes_directories=offered(session, "additionalDirectories"),
        takes_system_prompt=offered(session, "systemPrompt"),
        login_methods=tuple(item["id"] for item in logins if item.get("type") != "terminal"),
        mcp_types=frozenset(
            {"stdio", *(kind for kind in ("http", "sse") if mcp.get(kind) is True)}
        ),
    )


def session_params(opts: ClientOpts, offer: Offer, session_id: str = "") -> dict[str, Any]:
    """Of ``session/new``, and with a ``session_id`` of load, resume and fork."""
    params: dict[str, Any] = {"sessionId": session_id} if session_id else {}
    params["cwd"] = opts.cwd
    params["mcpServers"] = [
        stdio_server(server) if server.type == "stdio" else remote_server(server)
        for server in opts.mcp_servers
        if server.type in offer.mcp_types
    ]
    if opts.additional_dirs and offer.takes_directories:
        params["additionalDirectories"] = list(opts.additional_dirs)
    if opts.additional_dirs and opts.legacy_dirs:
        params["additional_dirs"] = list(opts.additional_dirs)
    return params if session_id else {**params, **native_system_prompt(opts, offer)}


def restoring_methods(caps: Caps) -> tuple[str, ...]:
    """Resuming is preferred: it replays nothing (D5)."""
    resume = (methods.SESSION_RESUME,) if caps.supports_resume_session else ()
    return resume + ((methods.SESSION_LOAD,) if caps.supports_load_session else ())


def apply_session(caps: Caps, result: Any) -> Caps:
    """Capabilities with what a session result says of modes, models and options."""
    body = as_object(result)
    return replace(
        apply_options(caps, body),
        supported_modes=ids_in(body.get("modes"), "availableModes", "id"),
        supported_models=ids_in(body.get("models"), "availableModels", "modelId"),
    )


def apply_options(caps: Caps, result: Any) -> Caps:
    """Capabilities with the complete options of a result; unchanged when it has none."""
    options = as_object(result).get("configOptions")
    if not isinstance(options, list):
        return caps
    return replace(caps, config_options=decode_options(options))


def setting_call(session_id: str, setting: Setting, method: str) -> tuple[str, dict[str, Any]]:
    """Method and params that make a setting; ``method`` where no option does."""
    if setting.option_id:
        params: dict[str, Any] = {"configId": setting.option_id, "value": setting.value}
        if setting.is_boolean:
            params = {**params, "type": "boolean", "value": setting.value == "true"}
        return methods.SET_OPTION, {"sessionId": session_id, **params}
    member = "modeId" if method == methods.SET_MODE else "modelId"
    return method, {"sessionId": session_id, member: setting.value}


def decode_prompt_answer(response: Response) -> PromptOutcome:
    """The answer ends the turn; a null one without a reason (07 R16)."""
    if response.error is not None:
        return TurnFailed(response.error)
    body = as_object(decode_value(response.result))
    return TurnEnded(as_text(body.get("stopReason")), decode_usage(body.get("usage")))
