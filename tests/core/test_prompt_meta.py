"""spec 02 2: prompt metadata, normalised, checked in order, and spread over a turn's events."""

from __future__ import annotations

import pytest
from greenroom.actors.core.prompt_meta import CORRELATION, enriched, network_meta, validated_meta
from greenroom.actors.errors import SessionValueError
from greenroom.actors.model.event import AgentEvent
from greenroom.actors.model.prompt_meta import (
    PromptMeta,
    PromptNetworkMeta,
    PromptSyntheticMeta,
    PromptSystemMeta,
)

NET = PromptNetworkMeta(message_id="m1", from_="peer")
SYN = PromptSyntheticMeta(reason="wake", task_id="task-1")


def test_2_normalising_trims_and_drops_what_says_nothing():
    meta = PromptMeta(
        " user ",
        PromptNetworkMeta(message_id=" ", to="\n"),
        PromptSyntheticMeta(reason=" wake "),
        PromptSystemMeta(" native "),
    )
    assert meta.normalized() == PromptMeta(
        "user", None, PromptSyntheticMeta(reason="wake"), PromptSystemMeta("native")
    )
    assert PromptMeta().normalized() == PromptMeta()


@pytest.mark.parametrize(
    ("meta", "source", "text"),
    [
        (PromptMeta("network"), "user", 'turn source "user" does not match metadata'),
        (PromptMeta("network"), "synthetic", 'source "synthetic" does not match'),
        (PromptMeta(), "synthetic", "dedicated synthetic submission path"),
        (PromptMeta(network=NET), "", "user prompt metadata cannot include network fields"),
        (
            PromptMeta(network=NET, synthetic=SYN, system=PromptSystemMeta("x")),
            "user",
            "session: user prompt metadata cannot include network fields",
        ),
        (
            PromptMeta(synthetic=SYN, system=PromptSystemMeta("smoke")),
            "user",
            'acp: invalid system prompt delivery "smoke"',
        ),
        (PromptMeta(synthetic=SYN), "user", "acp: user prompt metadata cannot include network or"),
        (
            PromptMeta(synthetic=SYN, network=NET),
            "network",
            "acp: network prompt metadata cannot include synthetic fields",
        ),
        (PromptMeta(), "pigeon", 'acp: invalid prompt turn source "pigeon"'),
        (PromptMeta(synthetic=SYN), "pigeon", 'acp: invalid prompt turn source "pigeon"'),
    ],
)
def test_2_first_failure_wins(meta, source, text):
    with pytest.raises(SessionValueError, match=text) as caught:
        validated_meta(meta, source, session_id="sess-1")
    assert caught.value.session_id == "sess-1"


@pytest.mark.parametrize(
    ("meta", "text"),
    [
        (PromptMeta(), "session: synthetic prompt turns require synthetic metadata"),
        (
            PromptMeta(synthetic=PromptSyntheticMeta(reason=" ")),
            "session: synthetic prompt turns require synthetic metadata",
        ),
        (
            PromptMeta(synthetic=SYN, network=NET),
            "acp: synthetic prompt metadata cannot include network fields",
        ),
        (
            PromptMeta(synthetic=PromptSyntheticMeta(task_id="t")),
            "acp: synthetic prompt metadata requires a reason",
        ),
    ],
)
def test_2_synthetic_turns(meta, text):
    with pytest.raises(SessionValueError, match=text):
        validated_meta(meta, "synthetic", dedicated=True)


@pytest.mark.parametrize(
    ("meta", "source", "dedicated", "told"),
    [
        (None, "", False, PromptMeta("user")),
        (None, " network ", False, PromptMeta("network")),
        (PromptMeta(" user "), "user", False, PromptMeta("user")),
        (PromptMeta(network=NET), "network", False, PromptMeta("network", NET)),
        (PromptMeta(synthetic=SYN), "synthetic", True, PromptMeta("synthetic", synthetic=SYN)),
        (
            PromptMeta(system=PromptSystemMeta("first_turn_prefix")),
            "user",
            False,
            PromptMeta("user", system=PromptSystemMeta("first_turn_prefix")),
        ),
    ],
)
def test_2_what_is_valid(meta, source, dedicated, told):
    assert validated_meta(meta, source, dedicated=dedicated) == told


def test_2_prompt_network_takes_one_or_none():
    assert network_meta(()) == PromptMeta("network")
    assert network_meta((NET,)) == PromptMeta("network", NET)
    with pytest.raises(SessionValueError, match="at most one metadata value"):
        network_meta((NET, NET))


def test_2_json_names():
    meta = PromptMeta("network", NET, PromptSyntheticMeta(), PromptSystemMeta("native"))
    told = {
        "turn_source": "network",
        "network": {"message_id": "m1", "from": "peer"},
        "system": {"prompt_delivery": "native"},
    }
    assert meta.as_json() == told
    assert PromptMeta.from_json(told) == PromptMeta(
        "network", NET, None, PromptSystemMeta("native")
    )
    assert PromptMeta().as_json() == {}
    assert PromptMeta.from_json({"other": 5, "network": None}) == PromptMeta()
    assert PromptMeta.from_json({"network": {"other": 5}}).network == PromptNetworkMeta()


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"turn_source": 5}, "turn_source"),
        ({"network": "x"}, "network"),
        ({"network": {"from": 5}}, "from_"),
    ],
)
def test_2_json_of_the_wrong_type(members, field):
    with pytest.raises(SessionValueError) as caught:
        PromptMeta.from_json(members)
    assert caught.value.field == field


def test_2_events_of_a_synthetic_turn_are_enriched():
    synthetic = PromptSyntheticMeta(**dict.fromkeys(CORRELATION.values(), "x"))
    meta = PromptMeta("synthetic", synthetic=synthetic)
    event = enriched(AgentEvent(type="done", task_id="own", run_id=" "), meta)
    assert {field: getattr(event, field) for field in CORRELATION} == {
        **dict.fromkeys(CORRELATION, "x"),
        "task_id": "own",
    }


@pytest.mark.parametrize(
    "meta", [None, PromptMeta("network", NET), PromptMeta(synthetic=PromptSyntheticMeta())]
)
def test_2_other_events_stay_as_they_are(meta):
    event = AgentEvent(type="done")
    assert enriched(event, meta) is event
