"""The messages of ACP v2, a draft: what we send, and how its answers are read (07 2-4, 6).

Everything that knows this version is here, in ``updates_v2`` and in ``permission_v2``. Agents of
this version check every member of what they get, so nothing is sent that is not in its schema.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...actors.model.agent import Caps
from . import jsonrpc, methods
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
from .config_options import Setting, decode_options
from .inputs import PromptInserted, PromptOutcome, PromptRefused
from .jsonrpc import Response, decode_value, rpc_error
from .options import ClientOpts, McpServer
from .permission_v2 import decode_permission as decode_permission
from .updates_v2 import decode_update as decode_update
from .updates_v2 import text_key as text_key

VERSION = 2
LOGIN = methods.AUTH_LOGIN
LOGOUT = methods.AUTH_LOGOUT
SERVED: frozenset[str] = frozenset()
INSERTS_AT_ONCE = False
OPTION_ID = "configId"
LOGIN_TYPE = "agent"
"""The only type of authentication method that a login may be asked with."""


def initialize_params(opts: ClientOpts) -> dict[str, Any]:
    """Nothing of files and terminals: they are the agent's own (07 7)."""
    return {
        "protocolVersion": VERSION,
        "info": {"name": CLIENT_NAME, "version": opts.client_version},
        "capabilities": elicitation_capability(opts),
    }


def decode_initialize(result: Any) -> Offer:
    """The result of ``initialize``; without ``session`` capabilities there are no sessions."""
    body = as_object(result)
    agent = as_object(body.get("capabilities"))
    session = as_object(agent.get("session"))
    mcp = as_object(session.get("mcp"))
    has_sessions = offered(agent, "session")
    listed = as_list(body.get("authMethods"))
    logins = [item for item in listed if as_text(as_object(item).get("methodId"))]
    caps = Caps(
        protocol_version=VERSION,
        owns_files=True,
        supports_resume_session=has_sessions,
        supports_close_session=has_sessions,
        supports_list_sessions=has_sessions,
        supports_delete_session=offered(session, "delete"),
        supports_fork_session=offered(session, "fork"),
        supports_session_title=offered(session, "title"),
        supports_logout=bool(logins),
        supports_steering=steers(body),
        auth_methods=tuple(item["methodId"] for item in logins),
        agent_info=name_of(body.get("info")),
    )
    return Offer(
        caps=caps,
        version=body.get("protocolVersion"),
        has_info=isinstance(body.get("info"), dict),
        has_sessions=has_sessions,
        takes_directories=offered(session, "additionalDirectories"),
        takes_system_prompt=offered(session, "systemPrompt"),
        login_methods=tuple(item["methodId"] for item in logins if item.get("type") == LOGIN_TYPE),
        mcp_types=frozenset(kind for kind in ("stdio", "http") if offered(mcp, kind)),
    )


def session_params(opts: ClientOpts, offer: Offer, session_id: str = "") -> dict[str, Any]:
    """Of ``session/new``, and with a ``session_id`` of resume and fork."""
    params: dict[str, Any] = {"sessionId": session_id} if session_id else {}
    params["cwd"] = opts.cwd
    servers = [_server(server) for server in opts.mcp_servers if server.type in offer.mcp_types]
    if servers:
        params["mcpServers"] = servers
    if opts.additional_dirs and offer.takes_directories:
        params["additionalDirectories"] = list(opts.additional_dirs)
    if not session_id:
        return {**params, **native_system_prompt(opts, offer)}
    return {**params, "replayFrom": {"type": "start"}} if opts.replay else params


def _server(server: McpServer) -> dict[str, Any]:
    if server.type == "stdio":
        return {"type": "stdio", **stdio_server(server)}
    return remote_server(server)


def restoring_methods(caps: Caps) -> tuple[str, ...]:
    """There is one, and every agent has it."""
    return (methods.SESSION_RESUME,)


def apply_session(caps: Caps, result: Any) -> Caps:
    """Capabilities with the options of a session result; modes are options here."""
    return apply_options(caps, result)


def apply_options(caps: Caps, result: Any) -> Caps:
    """Capabilities with the complete options of a result; unchanged when it has none."""
    options = as_object(result).get("configOptions")
    if not isinstance(options, list):
        return caps
    return replace(caps, config_options=decode_options(options, OPTION_ID))


def setting_call(session_id: str, setting: Setting, method: str) -> tuple[str, dict[str, Any]]:
    """Everything is an option, of a type that has to be named."""
    value: Any = setting.value == "true" if setting.is_boolean else setting.value
    kind = "boolean" if setting.is_boolean else "id"
    params = {"configId": setting.option_id, "type": kind, "value": value}
    return methods.SET_OPTION, {"sessionId": session_id, **params}


def decode_prompt_answer(response: Response) -> PromptOutcome:
    """The answer only says that the prompt is part of the session now (07 4.2)."""
    if response.error is not None:
        return PromptRefused(response.error)
    message_id = as_text(as_object(decode_value(response.result)).get("messageId"))
    if not message_id:
        return PromptRefused(rpc_error(jsonrpc.INTERNAL_ERROR, "the answer has no messageId"))
    return PromptInserted(message_id)
