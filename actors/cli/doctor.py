"""``greenroom doctor``: what is wrong with a home, what to do about it, and doing it.

Exit codes: 0 nothing but notes, 1 problems are left, 4 ``--fix`` while a runtime has the home.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import click

from ...storage.checkup import Finding, Problem, Severity, examine
from ...storage.mending import mend
from ...transport.agent import process_table
from ...transport.agent.process_store import ProcessQuery
from ...transport.agent.tool_processes import ToolProcesses
from ...transport.agent.tool_records import ProcessRecord
from ...transport.bus.endpoints import ENDPOINTS_FILE
from ...transport.bus.errors import BusError
from ..errors import StorageError
from ..manager.options import default_home
from ..manager.process_records import (
    PROCESSES_FILE,
    JournalProcessStore,
    end_processes,
    view_records,
)
from ..manager.remote import RemoteSessionManager
from .connection import LOCK_FILE, is_owned
from .failures import BUSY, NOT_FOUND, OneLine
from .rendering import echo_json

COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "bright_black"}
LOGGER = logging.getLogger("greenroom")


def doctor(*, home: Path | None, fix: bool, as_json: bool) -> bool:
    """Examine a home, tell what was found, and with ``fix`` put right what can be.

    :returns: whether nothing worse than a note is left.
    """
    place = home or default_home()
    if not place.is_dir():
        raise OneLine(f'there is no home at "{place}"; `greenroom run` makes it', NOT_FOUND)
    owned = is_owned(place)
    if fix and owned:
        raise OneLine(f'a runtime has "{place}": stop it before --fix', BUSY)
    findings: list[Finding] = []
    for finding in _examine(place, owned):
        findings.append(finding)
        if not fix:
            _tell(finding, as_json)
    outcomes = _fixed(place, findings) if fix else {}
    for finding in findings if fix else ():
        _tell(finding, as_json, *outcomes.get(finding, ("",)))
    left = [
        finding
        for finding in findings
        if finding.advice.severity is not Severity.INFO and outcomes.get(finding) != ("fixed",)
    ]
    if not as_json:
        _sum_up(place, findings, left, fix=fix, owned=owned)
    return not left


def _examine(home: Path, owned: bool) -> Iterator[Finding]:
    if owned:
        yield from _runtime(home)
    else:
        yield from _of_a_killed_runtime(home)
    yield from examine(home, owned=owned)


def _runtime(home: Path) -> Iterator[Finding]:
    """What the runtime that has the home says of it."""
    try:
        with RemoteSessionManager(home) as manager:
            status = manager.home_status()
    except (BusError, TimeoutError):
        return  # a program that runs sessions for itself, or one that just ends
    if status.read_only or status.error:
        yield Finding(Problem.READ_ONLY, str(home), status.error)


def _of_a_killed_runtime(home: Path) -> Iterator[Finding]:
    lock = home / LOCK_FILE
    if lock.exists() and (pid := lock.read_text().strip()):
        yield Finding(Problem.LOCK_STALE, str(lock), f"of process {pid}")
    if (home / ENDPOINTS_FILE).exists():
        yield Finding(Problem.ENDPOINTS_STALE, str(home / ENDPOINTS_FILE))
    for record in _left(home):
        detail = f"process {record.pid}: {record.command}"
        yield Finding(Problem.PROCESS_LEFT, str(home), detail, record.owner.session_id)


def _left(home: Path) -> list[ProcessRecord]:
    return [
        record
        for record in view_records(home / PROCESSES_FILE)
        if record.is_active
        and process_table.is_same(record.pid, record.started_at, record.start_mark)
    ]


def _fixed(home: Path, findings: list[Finding]) -> dict[Finding, tuple[str, ...]]:
    outcomes: dict[Finding, tuple[str, ...]] = {}
    try:
        for finding, error in mend(home, findings):
            outcomes[finding] = ("fixed",) if error is None else ("failed", str(error))
    except StorageError as error:
        # The home does not open: what needs that can not be done.
        fixable = [finding for finding in findings if finding.advice.fix]
        outcomes = dict.fromkeys(fixable, ("failed", str(error)))
    left = [finding for finding in findings if finding.problem is Problem.PROCESS_LEFT]
    if left:
        store = JournalProcessStore(home / PROCESSES_FILE)
        try:
            records = store.list(ProcessQuery(active_only=True))
            end_processes(ToolProcesses(store), records, LOGGER)
        finally:
            store.close()
        gone = not _left(home)
        outcomes |= dict.fromkeys(left, ("fixed",) if gone else ("failed", "it outlived SIGKILL"))
    return outcomes


def _tell(finding: Finding, as_json: bool, outcome: str = "", error: str = "") -> None:
    advice = finding.advice
    if as_json:
        echo_json(
            {
                "problem": finding.problem,
                "severity": advice.severity,
                "path": finding.path,
                "session_id": finding.session_id,
                "detail": finding.detail,
                "next_step": advice.next_step,
                "fix": advice.fix,
                "outcome": outcome,
                "error": error,
            }
        )
        return
    detail = f" ({finding.detail})" if finding.detail else ""
    colour = COLOURS[advice.severity]
    click.secho(f"{advice.severity:<8}{finding.problem} {finding.path}{detail}", fg=colour)
    click.echo(f"        {advice.next_step}")
    if outcome:
        click.echo(f"        {outcome}{': ' if error else ''}{error}")
    elif advice.fix:
        click.echo(f"        --fix {advice.fix}")


def _sum_up(
    home: Path, findings: list[Finding], left: list[Finding], *, fix: bool, owned: bool
) -> None:
    if owned:
        click.secho("a runtime has the home: what is in motion was not judged", dim=True, err=True)
    if not findings:
        click.secho(f"{home}: nothing found", fg="green")
        return
    can = sum(bool(finding.advice.fix) for finding in findings)
    told = f"{len(findings)} found, {len(left)} of them problems"
    hint = "" if fix or not can or owned else f"; {can} can be put right: greenroom doctor --fix"
    click.echo(told + hint)
