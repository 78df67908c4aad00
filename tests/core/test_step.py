"""The step as a whole: one row per input, later rows refused by name, deterministic ids."""

from __future__ import annotations

from typing import get_args

import pytest
from greenroom.actors.core import effects as fx
from greenroom.actors.core import inputs
from greenroom.actors.core.state import mint
from greenroom.actors.core.step import LATER, RULES
from greenroom.actors.errors import OperationUnavailableError


def test_every_input_has_a_rule_or_a_name_it_is_refused_by():
    assert set(RULES) | set(LATER) == set(get_args(inputs.Input))
    assert not set(RULES) & set(LATER)


EXAMPLES = [inputs.PermissionAsked(99)]


def test_there_is_an_example_of_every_later_input():
    assert {type(example) for example in EXAMPLES} == set(LATER)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: type(e).__name__)
def test_what_comes_later_is_refused_by_name(active, example):
    before = active.state
    (effect,) = active.feed(example)
    assert active.state == before
    if hasattr(example, "ask"):
        assert isinstance(effect, fx.Refuse)
        assert isinstance(effect.error, OperationUnavailableError)
        assert effect.error.operation == LATER[type(example)]
    else:
        assert isinstance(effect, fx.Report)
        assert LATER[type(example)] in effect.text


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
