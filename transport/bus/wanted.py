"""What a subscriber asks of the store, and whether an answer fits the question; pure."""

from __future__ import annotations

from dataclasses import dataclass

from .catchup import RowsReply
from .errors import BusProtocolError
from .positions import Position


@dataclass(frozen=True, slots=True)
class HeadsWanted:
    """Ask where the followed session ends, or all of them from ``after`` on."""

    session_id: str | None
    after: str = ""


@dataclass(frozen=True, slots=True)
class RowsWanted:
    """Ask for the rows of a session after a position."""

    session_id: str
    epoch: int
    sequence: int


def start_of(wanted: RowsWanted, page: RowsReply) -> Position:
    """The position that the rows of a page follow."""
    if not page.reset:
        return wanted.epoch, wanted.sequence
    if not page.runs:
        return page.head_epoch, page.head_sequence
    return page.runs[0].epoch, page.runs[0].first - 1


def check_page(wanted: RowsWanted, page: RowsReply) -> None:
    """Whether a page is an answer to what was wanted.

    :raises BusProtocolError: it is of another session, has a gap, or ends before it should.
    """
    where = f'rows of "{wanted.session_id}" after {wanted.epoch}.{wanted.sequence}'
    if page.session_id != wanted.session_id:
        raise BusProtocolError(f"{where}: the answer is to another request")
    epoch, sequence = start_of(wanted, page)
    for run in page.runs:
        if run.first != sequence + 1 or run.epoch < epoch:
            raise BusProtocolError(f"{where}: the answer has a gap at {run.epoch}.{run.first}")
        epoch, sequence = run.epoch, run.last
    if not page.runs and sequence != page.head_sequence:
        raise BusProtocolError(f"{where}: no rows, but the head is at {page.head_sequence}")
