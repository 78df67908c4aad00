"""What every group of verbs has: the runtime it works on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .runtime import Runtime


class VerbGroup:
    """Verbs run in a greenlet of the hub; the surfaces bring the calls there."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
