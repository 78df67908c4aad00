"""What travels with a prompt: its source, and what the network, the daemon or a driver adds (02 2).

All members are text and absent when blank. ``from`` of the network's members is a word of the
language, hence ``from_`` here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar, Self, TypeVar

from ..errors import SessionValueError


class PromptDelivery(StrEnum):
    """How the system prompt reached the agent (02 2)."""

    FIRST_TURN_PREFIX = "first_turn_prefix"
    NATIVE = "native"


@dataclass(frozen=True, slots=True)
class _Texts:
    """A group of texts; the same names in JSON, but for ``json_names``."""

    json_names: ClassVar[Mapping[str, str]] = {}

    def normalized(self) -> Self:
        """Every text trimmed."""
        return type(self)(**{f.name: getattr(self, f.name).strip() for f in fields(self)})

    @property
    def is_blank(self) -> bool:
        """Whether nothing is said."""
        return not any(getattr(self, f.name).strip() for f in fields(self))

    def as_json(self) -> dict[str, str]:
        """The members that are not empty, under their JSON names."""
        return {
            self.json_names.get(f.name, f.name): value
            for f in fields(self)
            if (value := getattr(self, f.name))
        }

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> Self:
        """The group of a JSON object; unknown members are ignored.

        :raises SessionValueError: a known member that is no text. Field: ``field``.
        """
        given = {}
        for f in fields(cls):
            value = members.get(cls.json_names.get(f.name, f.name))
            if value is not None and not isinstance(value, str):
                raise SessionValueError(f"prompt metadata: {f.name} must be text", field=f.name)
            given[f.name] = value or ""
        return cls(**given)


@dataclass(frozen=True, slots=True)
class PromptNetworkMeta(_Texts):
    """Where a message of another peer comes from."""

    json_names: ClassVar[Mapping[str, str]] = {"from_": "from"}

    message_id: str = ""
    kind: str = ""
    channel: str = ""
    surface: str = ""
    thread_id: str = ""
    direct_id: str = ""
    from_: str = ""
    to: str = ""
    work_id: str = ""
    reply_to: str = ""
    trace_id: str = ""
    causation_id: str = ""
    trust: str = ""


@dataclass(frozen=True, slots=True)
class PromptSyntheticMeta(_Texts):
    """Why the daemon made a prompt; ``reason`` is required."""

    task_id: str = ""
    task_run_id: str = ""
    workflow_id: str = ""
    claim_token_hash: str = ""
    coordinator_session_id: str = ""
    reason: str = ""
    summary: str = ""
    wake_event_id: str = ""
    policy_snapshot_id: str = ""
    policy_digest: str = ""
    config_digest: str = ""


@dataclass(frozen=True, slots=True)
class PromptSystemMeta(_Texts):
    """What the driver says about the system prompt."""

    prompt_delivery: str = ""


_Group = TypeVar("_Group", bound=_Texts)


@dataclass(frozen=True, slots=True)
class PromptMeta:
    """Everything that travels with a prompt."""

    turn_source: str = ""
    network: PromptNetworkMeta | None = None
    synthetic: PromptSyntheticMeta | None = None
    system: PromptSystemMeta | None = None

    def normalized(self) -> PromptMeta:
        """Texts trimmed, groups that say nothing dropped."""
        return PromptMeta(
            self.turn_source.strip(),
            _said(self.network),
            _said(self.synthetic),
            _said(self.system),
        )

    def as_json(self) -> dict[str, Any]:
        """The members that are not empty."""
        groups = {"network": self.network, "synthetic": self.synthetic, "system": self.system}
        told: dict[str, Any] = {"turn_source": self.turn_source} if self.turn_source else {}
        for name, group in groups.items():
            if group is not None and not group.is_blank:
                told[name] = group.as_json()
        return told

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> PromptMeta:
        """The metadata of a JSON object; unknown members are ignored.

        :raises SessionValueError: a known member of the wrong type. Field: ``field``.
        """
        source = members.get("turn_source") or ""
        if not isinstance(source, str):
            raise SessionValueError(
                "prompt metadata: turn_source must be text", field="turn_source"
            )
        return cls(
            source,
            _group(members, "network", PromptNetworkMeta),
            _group(members, "synthetic", PromptSyntheticMeta),
            _group(members, "system", PromptSystemMeta),
        )


def _said(group: _Group | None) -> _Group | None:
    return None if group is None or group.is_blank else group.normalized()


def _group(members: Mapping[str, Any], name: str, kind: type[_Group]) -> _Group | None:
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise SessionValueError(f"prompt metadata: {name} must be an object", field=name)
    return kind.from_json(value)
