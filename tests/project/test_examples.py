"""Every example runs, as a user would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TOLD = {
    "crash_and_resume.py": [
        "kill -9",
        "is active",
        "resumed, it says: Still 42.",
        "gap-free: True",
    ],
    "custom_driver.py": ["HELLO THERE!", "OF TWO LINES!", "[cancelled]", "stored 1: user_message"],
    "demo.py": ["You steered me", "kill -9", "reason agent_crashed", "I am back, and I remember"],
    "embed_asyncio.py": ["[first]", "[second]", "events:"],
    "one_session.py": ["[allowed:", "[done]", "The transcript, from the store:", "assistant:"],
    "steer_and_interrupt.py": ["> staged", "position 2", "> interrupted, 2 dropped", "end_turn"],
    "supervised_fleet.py": ["12 of 12 workers are running", "none lost", "The fleet has stopped."],
    "two_subscribers.py": ["early:", "late:", "as stored: True"],
}
"""What each example must have printed."""


def test_every_example_is_known():
    assert {path.name for path in EXAMPLES} == set(TOLD)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example(path, tmp_path):
    (tmp_path / "README.md").write_text("# Something to read\n")
    ran = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        env={**os.environ, "GREENROOM_DEMO_PACE": "0.002"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    for words in TOLD[path.name]:
        assert words in " ".join(ran.stdout.split()), ran.stdout
