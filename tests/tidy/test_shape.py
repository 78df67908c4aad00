"""The limits of shape: file length, function length, columns, names, and no sleeping in tests."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path for top in ("actors", "transport", "storage") for path in (ROOT / top).rglob("*.py")
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LINES_MAX = 350
FUNCTION_LINES_MAX = 60
COLUMNS_MAX = 100
EMPTY_NAMES = {"utils", "helpers", "common", "base", "misc", "util"}


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_shape(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= LINES_MAX
    assert path.stem not in EMPTY_NAMES
    assert max(map(len, lines), default=0) <= COLUMNS_MAX
    tree = ast.parse("\n".join(lines))
    assert ast.get_docstring(tree), "a module says what it is responsible for"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or node.lineno) - node.lineno < FUNCTION_LINES_MAX, node.name


@pytest.mark.parametrize("path", TESTS, ids=ids)
def test_no_test_sleeps_for_time_to_pass(path):
    """Scripts of agents are text and may; the tests themselves wait for something to happen."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "sleep"
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in ("time", "gevent", "asyncio")
        ):
            (seconds,) = node.args
            assert isinstance(seconds, ast.Constant), f"line {node.lineno}"
            assert seconds.value == 0, f"line {node.lineno}"
