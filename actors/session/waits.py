"""Waiting for an answer, with the limit and the error that callers know."""

from __future__ import annotations

from typing import TypeVar

import pykka

from ..runtime.future import GreenFuture

T = TypeVar("T")


def answer(future: GreenFuture[T], timeout: float | None, operation: str) -> T:
    """Wait for an answer.

    :raises TimeoutError: none within ``timeout`` seconds; what was asked goes on.
    """
    try:
        return future.get(timeout=timeout)
    except pykka.Timeout:
        raise TimeoutError(f"{operation}: no answer within {timeout} s") from None
