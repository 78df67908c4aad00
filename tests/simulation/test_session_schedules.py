"""DESIGN A1: the whole session under seeded schedules; every invariant after every step."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import time

import pytest
from greenroom.actors.testing.simulate import main
from greenroom.actors.testing.simulation.faults import FAULT_TEXTS, Fault
from greenroom.actors.testing.simulation.run import simulate

FAST = 10_000
FULL = 100_000
FAST_BUDGET_S = 20.0
"""Seconds of the processor."""


def run_schedules(count, budget_s=math.inf):
    """How many schedules were run, and messages handled."""
    begun, steps = time.process_time(), 0
    for seed in range(count):
        outcome = simulate(seed)
        assert outcome.violation is None, f"seed {seed}: {outcome.violation}"
        steps += outcome.steps
        if time.process_time() - begun > budget_s:
            return seed + 1, steps
    return count, steps


@pytest.mark.timeout(600)
def test_ten_thousand_schedules_or_as_many_as_fit():
    done, steps = run_schedules(FAST, FAST_BUDGET_S)
    assert done >= 200
    assert steps / done >= 20


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_a_hundred_thousand_schedules():
    assert run_schedules(FULL)[0] == FULL


def digest(seeds):
    """One hash over the traces of so many seeds; also what the subprocess prints."""
    whole = hashlib.sha256()
    for seed in range(seeds):
        outcome = simulate(seed, trace=True)
        whole.update("\n".join(outcome.trace).encode())
    return whole.hexdigest()


def digest_elsewhere(seeds, hash_seed):
    code = (
        "import importlib.util as u\n"
        f"s = u.spec_from_file_location('schedules', {__file__!r})\n"
        "m = u.module_from_spec(s); s.loader.exec_module(m)\n"
        f"print(m.digest({seeds}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_the_same_seed_gives_the_same_trace_in_every_process():
    assert digest(60) == digest(60) == digest_elsewhere(60, 1) == digest_elsewhere(60, 4242)


@pytest.mark.parametrize("fault", Fault)
def test_every_kind_of_fault_happens(fault):
    """Alone it changes what happens in some seed of the first hundreds that enable it."""
    assert FAULT_TEXTS[fault]
    for seed in range(600):
        outcome = simulate(seed, trace=True, faults=[fault])
        assert outcome.violation is None, f"seed {seed}: {outcome.violation}"
        if outcome.faults and outcome.trace != simulate(seed, trace=True, faults=[]).trace:
            return
    pytest.fail(f"{fault} never happens")


def test_the_command_replays_a_seed_readably(capsys):
    assert main(["--seed", "5"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("seed 5; faults: ")
    assert " <- AgentStarted(" in told
    assert "every invariant held" in told
    assert main(["--seed", "5", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["seed"] == 5
    assert facts["invariant"] is None
    assert len(facts["trace"]) > 3


def test_the_command_runs_many_and_refuses_what_it_does_not_know(capsys):
    assert main(["--seed", "3", "--schedules", "5", "--faults", "agent-crash"]) == 0
    assert "5 schedules, " in capsys.readouterr().out
    assert main(["--list-faults"]) == 0
    assert "power-loss" in capsys.readouterr().out
    assert main(["--faults", "meteorite"]) == 2
    assert main(["--schedules", "0"]) == 2
