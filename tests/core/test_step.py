"""The step as a whole: one row per input, deterministic ids."""

from __future__ import annotations

from typing import get_args

from greenroom.actors.core import effects as fx
from greenroom.actors.core import inputs
from greenroom.actors.core.state import mint
from greenroom.actors.core.step import RULES
from greenroom.actors.errors import OperationUnavailableError


def test_every_input_has_a_rule():
    assert set(RULES) == set(get_args(inputs.Input))


def test_nobody_waits_for_ask_zero():
    assert fx.reply(0) == ()
    assert fx.refuse(0, OperationUnavailableError("x")) == ()


def test_ids_come_from_the_seed(bench, make_bench):
    again = make_bench()
    first, one = mint(bench.state, "turn")
    _, two = mint(first, "turn")
    assert mint(again.state, "turn")[1] == one
    assert one != two
    assert len(one) == len("turn-") + 16
