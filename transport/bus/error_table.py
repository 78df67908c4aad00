"""Exceptions over the wire: a class name, a text and fields, rebuilt from a table; pure.

Rule owned here: only classes of the table travel, each by the name of the nearest one it derives
from; of any other the caller learns that the runtime failed, and the runtime's log says how.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import errors as bus_errors
from .control import plain
from .errors import BusError, BusProtocolError, BusRemoteError

TEXT_CHARS_MAX = 10_000
BUILT_IN: tuple[type[Exception], ...] = (
    TimeoutError,
    ValueError,
    TypeError,
    LookupError,
    NotImplementedError,
    *(
        kind
        for kind in vars(bus_errors).values()
        if isinstance(kind, type) and issubclass(kind, BusError)
    ),
)


class ErrorTable:
    """The exceptions that a control plane carries, by class name.

    :param classes: those besides the bus's own and a few of Python's. A class with fields is made
        as ``cls(message, **fields)``, any other as ``cls(message)``.
    """

    def __init__(self, classes: Iterable[type[Exception]] = ()) -> None:
        self._classes = {kind.__name__: kind for kind in (*BUILT_IN, *classes)}

    def take_apart(self, error: BaseException) -> tuple[str, str, dict[str, Any]] | None:
        """Class name, text and plain fields; ``None`` for an exception not in the table."""
        for kind in type(error).__mro__:
            if self._classes.get(kind.__name__) is kind:
                fields = getattr(error, "fields", None)
                plain_fields = {
                    name: _plain_or_text(value) for name, value in (fields or {}).items()
                }
                return kind.__name__, str(error)[:TEXT_CHARS_MAX], plain_fields
        return None

    def rebuild(self, name: str, message: str, fields: dict[str, Any]) -> Exception:
        """The exception of a name; :class:`BusRemoteError` when it is not in the table."""
        kind = self._classes.get(name)
        if kind is None:
            return BusRemoteError(f"{name}: {message}", reason=message)
        try:
            return kind(message, **fields) if _has_fields(kind) else kind(message)
        except TypeError as error:  # made by another version of the class
            return BusRemoteError(f"{name}: {message} ({error})", reason=message)


def _has_fields(kind: type[Exception]) -> bool:
    """Whether it takes fields, as the trees of greenroom do."""
    return kind.__module__.partition(".")[0] != "builtins" and kind.__init__ is not (
        Exception.__init__
    )


def _plain_or_text(value: Any) -> Any:
    try:
        return plain(value)
    except BusProtocolError:
        return str(value)
