"""The exceptions of the bus, in a tree of their own.

::

    BusError
    +-- BusProtocolError      bytes that are no frame, request or reply of this version
    +-- BusCursorError        (also ValueError) a cursor that is none, or of another session
    +-- BusEndpointError      no runtime there, or its sockets can not be opened
    +-- BusSecurityError      a key that is none, or keys that others could have read or written
    +-- BusTimeoutError       (also TimeoutError) the runtime did not answer in time
    +-- BusRemoteError        the runtime answered that it failed
    +-- BusForbiddenError     the caller's role does not allow that verb
    +-- BusOverloadedError    more calls at once than the runtime takes; nothing was done
    +-- BusLostError          the connection broke; whether the call took effect is not known
    +-- RequestExpiredError   an old request id, of which the runtime no longer knows the outcome
    +-- BusClosedError        the publisher or subscriber is closed, or belongs to a parent process

Each carries its facts as attributes; the text is for people.
"""

from __future__ import annotations

from ...actors.errors import GreenroomError


class BusError(GreenroomError):
    """Root of the tree."""


class BusProtocolError(BusError):
    """Bytes that are no frame, request or reply of this version. Field: ``version`` if another."""

    version: int | None = None


class BusCursorError(BusError, ValueError):
    """A cursor that can not be read, or that says nothing about the session followed."""


class BusEndpointError(BusError):
    """No runtime where one was looked for, or its sockets can not be opened. Field: ``path``."""

    path: str = ""


class BusSecurityError(BusError):
    """A key that is none, or keys that others could have read or written. Field: ``path``."""

    path: str = ""


class BusTimeoutError(BusError, TimeoutError):
    """The runtime did not answer. Field: ``timeout_s``."""

    timeout_s: float = 0.0


class BusRemoteError(BusError):
    """The runtime answered that it failed. Fields: ``session_id``, ``reason``."""

    session_id: str = ""
    reason: str = ""


class BusForbiddenError(BusError):
    """The caller's role does not allow that verb. Fields: ``verb``, ``role``, ``needed``."""

    verb: str = ""
    role: str = ""
    needed: str = ""


class BusOverloadedError(BusError):
    """More calls at once than the runtime takes; nothing was done. Field: ``limit``."""

    limit: int = 0


class BusLostError(BusError):
    """The connection broke; whether the call took effect is not known. Field: ``verb``."""

    verb: str = ""


class RequestExpiredError(BusError):
    """An old request id, of which the runtime no longer knows the outcome: it does not run again.

    Field: ``request_id``.
    """

    request_id: str = ""


class BusClosedError(BusError):
    """The publisher or subscriber is closed, or was made before a fork."""
