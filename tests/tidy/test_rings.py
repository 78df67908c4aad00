"""DESIGN of the rings: what a module may import, and that pure modules pull in no machinery."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path for top in ("actors", "transport", "storage") for path in (ROOT / top).rglob("*.py")
)
MACHINERY = {"gevent", "pykka", "zmq", "tinydb", "greenlet"}
WORLD = {
    "os",
    "io",
    "sys",
    "time",
    "random",
    "uuid",
    "socket",
    "subprocess",
    "threading",
    "logging",
}

PURE = ("actors/model/", "actors/core/", "transport/acp/", "storage/format/")
PURE_FILES = (
    "actors/errors.py",
    "actors/restart_arithmetic.py",
    "transport/bus/frames.py",
    "transport/bus/cursor.py",
    "transport/bus/catchup.py",
    "transport/bus/errors.py",
    "transport/bus/arrived.py",
    "transport/bus/control.py",
    "transport/bus/credentials.py",
    "transport/bus/error_table.py",
    "transport/bus/fields.py",
    "transport/bus/filters.py",
    "transport/bus/positions.py",
    "transport/bus/roles.py",
    "transport/bus/tracks.py",
    "transport/bus/wanted.py",
    "transport/bus/window.py",
    "transport/bus/zap.py",
)
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "actors/errors.py": ("greenroom.",),
    "actors/restart_arithmetic.py": ("greenroom.",),
    "actors/model/": (
        "greenroom.actors.core",
        "greenroom.actors.runtime",
        "greenroom.storage",
        "greenroom.transport",
    ),
    "actors/core/": (
        "greenroom.actors.runtime",
        "greenroom.actors.session",
        "greenroom.actors.manager",
        "greenroom.storage",
        "greenroom.transport",
    ),
    "actors/runtime/": (
        "greenroom.actors.model",
        "greenroom.actors.core",
        "greenroom.actors.errors",
        "greenroom.actors.session",
        "greenroom.actors.manager",
        "greenroom.storage",
        "greenroom.transport",
    ),
    "actors/session/": ("greenroom.actors.manager", "greenroom.actors.cli", "zmq", "tinydb"),
    "storage/": (
        "greenroom.actors.core",
        "greenroom.actors.runtime",
        "greenroom.actors.session",
        "greenroom.actors.manager",
        "greenroom.transport",
        "gevent",
        "pykka",
        "zmq",
    ),
    "transport/": (
        "greenroom.actors.core",
        "greenroom.actors.session",
        "greenroom.actors.manager",
        "pykka",
        "tinydb",
    ),
    "transport/acp/": ("greenroom.storage", "greenroom.transport.agent", "greenroom.transport.bus"),
    "transport/demo/": ("greenroom.actors", "greenroom.storage", "gevent", "msgspec", "cbor2"),
}
"""Path prefix and what nothing below it may import."""


def is_pure(path: Path) -> bool:
    name = str(path.relative_to(ROOT))
    return name in PURE_FILES or name.startswith(PURE)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("greenroom", *(p for p in parts if p != "__init__")))


def imports_of(path: Path) -> set[str]:
    """The absolute names of everything a file imports, for typing too."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
            found.add(prefix)
            found.update(f"{prefix}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_flow_one_way(path):
    name = str(path.relative_to(ROOT))
    imported = imports_of(path)
    if is_pure(path):
        tops = {module.split(".")[0] for module in imported}
        assert not tops & (MACHINERY | WORLD), f"{name} is pure"
    for prefix, banned in FORBIDDEN.items():
        if name.startswith(prefix):
            broken = {
                m for m in imported for b in banned if m == b or m.startswith(b.rstrip(".") + ".")
            }
            assert not broken, f"{name} may not import {sorted(broken)}"


def test_pure_modules_pull_in_no_machinery():
    """In a fresh interpreter: importing every pure module loads none of the libraries."""
    names = [module_name(path) for path in SOURCES if is_pure(path)]
    assert len(names) > 40
    script = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(sorted(set(sys.modules) & {MACHINERY!r}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == "[]"


def test_importing_the_packages_pulls_in_no_machinery():
    script = (
        "import sys, greenroom.actors, greenroom.transport, greenroom.storage\n"
        f"print(sorted(set(sys.modules) & {MACHINERY!r}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["actors", "transport", "storage"])
def test_every_public_name_is_there(package):
    script = (
        f"import greenroom.{package} as p\n"
        "missing = [n for n in p.__all__ if getattr(p, n, None) is None]\n"
        "print(missing, len(p.__all__), set(p.__all__) <= set(dir(p)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    missing, count, listed = ran.stdout.strip().rsplit(" ", 2)
    assert (missing, listed) == ("[]", "True")
    assert int(count) > 3
