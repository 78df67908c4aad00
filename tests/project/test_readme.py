"""The programs of the pages work when they are copied."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
PROGRAMS = {
    "a session": ("README.md", "for event in session.prompt(", ""),
    "supervised sessions": ("README.md", "RestartPolicy(", ""),
    "hooks": ("README.md", "HookSet(", "Answer in one sentence."),
    "a store": ("README.md", "JournalDB(", ""),
    "an actor": ("README.md", "class Greeter", "hello world"),
    "the kernel": ("actors/runtime/README.md", "class Counter", "2"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_a_page_runs(program, tmp_path, monkeypatch):
    page, marker, printed = PROGRAMS[program]
    (block,) = (b for b in BLOCK.findall((ROOT / page).read_text()) if marker in b)
    monkeypatch.setenv("GREENROOM_HOME", str(tmp_path / "home"))
    ran = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    assert printed in ran.stdout


@pytest.mark.parametrize("page", ["README.md", "actors/runtime/README.md"])
def test_every_name_a_page_imports_is_public(page):
    text = (ROOT / page).read_text()
    for package, names in re.findall(r"^from (greenroom\.\w+) import (.+)$", text, re.MULTILINE):
        for name in names.split(", "):
            assert name in __import__(package, fromlist=["__all__"]).__all__
