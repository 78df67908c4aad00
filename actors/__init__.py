"""Actors: the kernel, sessions as actors, and the manager that runs them.

Names are imported when they are first used, so the vocabulary costs no gevent; `__init__.pyi` says
where each one lives.
"""

from __future__ import annotations

from .exports import lazy_names

__getattr__, __dir__ = lazy_names(__name__, __file__)
