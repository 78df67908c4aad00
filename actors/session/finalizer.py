"""The end of an incarnation, after its last row is stored (01 10.1 steps 7 and 8).

Every step runs even when an earlier one failed; what failed is collected and told to whoever
waits for the stop. Steps of later chapters take their place in this list.
"""

from __future__ import annotations

from collections.abc import Callable

from ..model.session import SessionMeta
from ..model.settings import LIFECYCLE_TIMEOUT
from ..runtime.future import GreenFuture
from .ports import SessionPorts
from .waits import answer

FinalStep = Callable[[SessionPorts, SessionMeta], None]


def close_store(ports: SessionPorts, meta: SessionMeta) -> None:
    """Drain, materialise and close the store; its directory is complete afterwards."""
    closed: GreenFuture[None] = GreenFuture()

    def settle(error: Exception | None) -> None:
        if error is None:
            closed.set(None)
        else:
            closed.set_exception((type(error), error, error.__traceback__))

    ports.store.close(settle)
    answer(closed, LIFECYCLE_TIMEOUT, "close the store")


def write_final_meta(ports: SessionPorts, meta: SessionMeta) -> None:
    """The stopped meta is on disk before anybody hears of the end."""
    answer(ports.meta_writer.put(meta), LIFECYCLE_TIMEOUT, "write meta")


STEPS: tuple[FinalStep, ...] = (close_store, write_final_meta)


def materialize_ledger(ports: SessionPorts, meta: SessionMeta) -> None:
    """The ledger of what was stored, where the host keeps ledgers (01 12)."""
    if ports.ledger is not None:
        answer(ports.ledger(meta), LIFECYCLE_TIMEOUT, "materialize ledger")


def finalize(ports: SessionPorts, meta: SessionMeta, *, ledger: bool = False) -> list[Exception]:
    """Run every step; returns what failed, in order."""
    errors: list[Exception] = []
    for step in (*STEPS, materialize_ledger) if ledger else STEPS:
        try:
            step(ports, meta)
        except Exception as error:
            errors.append(error)
    return errors
