"""``python -m greenroom.actors.testing.simulate``: run schedules of the whole runtime, replay one.

Exit status: 0 when every invariant held, 1 when one did not, 2 for a wrong argument.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from .simulation.faults import FAULT_TEXTS, Fault
from .simulation.run import Outcome, simulate

MODULE = "greenroom.actors.testing.simulate"


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the arguments say; returns the exit status."""
    options = _parser().parse_args(argv)
    if options.faults_list:
        for fault, text in FAULT_TEXTS.items():
            print(f"{fault:14} {text}")
        return 0
    if options.schedules < 1:
        print("simulate: --schedules must be at least 1", file=sys.stderr)
        return 2
    try:
        faults = None if options.faults is None else [Fault(f) for f in options.faults]
    except ValueError as error:
        print(f"simulate: {error}; --list-faults lists them", file=sys.stderr)
        return 2
    one = options.schedules == 1
    failed: list[Outcome] = []
    steps = 0
    for seed in range(options.seed, options.seed + options.schedules):
        outcome = simulate(seed, trace=one, faults=faults)
        steps += outcome.steps
        if outcome.violation is not None:
            failed.append(outcome)
            if len(failed) >= options.stop_after:
                break
        if one:
            _tell_one(outcome, options.json)
    if not one:
        _tell_all(options, steps, failed)
    return 1 if failed else 0


def _tell_one(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**_facts(outcome), "trace": list(outcome.trace)}, indent=2))
        return
    print(f"seed {outcome.seed}; faults: {', '.join(outcome.faults) or 'none'}")
    print("\n".join(outcome.trace))
    if outcome.violation is None:
        print(f"every invariant held; {outcome.steps} messages were handled")
    else:
        print(f"VIOLATED {outcome.violation}")
        print("next: the line above VIOLATED in the trace is the step that did it")


def _tell_all(options: argparse.Namespace, steps: int, failed: Sequence[Outcome]) -> None:
    if options.json:
        facts = [_facts(outcome) for outcome in failed]
        print(json.dumps({"schedules": options.schedules, "steps": steps, "failed": facts}))
        return
    for outcome in failed:
        print(f"seed {outcome.seed}: VIOLATED {outcome.violation}")
        print(f"next: python -m {MODULE} --seed {outcome.seed}")
    print(f"{options.schedules} schedules, {steps} messages, {len(failed)} violations")


def _facts(outcome: Outcome) -> dict[str, Any]:
    violation = outcome.violation
    return {
        "seed": outcome.seed,
        "faults": list(outcome.faults),
        "steps": outcome.steps,
        "invariant": violation.invariant if violation else None,
        "detail": violation.detail if violation else None,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument(
        "--schedules", type=int, default=1, metavar="M", help="how many seeds; one prints its trace"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--faults", nargs="*", metavar="KIND", help="only these kinds of faults")
    parser.add_argument(
        "--list-faults", dest="faults_list", action="store_true", help="say which kinds there are"
    )
    parser.add_argument(
        "--stop-after", type=int, default=10, metavar="N", help="end after N violations (10)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
