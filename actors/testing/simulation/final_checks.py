"""What must be true when a simulated runtime has come to rest, and when it was closed.

==================  ========================================================================
invariant           holds when
==================  ========================================================================
every-answer        no call and no stream waits for ever; every ask was answered
conservation        accepted = handled + dead letters + waiting, for every mailbox
no-crash            no actor ended by an error, no call raised what it does not document
no-hung-turn        at rest no session has a turn; each turn of an active one has its end
markers             what a caller was told of the queue is in the history, once
stored              the stored rows are the published ones, byte for byte
no-orphan           no agent process outlives the runtime
stopped             a finalized incarnation left one ``session_stopped`` row, one notice and a
                    meta document in state ``stopped``
==================  ========================================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ....storage.layout import Layout
from ....storage.readonly import ReadOnlySessionStore
from ...core.busy_input import QUEUE_TABLE
from ...manager.runtime import Runtime
from ...model.event import EventType
from ...model.session import State
from ...session.live import LiveSession
from ..conservation import assert_conserved
from ..driver import ScriptedDriver
from .checks import Checks, SessionBook, stored_rows
from .client import Callers, Promise
from .world import HOME, SimWorld

__all__ = ["check_closed", "check_rest"]

MARKER_OF = {
    "queued": "transcript_marker.prompt_queued",
    "staged": "transcript_marker.prompt_steered",
    "canceled": "transcript_marker.prompt_dropped",
}


def check_rest(checks: Checks, runtime: Runtime, callers: Callers, healthy: bool) -> None:
    """Nothing is left to do: everything that was asked is answered.

    :param healthy: whether the store took every write.
    """
    for surprise in callers.surprises:
        checks.fail("no-crash", f"undocumented {surprise!r}")
    for what in callers.open_calls.values():
        checks.fail("every-answer", f"{what} was never answered")
    _check_mailboxes(checks)
    for live in runtime.registry.all():
        _check_live(checks, live)
    for book in checks.books.values():
        _check_promises(checks, book, callers.promises, healthy)


def check_closed(checks: Checks, world: SimWorld, callers: Callers, healthy: bool) -> None:
    """The runtime is closed.

    :param healthy: whether the store took every write.
    """
    for session_id, book in checks.books.items():
        rows = stored_rows(world.disk, session_id)
        if (rows if healthy else rows[: len(book.rows)]) != book.rows:
            checks.fail("stored", f"{session_id}: {len(rows)} stored, {len(book.rows)} published")
        if not healthy:
            continue
        _check_stopped(checks, world, session_id, book)
        _check_entries(checks, world, session_id, book, callers.promises)


def _check_mailboxes(checks: Checks) -> None:
    try:
        assert_conserved()
    except AssertionError as error:
        checks.fail("conservation", str(error))


def check_processes(checks: Checks, driver: ScriptedDriver) -> None:
    """No agent outlives the runtime."""
    left = [process.pid for process in driver.processes if not process.done.is_set()]
    if left:
        checks.fail("no-orphan", f"agents {left} outlive the runtime")


def check_cells(checks: Checks, cells: Iterable[LiveSession]) -> None:
    """No actor ended by an error; no mailbox lost a message."""
    for live in cells:
        if live.ref is None:
            continue
        if len(live.asks):
            checks.fail("every-answer", f"{live.id}: {len(live.asks)} asks wait")
        box = live.ref.actor_inbox
        if box.error is not None:
            checks.fail("no-crash", f"{live.id}: {box.error!r}")
        if box.accepted != box.handled + box.dead + box.depth:
            checks.fail("conservation", f"{live.id}: {box!r}")


def _check_live(checks: Checks, live: LiveSession) -> None:
    state = live.state
    if state.turn is not None:
        checks.fail("no-hung-turn", f"{live.id}: {state.turn.turn_id} never ends")
    if len(live.asks):
        checks.fail("every-answer", f"{live.id}: {len(live.asks)} asks wait")
    if state.meta.state is State.ACTIVE:
        book = checks.book(live.id)
        if book.open_turn:
            checks.fail("no-hung-turn", f"{live.id}: {book.open_turn} has no terminal event")


def _check_promises(
    checks: Checks, book: SessionBook, promises: list[Promise], healthy: bool
) -> None:
    told: Counter[tuple[str, str]] = Counter()
    for event in book.history:
        if event.type == EventType.MARKER_CREATED and event.raw is not None:
            evidence = event.raw.value.get("evidence", {})
            told[event.title, str(evidence.get("queue_entry_id", ""))] += 1
    for promise in promises:
        result = promise.result
        title = MARKER_OF.get(result.status)
        if title is not None and told[title, result.queue_entry_id] == 0:
            checks.fail("markers", f"no {title} of {result.queue_entry_id}")
        if result.queued and told[MARKER_OF["queued"], result.queue_entry_id] > 1:
            checks.fail("markers", f"two {title} of {result.queue_entry_id}")
        if healthy and result.interrupted and not told["transcript_marker.prompt_interrupted", ""]:
            checks.fail("markers", f"an interrupt of {promise.session_id} left no marker")


def _check_stopped(checks: Checks, world: SimWorld, session_id: str, book: SessionBook) -> None:
    lives = [life for life in checks.incarnations.values() if life.session_id == session_id]
    finalized = sum(life.finalized for life in lives)
    rows = book.stopped_rows - book.stopped_before
    if rows != finalized:
        checks.fail("stopped", f"{session_id}: {rows} rows of {finalized} finalizations")
    if book.stopped_notices != book.created_notices:
        notices = f"{book.created_notices} created, {book.stopped_notices} stopped"
        checks.fail("stopped", f"{session_id}: {notices}")
    path = HOME / "sessions" / session_id / "meta.json"
    if world.disk.exists(str(path)):  # none is left of a start that a power loss cut
        meta = world.documents.read_meta(path)
        if meta.state is not State.STOPPED:
            checks.fail("stopped", f"{session_id}: its meta says {meta.state}")


def _check_entries(
    checks: Checks, world: SimWorld, session_id: str, book: SessionBook, promises: list[Promise]
) -> None:
    """Every accepted input is dispatched, cancelled, or still waits in the store; never lost."""
    directory = Layout(HOME).session(session_id)
    if not world.disk.exists(directory):
        return
    reader = ReadOnlySessionStore.open(directory, session_id, world.disk)
    try:
        documents = reader.state_documents(QUEUE_TABLE)
    finally:
        reader.close()
    for promise in promises:
        entry = promise.result.queue_entry_id
        if not entry or promise.session_id != session_id or promise.result.status == "canceled":
            continue
        status = documents.get(entry, {}).get("status", "lost")
        ran = book.dispatched[entry]
        if status not in ("queued", "sent", "canceled"):
            checks.fail("no-stranded-entry", f"{session_id}: {entry} is {status}")
        if ran and status != "sent":
            checks.fail("no-double-dispatch", f"{session_id}: {entry} ran and is {status}")
