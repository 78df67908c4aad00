"""Agents: how one is started, what it can do, and how its permission requests are answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class PermissionMode(StrEnum):
    """What an agent may do without asking (04 5.2)."""

    DENY_ALL = "deny-all"
    APPROVE_READS = "approve-reads"
    APPROVE_ALL = "approve-all"


class PermissionDecision(StrEnum):
    """The answer to a permission request (04 6.3). The last two are never a caller's."""

    ALLOW_ONCE = "allow-once"
    ALLOW_ALWAYS = "allow-always"
    REJECT_ONCE = "reject-once"
    REJECT_ALWAYS = "reject-always"
    PENDING = "pending"
    CANCELED = "canceled"


CALLER_DECISIONS = frozenset(
    {
        PermissionDecision.ALLOW_ONCE,
        PermissionDecision.ALLOW_ALWAYS,
        PermissionDecision.REJECT_ONCE,
        PermissionDecision.REJECT_ALWAYS,
    }
)


@dataclass(frozen=True, slots=True)
class CredentialSlot:
    """A secret that an agent is given in a variable, by reference (01 7.8).

    :param name: of the slot, for messages.
    :param target_env: the variable.
    :param secret_ref: where the secret is: ``env:NAME``, or what the host's resolver knows.
    :param required: whether a start fails without it.
    """

    name: str
    target_env: str
    secret_ref: str
    kind: str = "api_key"
    required: bool = True


@dataclass(frozen=True, slots=True)
class AgentDef:
    """How to start an agent.

    :param name: the name sessions are created with.
    :param command: argv; the first member is looked up on PATH.
    :param env: variables set for the child on top of the environment.
    :param description: one line for ``greenroom agents``.
    :param install_hint: the next step when the command is not installed.
    :param model: preferred model, or blank.
    :param permissions: default permission mode, or blank.
    :param provider: who runs it; blank: it is its own provider.
    :param prompt: its system prompt, or blank.
    :param credentials: the secrets it is given.
    """

    name: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    description: str = ""
    install_hint: str = ""
    model: str = ""
    permissions: str = ""
    provider: str = ""
    prompt: str = ""
    credentials: tuple[CredentialSlot, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionConfigOption:
    """A setting an agent offers (04 1.4); booleans have the values ``true`` and ``false``."""

    id: str
    label: str = ""
    description: str = ""
    kind: str = "select"
    category: str = ""
    current: str = ""
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Caps:
    """What the running agent can do, as it said itself (04 1.4; 07 2).

    :param protocol_version: the version of ACP agreed on.
    :param owns_files: whether the agent does its own file and terminal work, so that nothing of
        it passes us and its confinement is its own (07 7).
    """

    protocol_version: int = 1
    owns_files: bool = False
    supports_load_session: bool = False
    supports_resume_session: bool = False
    supports_close_session: bool = False
    supports_list_sessions: bool = False
    supports_delete_session: bool = False
    supports_fork_session: bool = False
    supports_session_title: bool = False
    supports_logout: bool = False
    supports_steering: bool = False
    supported_modes: tuple[str, ...] = ()
    supported_models: tuple[str, ...] = ()
    config_options: tuple[SessionConfigOption, ...] = ()
    auth_methods: tuple[str, ...] = ()
    agent_info: str = ""


@dataclass(frozen=True, slots=True)
class ApproveRequest:
    """A caller's answer to a permission request (04 6.4)."""

    decision: str
    request_id: str = ""
    turn_id: str = ""


@dataclass(frozen=True, slots=True)
class PermissionOption:
    """One answer the agent offers."""

    option_id: str
    kind: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class PermissionRequest:
    """A permission request as the policy sees it (04 6.2)."""

    request_id: str
    tool_call_id: str = ""
    title: str = ""
    kind: str = ""
    locations: tuple[str, ...] = ()
    options: tuple[PermissionOption, ...] = field(default=())
