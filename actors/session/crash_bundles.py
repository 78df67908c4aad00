"""Crash bundles: what is known about an agent that failed, for whoever looks later (01 11.3).

A bundle that can not be written is logged and costs the failure its path, nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from ...transport.agent.protocol import AgentProcess
from ..core.crash_bundle import (
    CrashedProcess,
    CrashFacts,
    crash_bundle,
    crash_bundle_name,
    wants_crash_bundle,
)
from ..core.redaction import Redactor
from ..errors import StorageError
from ..model.event import AgentEvent
from ..model.failure import SessionFailure
from ..model.runs import heads_of
from ..model.session import SessionMeta
from .documents import Documents

CRASH_BUNDLE_DIRECTORY = Path("logs", "crash-bundles")
"""Below the home."""


class CrashBundles:
    """The crash bundles of a home.

    :param directory: where they are kept.
    :param off_hub: does file work in another thread and waits for it.
    :param now: UTC.
    """

    def __init__(
        self,
        directory: Path,
        documents: Documents,
        off_hub: Callable[..., Any],
        redactor: Redactor,
        now: Callable[[], datetime],
        logger: logging.Logger,
    ) -> None:
        self._directory = directory
        self._documents = documents
        self._off_hub = off_hub
        self._redactor = redactor
        self._now = now
        self._logger = logger

    def attach(
        self,
        failure: SessionFailure,
        meta: SessionMeta,
        process: AgentProcess | None,
        *,
        error: str = "",
    ) -> SessionFailure:
        """The failure with the path of its bundle, if its kind has one.

        :param meta: of the session, as it is.
        :param error: the whole text, where the summary is cut.
        """
        if not wants_crash_bundle(failure):
            return failure
        now = self._now()
        facts = CrashFacts(
            session_id=meta.id,
            failure=failure,
            created_at=now,
            agent_name=meta.agent_name,
            provider=meta.provider,
            state=str(meta.state),
            process=_crashed(process),
            error=error,
            stderr=process.stderr() if process is not None else "",
        )
        path = self._directory / crash_bundle_name(meta.id, str(failure.kind), now)
        try:
            self._off_hub(self._documents.write_bundle, path, crash_bundle(facts, self._redactor))
        except StorageError as raised:
            self._logger.warning('session "%s": crash bundle: %s', meta.id, raised)
            return failure
        return replace(failure, crash_bundle_path=str(path))

    def attach_to_events(
        self, events: Sequence[AgentEvent], meta: SessionMeta, process: AgentProcess | None
    ) -> Sequence[AgentEvent]:
        """A batch in which every failure that wants a bundle has one (02 P4)."""
        if not any(event.failure is not None for event in heads_of(events)):
            return events
        return [self._attached(event, meta, process) for event in events]

    def read(self, path: Path) -> bytes:
        """A bundle.

        :raises StorageError: it is gone, or was never below the directory.
        """
        if path.parent != self._directory:
            raise StorageError(f"crash bundle {path}: not one of ours", path=str(path))
        data: bytes = self._off_hub(self._documents.read_bundle, path)
        return data

    def _attached(
        self, event: AgentEvent, meta: SessionMeta, process: AgentProcess | None
    ) -> AgentEvent:
        if event.failure is None:
            return event
        told = self.attach(event.failure, meta, process, error=event.error or event.text)
        return msgspec.structs.replace(event, failure=told, error=told.summary or event.error)


def _crashed(process: AgentProcess | None) -> CrashedProcess | None:
    if process is None:
        return None
    return CrashedProcess(
        pid=process.pid,
        command=process.command,
        args=tuple(process.args),
        cwd=process.cwd,
        started_at=process.started_at,
    )
