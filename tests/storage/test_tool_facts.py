"""The tool members of an envelope: spec 03 3.1 and 3.2, row by row."""

from __future__ import annotations

import json
from typing import Any

import pytest
from greenroom.actors.model.event import AgentEvent, RawJSON
from greenroom.storage.format.envelope import content_text
from greenroom.storage.format.tool_facts import (
    CONTENT_DEPTH_MAX,
    content_display,
    tool_facts,
    tool_result_shape,
)
from hypothesis import given
from hypothesis import strategies as st


def members_of(kind: str, raw: object, title: str = "") -> dict[str, Any]:
    event = AgentEvent(type=kind, title=title, raw=RawJSON.of(raw))
    members: dict[str, Any] = json.loads(content_text(event))
    return members


@pytest.mark.parametrize(
    ("raw", "title", "name"),
    [
        ({"_meta": {"b": {"toolName": "B"}, "a": {"toolName": "A"}}, "title": "T"}, "", "A"),
        ({"_meta": {"a": {"toolName": " "}, "b": {"toolName": 5}}, "title": "T"}, "", "T"),
        ({"_meta": {"a": "x"}, "title": " ", "kind": "read"}, "", "read"),
        ({"_meta": 5, "title": 5, "kind": "edit"}, "", "edit"),
        ({"kind": " "}, "the title", "the title"),
        ([1], "the title", "the title"),
        ({"title": " T "}, "the title", " T "),
    ],
)
def test_the_name_of_a_tool_is_the_first_that_is_not_blank(
    raw: object, title: str, name: str
) -> None:
    assert members_of("tool_call", raw, title)["tool_name"] == name


def test_every_event_with_a_title_has_it_as_its_tool_name() -> None:
    assert json.loads(content_text(AgentEvent(type="system", title="x")))["tool_name"] == "x"
    assert "tool_name" not in json.loads(content_text(AgentEvent(type="system", text="x")))


def test_the_input_of_a_tool_is_kept_as_it_came_unless_it_is_null() -> None:
    event = AgentEvent(type="tool_call", raw=RawJSON(b'{"rawInput": {"n": 1.50}}'))
    assert tool_facts(event).input == b'{"n": 1.50}'
    assert "tool_input" not in members_of("tool_call", {"rawInput": None})
    assert members_of("tool_call", {"rawInput": 0})["tool_input"] == 0


def test_only_a_tool_result_has_a_result() -> None:
    raw = {"status": "FAILED", "rawOutput": "no", "kind": "bash"}
    assert "tool_result" not in members_of("tool_call", raw)
    found = members_of("tool_result", raw)
    assert found["tool_error"] is True
    assert found["tool_result"] == {"stderr": "no", "error": "no", "raw_output": "no"}


def test_a_result_that_says_nothing_is_left_out() -> None:
    found = members_of("tool_result", {"status": "completed"})
    assert not {"tool_result", "tool_error"} & set(found)


@pytest.mark.parametrize(
    ("name", "failed", "content", "output", "shape"),
    [
        ("Bash", False, "out", None, {"stdout": "out"}),
        ("bash", True, "bad", None, {"stderr": "bad", "error": "bad"}),
        ("Grep", True, "bad", None, {"stdout": "bad", "error": "bad"}),
        ("glob", False, " a ", None, {"stdout": "a"}),
        ("search", False, "", "hit", {"stdout": "hit", "raw_output": "hit"}),
        ("read", False, "text", None, {"content": "text"}),
        ("read", False, None, None, {}),
        (
            "edit",
            False,
            "shown",
            {"filePath": "a", "file_path": "b", "structuredPatch": [1], "content": "own"},
            {
                "file_path": "b",
                "content": "own",
                "structured_patch": [1],
                "raw_output": {
                    "filePath": "a",
                    "file_path": "b",
                    "structuredPatch": [1],
                    "content": "own",
                },
            },
        ),
        (
            "bash",
            True,
            None,
            {"stdout": 5, "stderr": " ", "error": "why", "text": "said"},
            {
                "stderr": "said",
                "error": "why",
                "raw_output": {"stdout": 5, "stderr": " ", "error": "why", "text": "said"},
            },
        ),
    ],
)
def test_the_shape_of_a_result(
    name: str, failed: bool, content: object, output: object, shape: dict[str, Any]
) -> None:
    assert tool_result_shape(name, failed, content, output) == shape


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("as is ", "as is "),
        ({"text": "t", "content": {"text": "inner"}}, "t"),
        ({"text": "", "content": {"text": "inner"}}, "inner"),
        ({"content": "no object"}, ""),
        ([{"text": " a "}, {"text": " "}, {"content": {"text": "b"}}, 5], "a\nb"),
        (5, ""),
        (None, ""),
    ],
)
def test_the_text_of_content(content: object, text: str) -> None:
    assert content_display(content) == text


def test_content_nested_over_the_limit_is_no_text() -> None:
    content: object = "deep"
    for _ in range(CONTENT_DEPTH_MAX):
        content = [content]
    assert content_display(content) == "deep"
    assert content_display([content]) == ""


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":"\xff"}',
        b'{"a":1}x',
        b'{"a":tru}',
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b"",
    ],
)
def test_raw_that_is_no_json_is_as_if_it_were_not_there(raw: bytes) -> None:
    event = AgentEvent(type="permission", title="t", raw=RawJSON(raw))
    assert json.loads(content_text(event)).keys() == {
        "schema",
        "type",
        "timestamp",
        "title",
        "tool_name",
    }


def test_a_member_that_can_not_be_decoded_is_as_if_it_were_not_there() -> None:
    event = AgentEvent(type="tool_call", raw=RawJSON(b'{"title":1e400,"kind":"read"}'))
    assert tool_facts(event).name == "read"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
named = st.sampled_from(
    ["_meta", "title", "kind", "status", "rawInput", "rawOutput", "content", "stdout", "text"]
)


@given(st.dictionaries(named, json_values) | json_values)
def test_any_raw_json_is_stored_without_an_error(raw: object) -> None:
    assert members_of("tool_result", raw)["type"] == "tool_result"
