"""Records of processes that outlive the runtime: ``processes.journal`` of the home (04 9).

Written in the hub, through the kernel and not to the disk: a process that a power loss ends needs
no record. At the next start of a runtime whatever of them still runs is ended, when pid and start
time say that it is the same one (DESIGN 5.17).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec

from ...storage.format.operations import (
    DocID,
    Location,
    Operation,
    Put,
    Remove,
    encode_document,
)
from ...storage.table_storage import JournalStorage, Sync
from ...transport.agent.context import CallContext
from ...transport.agent.process_store import MemoryProcessStore, ProcessQuery, StateChange
from ...transport.agent.tool_processes import ToolProcesses
from ...transport.agent.tool_records import ProcessRecord, Scope
from ..errors import ScopedInterruptNotFoundError

PROCESSES_FILE = "processes.journal"
PROCESSES_TABLE = "processes"
LEFT_BEHIND = "left behind by an earlier runtime"


class JournalProcessStore:
    """A ``ProcessStore`` on a journal; for the hub's thread.

    :param path: the journal; made when missing.
    :raises StorageError: it can not be opened or read, or is no such journal.
    """

    def __init__(self, path: Path) -> None:
        self._storage = JournalStorage(path, sync=Sync.NONE, kind=PROCESSES_TABLE)
        self._memory = MemoryProcessStore()
        stored = [self._storage.load(place) for place in self._places.values()]
        records = [msgspec.convert(document, ProcessRecord) for document in stored]
        for record in sorted(records, key=lambda record: record.updated_at):
            self._memory.upsert(record)
        self._drop_forgotten()

    def upsert(self, record: ProcessRecord) -> None:
        """Keep a record in place of an earlier one of its id.

        :raises StorageError: it was not written; nothing has changed.
        """
        put = Put(PROCESSES_TABLE, record.id, encode_document(asdict(record)))
        self._storage.commit([put])
        self._memory.upsert(record)
        self._drop_forgotten()

    def update_state(self, record_id: str, change: StateChange) -> None:
        """Change the state of one.

        :raises ScopedInterruptNotFoundError: no such record.
        :raises StorageError: it was not written; nothing has changed.
        """
        place = self._places.get(record_id)
        if place is None:
            raise ScopedInterruptNotFoundError(f"no process record {record_id}")
        record = msgspec.convert(self._storage.load(place), ProcessRecord)
        self.upsert(change.of(record))

    def list(self, query: ProcessQuery) -> list[ProcessRecord]:
        """Records by ``updated_at``, then ``id``."""
        return self._memory.list(query)

    def close(self) -> None:
        """Close the journal."""
        self._storage.close()

    @property
    def _places(self) -> Mapping[DocID, Location]:
        return self._storage.places(PROCESSES_TABLE)

    def _drop_forgotten(self) -> None:
        """What memory keeps no longer, the journal does not either."""
        if len(self._places) == self._memory.count:
            return
        kept = {record.id for record in self._memory.list(ProcessQuery())}
        gone: list[Operation] = [
            Remove(PROCESSES_TABLE, key) for key in self._places if key not in kept
        ]
        self._storage.commit(gone)


def view_records(path: Path) -> list[ProcessRecord]:
    """The records in a journal; nothing is made or written.

    :raises StorageError: it can not be read, or is no such journal.
    """
    if not path.exists():
        return []
    storage = JournalStorage(path, kind=PROCESSES_TABLE, read_only=True)
    try:
        places = storage.places(PROCESSES_TABLE).values()
        return [msgspec.convert(storage.load(place), ProcessRecord) for place in places]
    finally:
        storage.close()


def left_behind(
    processes: ToolProcesses, store: JournalProcessStore, logger: logging.Logger
) -> list[ProcessRecord]:
    """What an earlier runtime started and still runs; to be asked before anything is started."""
    report = processes.reconcile_boot(CallContext.after(None))
    if report.checked:
        logger.info("processes of an earlier runtime: %s", report)
    return store.list(ProcessQuery(active_only=True))


def end_processes(
    processes: ToolProcesses, records: Sequence[ProcessRecord], logger: logging.Logger
) -> None:
    """End processes that were left behind; blocks its greenlet."""
    for record in records:
        scope = Scope(process_id=record.id, reason=LEFT_BEHIND)
        try:
            processes.interrupt(CallContext.after(None), scope)
            owner = record.owner.session_id
            logger.info('process %d of session "%s" was %s', record.pid, owner, LEFT_BEHIND)
        except ScopedInterruptNotFoundError:
            continue
        except ExceptionGroup as error:
            logger.warning("process %d was not ended: %s", record.pid, error.exceptions[0])
