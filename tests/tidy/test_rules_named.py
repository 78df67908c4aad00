"""Every numbered rule of the agent driver is named by a test: in its name or in a docstring.

D1 to D37 are what the driver promises beyond the behaviour it was modelled on (04), R1 to R36 what
real agents do wrong, or differently, and how it is met (07 10).
"""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
RULES = [*(f"D{number}" for number in range(1, 38)), *(f"R{number}" for number in range(1, 37))]
NAMED = re.compile(r"(?<![A-Za-z0-9])([DRdr]\d{1,2})(?![A-Za-z0-9])")


def names() -> set[str]:
    """The rules that tests name."""
    found: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        if path.parent.name in ("acp", "agent", "session", "thirdparty"):
            for text in re.findall(
                r"def (test_\w+)|\"\"\"(.*?)\"\"\"", path.read_text(), re.DOTALL
            ):
                told = "".join(text).replace("_", " ")
                found.update(name.upper() for name in NAMED.findall(told))
    return found


def test_every_rule_is_named_by_a_test():
    assert set(RULES) - names() == set()
