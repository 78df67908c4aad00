"""The processes that work for sessions: registered, interrupted by scope, reconciled (04 9).

Rules it owns: a record is stored before anybody can use it; a process completes once; of a process
that an earlier runtime started only what is verified by its start time is signalled (D35). In the
hub; the store may block where it is given an ``offload``.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from ...actors.errors import ScopedInterruptNotFoundError, SessionValueError
from . import process_table
from .context import CallContext
from .natives import Offload
from .process_store import ProcessQuery, ProcessStore, StateChange
from .recovered import end_recovered
from .store_calls import RECORD_TIMEOUT_S, StoreCalls
from .tool_records import (
    ACTIVE_STATES,
    InterruptReport,
    ProcessConfig,
    ProcessOwner,
    ProcessRecord,
    ProcessSource,
    ProcessState,
    ReconcileReport,
    Scope,
    bounded,
    bounded_args,
)

logger = logging.getLogger(__name__)


class ProcessHandle:
    """A registered process, for the one who started it."""

    def __init__(
        self,
        registry: ToolProcesses,
        record: ProcessRecord,
        interrupt: Callable[[], None] | None,
    ) -> None:
        self.record = record
        self.interrupt = interrupt
        self._registry = registry
        self._completing = False

    def checkpoint(
        self,
        *,
        owner: ProcessOwner | None = None,
        state: ProcessState | None = None,
        error: str | None = None,
    ) -> None:
        """Store what changed; ``owner`` replaces the whole owner. Nothing after completion.

        :raises Exception: what the store raised; :class:`TimeoutError` when it is slow.
        """
        if self._completing or not self._registry.is_live(self):
            return
        self._registry.keep(
            self,
            replace(
                self.record,
                owner=owner or self.record.owner,
                state=state or self.record.state,
                error=self.record.error if error is None else bounded(error),
                updated_at=self._registry.now(),
            ),
        )

    def complete(
        self, *, exit_code: int | None = None, err: Exception | None = None, error: str = ""
    ) -> None:
        """The process is gone. Only the first success counts; a failed one can be repeated.

        :raises Exception: what the store raised; the record stays active.
        """
        if self._completing or not self._registry.is_live(self):
            return
        self._completing = True
        now = self._registry.now()
        ended = replace(
            self.record,
            state=ProcessState.COMPLETED if err is None else ProcessState.FAILED,
            error=bounded(error or ("" if err is None else str(err))),
            exit_code=exit_code,
            completed_at=now,
            updated_at=now,
        )
        try:
            self._registry.keep(self, ended)
        finally:
            self._completing = False
        self._registry.forget(self)

    def settle(self, *, exit_code: int | None = None, err: Exception | None = None) -> None:
        """As :meth:`complete`; a failure of the store is logged (04 7.3)."""
        try:
            self.complete(exit_code=exit_code, err=err)
        except Exception as error:
            logger.warning("process record %s was not completed: %s", self.record.id, error)


class ToolProcesses:
    """The registry. One for a driver, or for all of a runtime.

    :param store: ``None``: nothing is kept, only what lives can be interrupted.
    :param offload: for a store that blocks; absent, it is called in the hub.
    :param record_timeout: seconds a write is waited for; what was not waited for may still happen.
    """

    def __init__(
        self,
        store: ProcessStore | None = None,
        *,
        offload: Offload | None = None,
        record_timeout: float = RECORD_TIMEOUT_S,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.now = now
        self._store = StoreCalls(store, offload, record_timeout)
        self._live: dict[str, ProcessHandle] = {}

    @property
    def live_count(self) -> int:
        """Processes that are registered and have not completed."""
        return len(self._live)

    def register(self, ctx: CallContext, config: ProcessConfig) -> ProcessHandle:
        """Store a process, then make it known.

        :raises SessionValueError: unknown source or state, or the process is not there.
        :raises Exception: what the store raised; nothing is registered then.
        """
        ctx.check()
        handle = ProcessHandle(self, self._record(config), config.interrupt)
        self._store.upsert(handle.record)
        self._live[handle.record.id] = handle
        return handle

    def _record(self, config: ProcessConfig) -> ProcessRecord:
        try:
            source, state = ProcessSource(config.source), ProcessState(config.state)
        except ValueError as error:
            raise SessionValueError(f"register: {error}", operation="register") from error
        now = self.now()
        started_at, mark = config.started_at or now, ""
        if config.pid > 0 and config.started_at is None:
            started = process_table.observe(config.pid)
            if started is None:
                raise SessionValueError(
                    f"register: process {config.pid} is not there", operation="register"
                )
            started_at, mark = started.at, started.mark
        return ProcessRecord(
            id=f"proc_{uuid.uuid4().hex}",
            source=source,
            owner=config.owner,
            pid=config.pid,
            process_group_id=config.process_group_id,
            command=bounded(config.command),
            args=bounded_args(config.args),
            cwd=bounded(config.cwd),
            started_at=started_at,
            start_mark=mark,
            started_by_pid=os.getpid(),
            state=state,
            created_at=now,
            updated_at=now,
        )

    # ---- what handles use

    def is_live(self, handle: ProcessHandle) -> bool:
        """Whether the process has not completed."""
        return self._live.get(handle.record.id) is handle

    def keep(self, handle: ProcessHandle, record: ProcessRecord) -> None:
        """Store a changed record, then show it."""
        self._store.upsert(record)
        handle.record = record

    def forget(self, handle: ProcessHandle) -> None:
        """The process has completed."""
        self._live.pop(handle.record.id, None)

    # ---- interrupts

    def interrupt(self, ctx: CallContext, scope: Scope) -> InterruptReport:
        """End what a scope means; one that fails does not keep the others.

        :raises SessionValueError: an empty scope.
        :raises ScopedInterruptNotFoundError: nothing active matches.
        :raises ExceptionGroup: of what failed; carries ``report``.
        """
        ctx.check()
        if scope.is_empty:
            raise SessionValueError("interrupt: the scope is empty", operation="interrupt")
        live = [handle for handle in self._live.values() if scope.covers(handle.record)]
        stored = [
            record
            for record in self._store.list(ProcessQuery(scope, active_only=True))
            if record.id not in self._live
        ]
        if not live and not stored:
            raise ScopedInterruptNotFoundError("nothing that runs matches", operation="interrupt")
        report = InterruptReport(matched=len(live) + len(stored))
        errors: list[Exception] = []
        steps: list[Callable[[], None]] = [
            *(lambda h=h: self._interrupt_live(h, scope.reason, report) for h in live),
            *(lambda r=r: self._interrupt_stored(r, scope.reason, report) for r in stored),
        ]
        for step in steps:
            try:
                step()
            except Exception as error:
                errors.append(error)
        if errors:
            group = ExceptionGroup("interrupt: some processes could not be ended", errors)
            group.add_note(str(report))
            raise group
        return report

    def _interrupt_live(self, handle: ProcessHandle, reason: str, report: InterruptReport) -> None:
        if not self.is_live(handle):
            return  # it completed meanwhile
        if handle.interrupt is None:
            report.unavailable += 1
            return
        try:
            handle.checkpoint(state=ProcessState.INTERRUPTING, error=reason)
        finally:
            # A store that fails must not keep a process from being ended.
            if self.is_live(handle):
                handle.interrupt()
                report.signaled += 1

    def _interrupt_stored(
        self, record: ProcessRecord, reason: str, report: InterruptReport
    ) -> None:
        if record.pid <= 0:
            report.unavailable += 1
            return
        if not process_table.is_same(record.pid, record.started_at, record.start_mark):
            report.stale += 1
            self._change(record, ProcessState.STALE, "the process is not there any more")
            return
        self._change(record, ProcessState.INTERRUPTING, reason)
        if end_recovered(record):
            report.signaled += 1
            self._change(record, ProcessState.INTERRUPTED, reason)
        else:
            report.unavailable += 1
            raise ScopedInterruptNotFoundError(f"process {record.pid} outlived SIGKILL")

    # ---- the start of a runtime

    def reconcile_boot(self, ctx: CallContext) -> ReconcileReport:
        """Look at what an earlier runtime left active; without a store there is nothing."""
        report = ReconcileReport()
        for record in self._store.list(ProcessQuery(active_only=True)):
            if record.id in self._live:
                continue
            ctx.check()
            report.checked += 1
            is_same = record.pid > 0 and process_table.is_same(
                record.pid, record.started_at, record.start_mark
            )
            if is_same:
                report.recovered += 1
                self._change(record, ProcessState.RUNNING, None)
            else:
                report.stale += 1
                self._change(record, ProcessState.STALE, "not running when the runtime started")
        return report

    # ---- the store

    def _change(self, record: ProcessRecord, state: ProcessState, error: str | None) -> None:
        now = self.now()
        is_over = state not in ACTIVE_STATES
        change = StateChange(
            state, now, None if error is None else bounded(error), None, now if is_over else None
        )
        self._store.update_state(record.id, change)
