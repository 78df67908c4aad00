"""F8 and F11: a whole session beside the ACP SDK's client with an empty callback.

Ours stores, publishes and delivers every event; the peer validates and drops it. Rounds are
interleaved; each ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from .flood_agent import LINE
from .session_stages import stages

HERE = Path(__file__).parent
FLOOD = [sys.executable, "-S", str(HERE / "flood_agent.py")]
ROUNDS = 7


def run(script, *args):
    ran = subprocess.run(
        [sys.executable, str(HERE / script), *args, *FLOOD],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    return lines[0]["create"], lines[1:]


def median_of(rounds, value):
    return statistics.median(value(ours, peer) for ours, peer in rounds)


@pytest.mark.bench
def test_f8_events_per_second_per_core(tmp_path):
    updates = 20_000
    rounds = []
    for n in range(ROUNDS):
        _, ours = run("session_client.py", str(tmp_path / f"h{n}"), "2", str(updates))
        _, peer = run("sdk_client.py", "2", str(updates))
        rounds.append((ours[-1], peer[-1]))
    cpu = median_of(rounds, lambda ours, peer: peer["cpu"] / ours["cpu"])
    wall = median_of(rounds, lambda ours, peer: peer["wall"] / ours["wall"])
    rate = updates / statistics.median(ours["cpu"] for ours, _ in rounds)
    print(f"\nF8  CPU per event, SDK client / ours: {cpu:.2f} (bar 3); wall {wall:.2f}")
    print(f"    ours: {rate:,.0f} events per second and core")
    print("    one stage alone, microseconds per event:")
    for stage, cost in stages(json.dumps(LINE).encode() + b"\n"):
        print(f"      {stage:36} {cost:6.2f}")
    assert cpu >= 3


@pytest.mark.bench
def test_f11_create_and_one_turn_of_20_updates(tmp_path):
    """The quiescence wait of 50 ms after an answer is the specification's (04 4.2): subtracted."""
    settle = 0.05
    rounds = []
    for n in range(ROUNDS):
        create, ours = run("session_client.py", str(tmp_path / f"h{n}"), "3", "20")
        peer_create, peer = run("sdk_client.py", "3", "20")
        rounds.append(((create, ours[-1]["wall"] - settle), (peer_create, peer[-1]["wall"])))
    create = median_of(rounds, lambda ours, peer: ours[0] / peer[0])
    turn = median_of(rounds, lambda ours, peer: ours[1] / peer[1])
    milliseconds = 1000 * statistics.median(ours[1] for ours, _ in rounds)
    print(f"\nF11 create, ours / SDK: {create:.2f} (bar 1.3)")
    print(f"    turn of 20 updates: {turn:.2f} (bar 1.3), {milliseconds:.1f} ms")
    assert create <= 1.3
    assert turn <= 1.3
