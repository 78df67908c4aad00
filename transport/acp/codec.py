"""What every version of ACP has in common, and what a codec of one version has to offer.

A codec is a module: pure functions from values to members of messages and back. Members of the
wrong type count as absent; what an agent did not advertise is left out (07 2, 3, 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from ...actors.model.agent import Caps
from .config_options import Setting
from .inputs import PromptOutcome, Update
from .jsonrpc import Response
from .messages import Key
from .options import ClientOpts, McpServer
from .permission import Asked
from .text_lines import TextLine

CLIENT_NAME = "greenroom"
STEER_OUTCOMES = {
    "injected": "injected",
    "promptRequired": "not_running",
    "startedNewTurn": "new_turn",
}
PROMPT_PREFIX = (
    "Session instructions (treat as system guidance for this conversation):\n\n{system}"
    "\n\nUser request:\n\n{message}"
)
NATIVE = "native"
LONG_CACHE_HOSTS = frozenset({"api.anthropic.com", "aiplatform.googleapis.com"})
LONG_CACHE_SUFFIX = "-aiplatform.googleapis.com"


@dataclass(frozen=True, slots=True)
class Offer:
    """What an agent said of itself in the handshake.

    :param version: the number it answered with, of any type.
    :param has_info: whether the answer has the member that only version 2 has.
    :param has_sessions: whether it serves sessions at all.
    :param login_methods: ids of the methods that a login may be asked with.
    :param mcp_types: the kinds of MCP server it can use.
    :param takes_system_prompt: whether a new session may be given one (D12).
    """

    caps: Caps
    version: Any
    has_info: bool = False
    has_sessions: bool = True
    takes_directories: bool = False
    takes_system_prompt: bool = False
    login_methods: tuple[str, ...] = ()
    mcp_types: frozenset[str] = frozenset({"stdio"})


class Codec(Protocol):
    """One version of the protocol; a module is one."""

    VERSION: int
    LOGIN: str
    LOGOUT: str
    SERVED: frozenset[str]
    """Requests of the agent that this version has."""
    INSERTS_AT_ONCE: bool
    """Whether a prompt that was written is part of the session (07 11)."""

    def initialize_params(self, opts: ClientOpts) -> dict[str, Any]:
        """Of ``initialize``."""

    def decode_initialize(self, result: Any) -> Offer:
        """The result of ``initialize``."""

    def session_params(
        self, opts: ClientOpts, offer: Offer, session_id: str = ""
    ) -> dict[str, Any]:
        """Of ``session/new``; with an id of the requests that take up a session."""

    def restoring_methods(self, caps: Caps) -> tuple[str, ...]:
        """The requests that attach to an earlier session, the best first."""

    def apply_session(self, caps: Caps, result: Any) -> Caps:
        """Capabilities with what a session result says."""

    def apply_options(self, caps: Caps, result: Any) -> Caps:
        """Capabilities with the complete options of a result; unchanged when it has none."""

    def setting_call(
        self, session_id: str, setting: Setting, method: str
    ) -> tuple[str, dict[str, Any]]:
        """Method and params that make a setting; ``method`` where no option does."""

    def decode_prompt_answer(self, response: Response) -> PromptOutcome:
        """What the answer to a prompt means."""

    def decode_update(self, data: bytes) -> Update:
        """One ``update`` object. Never raises."""

    def text_key(self, line: TextLine) -> Key | None:
        """The message such a line adds its text to, or ``None`` where it is another update."""

    def decode_permission(self, params: bytes) -> Asked:
        """A permission request; raises ``RequestError`` -32602 for what can not be one."""


def is_version(version: Any, number: int) -> bool:
    """Whether an agent answered with that version (D1)."""
    return type(version) in (int, float) and version == number


def decode_session_id(result: Any) -> str:
    """The id in the result of ``session/new``; blank when there is none (D4)."""
    return as_text(as_object(result).get("sessionId")).strip()


def list_params(opts: ClientOpts, cursor: str) -> dict[str, Any]:
    """Of ``session/list``."""
    return {"cwd": opts.cwd, "cursor": cursor} if cursor else {"cwd": opts.cwd}


def decode_list(result: Any) -> tuple[set[str], str] | None:
    """The session ids on a page, and the cursor of the next one or blank; else ``None``."""
    body = as_object(result)
    if not isinstance(body.get("sessions"), list):
        return None
    ids = {as_text(as_object(item).get("sessionId")) for item in body["sessions"]}
    return ids, as_text(body.get("nextCursor"))


# ---- prompts


def prompt_params(
    opts: ClientOpts, session_id: str, text: str, meta: Mapping[str, Any]
) -> dict[str, Any]:
    """Of ``session/prompt``; ``_meta`` only when there is something in it (04 4.1)."""
    block: dict[str, Any] = {"type": "text", "text": text}
    cache = cache_control(opts)
    if cache:
        block["_meta"] = {"cache_control": cache}
    params: dict[str, Any] = {"sessionId": session_id, "prompt": [block]}
    return {**params, "_meta": dict(meta)} if meta else params


def cache_control(opts: ClientOpts) -> dict[str, str]:
    """How long the provider is asked to cache the prompt; empty for those who do not (04 4.1)."""
    if opts.provider_name != "claude" and opts.runtime_provider != "anthropic":
        return {}
    try:
        host = urlsplit(opts.provider_base_url).hostname or ""
    except ValueError:
        host = ""
    lasting = host in LONG_CACHE_HOSTS or host.endswith(LONG_CACHE_SUFFIX)
    return {"type": "ephemeral", "ttl": "1h"} if lasting else {"type": "ephemeral"}


def first_prompt(opts: ClientOpts, message: str, meta: Mapping[str, Any]) -> tuple[str, Any]:
    """Text and meta of the first prompt of a process with a system prompt (04 4.1)."""
    system, delivery = opts.system_prompt.strip(), opts.system_prompt_delivery
    if delivery != NATIVE:
        message = PROMPT_PREFIX.format(system=system, message=message).strip()
    given = as_object(meta.get("system"))
    return message, {**meta, "system": {**given, "prompt_delivery": delivery}}


def native_system_prompt(opts: ClientOpts, offer: Offer) -> dict[str, Any]:
    """The member of ``session/new`` that carries the system prompt, or nothing (D12)."""
    system = opts.system_prompt.strip()
    wanted = opts.native_system_prompt and opts.system_prompt_delivery == NATIVE and system
    if not (wanted and offer.takes_system_prompt):
        return {}
    content = [{"type": "text", "text": system}]
    return {"systemPrompt": {"mode": "append", "content": content}}


def steering_params(opts: ClientOpts, session_id: str, text: str) -> dict[str, Any]:
    """Of the steering extension; never lets the agent start a turn by it (07 9.1)."""
    meta = {"steering": {"idleBehavior": "promptRequired"}}
    return prompt_params(opts, session_id, text, meta)


def decode_steering(result: Any) -> str:
    """The outcome in our words; blank for an answer that is none."""
    return STEER_OUTCOMES.get(as_text(as_object(result).get("outcome")), "")


def elicitation_capability(opts: ClientOpts) -> dict[str, Any]:
    """Advertised only where somebody answers (07 2)."""
    return {"elicitation": {"form": {}, "url": {}}} if opts.elicitation else {}


# ---- what both versions read alike


def steers(body: dict[str, Any]) -> bool:
    """Whether an initialize result offers steering (07 9.1)."""
    return as_object(as_object(body.get("_meta")).get("steering")).get("supported") is True


def name_of(info: Any) -> str:
    """Name and version of an implementation, as far as they are given."""
    body = as_object(info)
    return " ".join(filter(None, (as_text(body.get("name")), as_text(body.get("version")))))


def remote_server(server: McpServer) -> dict[str, Any]:
    """An MCP server that is reached over the network."""
    headers = [{"name": name, "value": value} for name, value in server.headers]
    return {"type": server.type, "name": server.name, "url": server.url, "headers": headers}


def stdio_server(server: McpServer) -> dict[str, Any]:
    """An MCP server that the agent starts."""
    return {
        "name": server.name,
        "command": server.command,
        "args": list(server.args),
        "env": [{"name": name, "value": value} for name, value in sorted(server.env)],
    }


def offered(capabilities: dict[str, Any], name: str) -> bool:
    """An object, even an empty one, offers it (07, conventions)."""
    return isinstance(capabilities.get(name), dict)


def as_object(value: Any) -> dict[str, Any]:
    """The value, or an empty object for what is none."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The value, or an empty list for what is none."""
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """The value, or a blank for what is no text."""
    return value if isinstance(value, str) else ""
