"""The variables greenroom sets for an agent (01 7.8), and what may be overridden (01 7.5)."""

from __future__ import annotations

from ..errors import InvalidRuntimeOverrideError
from ..model.session import SessionMeta

SUPPORTED_REASONING_EFFORTS = ("minimal", "low", "medium", "high", "xhigh")
"""Least first (01 7.5)."""
ANTHROPIC_PROVIDERS = frozenset({"anthropic", "claude"})


def is_supported_reasoning_effort(effort: str) -> bool:
    """Whether an effort is one of ``SUPPORTED_REASONING_EFFORTS``; trimmed, case-sensitive."""
    return effort.strip() in SUPPORTED_REASONING_EFFORTS


def validate_reasoning_effort(effort: str) -> None:
    """Accept a supported effort, or none.

    :raises InvalidRuntimeOverrideError: neither.
    """
    if effort.strip() and not is_supported_reasoning_effort(effort):
        known = ", ".join(SUPPORTED_REASONING_EFFORTS)
        raise InvalidRuntimeOverrideError(
            f'reasoning_effort: "{effort}" is not one of {known}', operation="create"
        )


def check_overrides(provider: str, model: str, reasoning_effort: str) -> None:
    """Model and effort are a provider's: they need one (01 7.5).

    :raises InvalidRuntimeOverrideError: the first rule that is broken.
    """
    for name, value in (("model", model), ("reasoning_effort", reasoning_effort)):
        if value.strip() and not provider.strip():
            raise InvalidRuntimeOverrideError(
                f"provider is required when {name} is set", operation="create"
            )
    validate_reasoning_effort(reasoning_effort)


def session_env(meta: SessionMeta) -> tuple[tuple[str, str], ...]:
    """What every agent is told of its session; blank members are left out."""
    is_anthropic = meta.provider in ANTHROPIC_PROVIDERS
    told = {
        "GREENROOM_SESSION_ID": meta.id,
        "GREENROOM_AGENT": meta.agent_name,
        "GREENROOM_AGENT_NAME": meta.agent_name,
        "GREENROOM_REASONING_EFFORT": meta.reasoning_effort,
        "GREENROOM_SESSION_CHANNEL": meta.channel,
        "GREENROOM_PROVIDER": meta.provider,
        "GREENROOM_MODEL": meta.model,
        "ANTHROPIC_MODEL": meta.model if is_anthropic else "",
    }
    return tuple((name, value) for name, value in told.items() if value)
