"""Storage: journals, the commit log, and the session store on TinyDB."""

from __future__ import annotations

from ..actors.exports import lazy_names

__getattr__, __dir__ = lazy_names(__name__, __file__)
