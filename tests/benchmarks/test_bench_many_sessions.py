"""F9 and a thousand turns at once, on the scripted driver: one process, one hub."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("many_sessions.py")


def run(home, *args):
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), str(home), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.bench
def test_f9_ten_thousand_sessions_at_one_event_per_second(tmp_path):
    told = run(tmp_path / "home", "load", 10_000, 1, 10)
    print(f"\nF9  10,000 sessions: {told['events_per_s']:,.0f} events/s of 10,000")
    print(f"    p50 {told['p50_ms']:.1f} ms, p99 {told['p99_ms']:.1f} ms (bar 50)")
    print(f"    CPU {100 * told['cpu']:.0f} % of a core (bar 40)")
    print(f"    {told['kb_per_session']:.1f} kB per idle session (bar 8)")
    print(f"    created in {told['create_s']:.0f} s")
    assert told["p99_ms"] <= 50
    assert told["cpu"] <= 0.4
    assert told["kb_per_session"] <= 8


@pytest.mark.bench
def test_a_thousand_turns_at_ten_events_per_second_are_interrupted_in_time(tmp_path):
    told = run(tmp_path / "home", "interrupt", 1000, 10)
    print(f"\n    1,000 turns: {told['events_per_s']:,.0f} events/s of 10,000")
    print(f"    interrupt to idle, p99: {told['interrupt_p99_ms']:.0f} ms (bar 250)")
    assert told["interrupted"] == 1000
    assert told["interrupt_p99_ms"] <= 250
