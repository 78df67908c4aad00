"""The secrets an agent is given, looked up by reference and hidden in everything we keep (01 7.8).

A reference to a host's vault never falls back to a value of our own environment: its variable is
emptied first. What was looked up is hidden until the session is over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from ...transport.acp.failures import make_failure
from ..errors import AgentStartError, MissingSecretError, UnsupportedSecretRefError
from ..model.agent import AgentDef, CredentialSlot
from ..model.failure import FailureKind
from .hook_runner import within
from .live import LiveSession

ENVIRONMENT, VAULT = "env:", "vault:"
Environment = tuple[tuple[str, str], ...]
Release = Callable[[], None]


@runtime_checkable
class ProviderSecretResolver(Protocol):
    """Knows secrets by reference."""

    def resolve_ref(self, ref: str) -> str:
        """The secret.

        :raises MissingSecretError: there is none of that name.
        :raises UnsupportedSecretRefError: the reference is none of a kind it knows.
        """
        ...


class EnvironmentSecrets:
    """The default: ``env:NAME`` is a variable of this process, and nothing else is known.

    :param environment: ``None`` is the process's own, as it is when it is asked.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = environment

    def resolve_ref(self, ref: str) -> str:
        """See :meth:`ProviderSecretResolver.resolve_ref`."""
        if not ref.startswith(ENVIRONMENT):
            raise UnsupportedSecretRefError(
                f'secret reference "{ref}" is of no known kind', secret_ref=ref
            )
        environment = os.environ if self._environment is None else self._environment
        value = environment.get(ref.removeprefix(ENVIRONMENT).strip(), "")
        if not value.strip():
            raise MissingSecretError(f'secret "{ref}" is not set', secret_ref=ref)
        return value


def unlock(live: LiveSession, agent: AgentDef) -> Environment:
    """The variables of an agent's credentials; each value is hidden from here on.

    :raises AgentStartError: one that is required could not be had; the cause says why.
    """
    found: list[tuple[str, str]] = []
    releases: list[Release] = []
    for slot in agent.credentials:
        if not slot.secret_ref.strip() or not slot.target_env.strip():
            continue
        if slot.secret_ref.startswith(VAULT):
            found.append((slot.target_env, ""))
        try:
            value = _resolved(live, slot)
        except Exception as error:
            if not slot.required and isinstance(error, MissingSecretError):
                continue
            for release in releases:
                release()
            raise _startup_failure(live, slot, error) from error
        found.append((slot.target_env, value))
        releases.append(live.ports.redactor.register(value))
    live.keep_hidden(releases)
    return tuple(found)


def _resolved(live: LiveSession, slot: CredentialSlot) -> str:
    value = within(live.ports.hook_timeout, live.ports.secrets.resolve_ref, slot.secret_ref)
    if not isinstance(value, str) or not value.strip():
        raise MissingSecretError(f'secret "{slot.secret_ref}" is blank', secret_ref=slot.secret_ref)
    return value


def _startup_failure(live: LiveSession, slot: CredentialSlot, error: Exception) -> AgentStartError:
    failure = make_failure(FailureKind.STARTUP, "session provider startup failed", error)
    return AgentStartError(
        f'session "{live.id}": credential "{slot.name}": {error}',
        session_id=live.id,
        operation="create",
        failure=failure,
    )
