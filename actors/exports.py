"""Public names imported when they are first used (PEP 562), read from the package's own stub.

The ``__init__.pyi`` beside a package's ``__init__.py`` is its public API: type checkers read it,
and so does this, so that a name is written once. The scheme is that of SPEC 1 of Scientific Python.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any


def lazy_names(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package whose names live in its modules.

    ``__all__`` is such a name too.

    :param package: the ``__name__`` of the package.
    :param file: its ``__file__``; the stub lies beside it.
    """
    homes = cache(lambda: _homes(Path(file).with_suffix(".pyi")))

    def load(name: str) -> Any:
        if name == "__all__":
            return names()
        module = homes().get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f".{module}", package), name)

    def names() -> list[str]:
        return sorted(homes())

    return load, names


def _homes(stub: Path) -> Mapping[str, str]:
    """Each public name and the module, relative to the package, that the stub imports it from."""
    return {
        alias.name: statement.module
        for statement in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.ImportFrom) and statement.module is not None
        for alias in statement.names
    }
