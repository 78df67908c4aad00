"""The settings an agent offers (04 2.6)."""

import pytest
from greenroom.actors.model.agent import Caps, SessionConfigOption
from greenroom.transport.acp import config_options
from greenroom.transport.acp.config_options import Setting


def select(option_id, *values, category=""):
    return SessionConfigOption(
        option_id, category=category, values=tuple((value, "") for value in values)
    )


def test_options_are_converted_and_odd_ones_dropped():
    decoded = config_options.decode_options(
        [
            {
                "id": " a ",
                "name": " A ",
                "description": "d",
                "category": "model",
                "type": "select",
                "currentValue": "x",
                "options": [
                    {"value": " x ", "name": "X"},
                    {"group": "g", "options": [{"value": "y"}, {"value": 5}, 7]},
                    "odd",
                ],
            },
            {"id": "b", "type": "boolean", "currentValue": True},
            {"id": "c", "type": "boolean"},
            {"id": "d", "type": "slider"},
            {"id": " ", "type": "select"},
            {"type": "select"},
            {"id": "e", "type": "select", "options": "odd"},
            5,
        ]
    )
    assert [(option.id, option.kind, option.current) for option in decoded] == [
        ("a", "select", "x"),
        ("b", "boolean", "true"),
        ("c", "boolean", "false"),
        ("e", "select", ""),
    ]
    assert decoded[0].values == (("x", "X"), ("y", ""))
    assert (decoded[0].label, decoded[0].category) == ("A", "model")
    assert config_options.decode_options(None) == ()


def test_ids_of_lists_that_may_be_odd():
    value = {"availableModes": [{"id": "a"}, {"id": ""}, {"id": 5}, {}, 5]}
    assert config_options.ids_in(value, "availableModes", "id") == ("a",)
    assert config_options.ids_in({"availableModes": 5}, "availableModes", "id") == ()
    assert config_options.ids_in(None, "availableModes", "id") == ()


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ((select("effort", "high"), select("reasoning_effort", "high")), "reasoning_effort"),
        ((select("x", "high", category="thought_level"), select("effort", "high")), "effort"),
        ((select("x", "high", category="thought_level"),), "x"),
        ((SessionConfigOption("effort", kind="boolean"),), None),
    ],
)
def test_an_effort_is_found_by_id_then_by_category(options, setting):
    found = config_options.choose_effort(Caps(config_options=options), "high")
    assert found == (Setting(setting, "high") if setting else None)


def test_d6_a_model_is_found_by_category_where_no_id_matches():
    caps = Caps(config_options=(select("llm", "b", category="model"),), supported_models=("b",))
    assert config_options.choose_model(caps, "b") == Setting("llm", "b")
