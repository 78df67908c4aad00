"""Agents made by others, by hand: ``make agents``. They never run with the other tests."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def pytest_configure(config):
    config.addinivalue_line("markers", "agents: real third-party agents, only in `make agents`")


def pytest_collection_modifyitems(config, items):
    """Only who asks for them by the marker gets them: they download, and take minutes."""
    if "agents" not in config.option.markexpr:
        ours = [item for item in items if HERE in item.path.parents]
        items[:] = [item for item in items if item not in ours]
        config.hook.pytest_deselected(items=ours)
