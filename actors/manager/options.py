"""What a manager is built with, checked once (01 5)."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from ...storage.files import FileSystem
from ...storage.health_rows import HealthStore
from ...storage.ledger import LedgerMaterializer
from ...transport.agent.deciders import ElicitationAnswerer
from ...transport.agent.protocol import AgentDriver
from ..core.activity import resolve_supervision
from ..errors import SessionValueError
from ..model.agent import AgentDef
from ..model.hooks import HookSet
from ..model.ids import IDGenerator
from ..model.restart import RestartPolicy
from ..model.settings import (
    HOOK_TIMEOUT,
    PROMPT_BUFFER_SIZE,
    SessionBusyInputConfig,
    SessionHealthConfig,
    SessionSupervisionConfig,
)
from ..session.notices import Notifier
from ..session.ports import Augmenter
from ..session.provider_secrets import ProviderSecretResolver

HOME_VARIABLE = "GREENROOM_HOME"
DURABILITIES = ("default", "power", "process")
HUBS = ("own", "current")


def default_home() -> Path:
    """``$GREENROOM_HOME``, else the platform's directory for a user's data."""
    given = os.environ.get(HOME_VARIABLE, "").strip()
    if given:
        return Path(given).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "greenroom"
    data = os.environ.get("XDG_DATA_HOME", "").strip()
    return (Path(data) if data else Path.home() / ".local" / "share") / "greenroom"


class ManagerKeywords(TypedDict, total=False):
    """What ``SessionManager`` takes beside the home; the defaults are :class:`ManagerOptions`'."""

    agents: Mapping[str, AgentDef | Sequence[str]]
    driver: AgentDriver | None
    hub: str
    durability: str
    sync_interval: float
    prompt_buffer_size: int
    session_busy_input_config: SessionBusyInputConfig
    session_supervision: SessionSupervisionConfig
    session_id_generator: IDGenerator | None
    turn_id_generator: IDGenerator | None
    logger: logging.Logger
    file_system: FileSystem | None
    notifier: Notifier | None
    hooks: HookSet | None
    hook_timeout: float
    prompt_input_augmenter: Augmenter | None
    provider_secret_resolver: ProviderSecretResolver | None
    elicitation_answerer: ElicitationAnswerer | None
    ledger_materializer: LedgerMaterializer | None
    session_health_store: HealthStore | None
    session_health_config: SessionHealthConfig
    restart: RestartPolicy | str | None
    listen: str


@dataclass(frozen=True, slots=True)
class ManagerOptions:
    """The keywords of ``SessionManager(...)`` with their defaults filled in.

    :param agents: agents by name beside the presets: argv, or an ``AgentDef``.
    :param driver: ``None`` is the ACP driver.
    :param hub: ``own``: a hub in a thread of its own; ``current``: the calling program's.
    :param durability: ``default``, ``power`` (every row survives a power loss before anybody sees
        it) or ``process`` (none waits for the disk) (03 13).
    :param sync_interval: seconds until a row that did not wait for the disk is on it.
    :param prompt_buffer_size: events a prompt stream holds for a reader that is behind.
    :param restart: the restart policy of sessions that are created without one.
    :param notifier: told of every session and stored event, in the hub: it must not block.
    :param hooks: what the host wants to allow, change or hear of (:class:`HookSet`); ``None`` is
        nothing.
    :param hook_timeout: seconds a hook, the augmenter or the turn end notifier may take.
    :param prompt_input_augmenter: adds to a prompt what the agent alone is given.
    :param provider_secret_resolver: looks up the secrets of agents; ``None`` knows ``env:NAME``.
    :param elicitation_answerer: answers what agents ask their user beside permissions; without one
        they are told that nobody does (07 R28).
    :param ledger_materializer: keeps the ledger of each session that stops; ``None`` is none.
    :param session_health_store: keeps the health rows; ``None`` is the home's catalog.
    :param session_health_config: when a session that nobody looked at is stale.
    :param listen: ``host:port`` where clients with keys reach it from other machines: events there,
        catching up and calls on the next two ports; blank is nowhere, port ``*`` any free ones.
    :param file_system: where the home is; ``None`` is the real one. For fault injection.
    :raises SessionValueError: a value that is not allowed, named in the message.
    """

    home: Path
    agents: Mapping[str, AgentDef | Sequence[str]] = field(default_factory=dict)
    driver: AgentDriver | None = None
    hub: str = "own"
    durability: str = "default"
    sync_interval: float = 0.05
    prompt_buffer_size: int = PROMPT_BUFFER_SIZE
    session_busy_input_config: SessionBusyInputConfig = field(
        default_factory=SessionBusyInputConfig
    )
    session_supervision: SessionSupervisionConfig = field(default_factory=SessionSupervisionConfig)
    session_id_generator: IDGenerator | None = None
    turn_id_generator: IDGenerator | None = None
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("greenroom"))
    file_system: FileSystem | None = None
    notifier: Notifier | None = None
    hooks: HookSet | None = None
    hook_timeout: float = HOOK_TIMEOUT
    prompt_input_augmenter: Augmenter | None = None
    provider_secret_resolver: ProviderSecretResolver | None = None
    elicitation_answerer: ElicitationAnswerer | None = None
    ledger_materializer: LedgerMaterializer | None = None
    session_health_store: HealthStore | None = None
    session_health_config: SessionHealthConfig = field(default_factory=SessionHealthConfig)
    restart: RestartPolicy | str | None = None
    listen: str = ""

    def __post_init__(self) -> None:
        if self.hub not in HUBS:
            raise SessionValueError(f'hub: "{self.hub}" is not one of {", ".join(HUBS)}')
        if self.durability not in DURABILITIES:
            known = ", ".join(DURABILITIES)
            raise SessionValueError(f'durability: "{self.durability}" is not one of {known}')
        if self.sync_interval <= 0:
            raise SessionValueError("sync_interval: must be more than 0 seconds")
        if self.hook_timeout <= 0:
            raise SessionValueError("hook_timeout: must be more than 0 seconds")
        if self.hooks is not None and not isinstance(self.hooks, HookSet):
            raise SessionValueError("hooks: must be a HookSet")
        if self.prompt_buffer_size <= 0:
            object.__setattr__(self, "prompt_buffer_size", PROMPT_BUFFER_SIZE)
        resolved = self.session_busy_input_config.resolved()
        object.__setattr__(self, "session_busy_input_config", resolved)
        health = self.session_health_config.resolved()
        object.__setattr__(self, "session_health_config", health)
        watched = resolve_supervision(self.session_supervision)
        object.__setattr__(self, "session_supervision", watched)
        object.__setattr__(self, "restart", RestartPolicy.of(self.restart))
