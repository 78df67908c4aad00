"""spec 03 3.3 and 01 11.4: what is hidden, what stays, and what holds whatever the text is."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import pytest
from greenroom.actors.core.redaction import (
    MARK,
    SECRET_CHARS_MIN,
    SYNTHETIC_FIELDS,
    TEXT_FIELDS,
    Redactor,
    redact_agent_event,
)
from greenroom.actors.model.event import AgentEvent, EventType, RawJSON, TokenUsage
from greenroom.actors.model.failure import FailureKind, SessionFailure
from greenroom.actors.model.secret_text import (
    KEY_WORDS,
    STEMS,
    hide_values,
    is_secret_name,
)
from hypothesis import given
from hypothesis import strategies as st

PLAIN = Redactor()

TEXT_ROWS = [
    # rule 1
    ("Authorization: Basic dXNlcjpwYXNz", "Authorization: [REDACTED]"),
    ("proxy-authorization=abc def; path=/", "proxy-authorization=[REDACTED]; path=/"),
    ("authorization: a b, next\nline", "authorization: [REDACTED], next\nline"),
    ("Authorization: Bearer [REDACTED]", "Authorization: Bearer [REDACTED]"),
    ("Authorization:", "Authorization:"),
    # rule 2
    ("curl with Bearer abc.def-1 done", "curl with Bearer [REDACTED] done"),
    ("BEARER bearer abc", "Bearer [REDACTED]"),
    ("forbearer abc", "forbearer abc"),
    # rule 3
    ("id greenroom_claim_a-B_9.", "id greenroom_claim_[REDACTED]."),
    ("id GREENROOM_CLAIM_abc", "id GREENROOM_CLAIM_abc"),
    # rule 4
    ('{"api_key": "sk-1", "n": 1}', '{"api_key": "[REDACTED]", "n": 1}'),
    ("{'Password': 'p\\'q'}", "{'Password': '[REDACTED]'}"),
    ('"token": "was [REDACTED]"', '"token": "was [REDACTED]"'),
    ('"token": ""', '"token": ""'),
    ('"client-secret" => "x"', '"client-secret" => "[REDACTED]"'),
    # rule 5
    ("password: hunter2 now", "password: [REDACTED] now"),
    ("x-api-key:abc,next", "x-api-key:[REDACTED],next"),
    ("token = 'a b' c", "token = '[REDACTED]' c"),
    ('secret="a [REDACTED] b"', 'secret="a [REDACTED] b"'),
    ('secret="" x', 'secret="" x'),
    ('secret="unclosed x', "secret=[REDACTED] x"),
    ("oauth_code := 5;", "oauth_code := [REDACTED];"),
    ("token=[REDACTED]", "token=[REDACTED]"),
    ("token: Bearer abc", "token: Bearer [REDACTED]"),
    ("std::token::Kind", "std::token::Kind"),
    # plain prose and near misses
    ("next token should", "next token should"),
    ("my_token=abc", "my_token=abc"),
    ("tokens: 5", "tokens: 5"),
    ("ratio 1:2 = 0.5", "ratio 1:2 = 0.5"),
    ("", ""),
    (" \n\t ", " \n\t "),
]


@pytest.mark.parametrize(("text", "shown"), TEXT_ROWS)
def test_3_3_text_rules(text, shown):
    assert PLAIN.redact(text) == shown
    if text == shown:
        assert PLAIN.redact(text) is text


@pytest.mark.parametrize("word", KEY_WORDS.replace("[_-]?", "_").split("|"))
@pytest.mark.parametrize("spell", [str, str.upper, lambda w: w.replace("_", "-"), None])
def test_3_3_every_key_word_hides(word, spell):
    name = spell(word) if spell else word.replace("_", "")
    assert "hunter22" not in PLAIN.redact(f"a {name}: hunter22")
    assert "hunter22" not in PLAIN.redact(f'"{name}": "hunter22"')
    assert is_secret_name(f"x_{name}_y")
    assert any(stem in name.lower() for stem in STEMS), "the cheap look may miss nothing"


def test_3_3_only_lines_with_a_secret_change():
    text = "ratio: 5\r\ntoken: abc\r\nlast=1"
    assert PLAIN.redact(text) == "ratio: 5\r\ntoken: [REDACTED]\r\nlast=1"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"Api-Key": "x"}, {"Api-Key": MARK}),
        ({"my_token_name": "x"}, {"my_token_name": MARK}),
        ({"token_present": "yes", "Token-Present": "no"}, None),
        ({"max_tokens": 5, "secret": True, "password": None, "token": 0.5}, None),
        ({"secrets": ["a", 1]}, {"secrets": MARK}),
        ({"tokens": {"input": 5, "parts": [1, {"n": 2}]}}, None),
        ({"tokens": {"a": {"b": "c"}}}, {"tokens": MARK}),
        ({"token": MARK, "secrets": [MARK]}, None),
        ({"a": [{"b": "token=abc"}]}, {"a": [{"b": "token=[REDACTED]"}]}),
        ({"token=abc": 1}, {"token=[REDACTED]": 1}),
        ({5: "token=abc"}, {5: "token=[REDACTED]"}),
        (("Bearer abc", 1), [f"Bearer {MARK}", 1]),
        (["fine", 1, None, True], None),
        ("token=abc", "token=[REDACTED]"),
        (7, None),
    ],
)
def test_3_3_json_rules(value, shown):
    got = PLAIN.redact_json(value)
    if shown is None:
        assert got is value
    else:
        assert got == shown


def test_3_3_json_too_deep_is_hidden_whole():
    value: list = []
    for _ in range(100_000):
        value = [value]
    assert PLAIN.redact_json(value) == MARK
    data = b"[" * 100_000 + b'"token=abc"' + b"]" * 100_000
    assert PLAIN.redact_raw(RawJSON(data)).data == b'"[REDACTED]"'


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b'{"a" : 1.50}', None),
        (b'{"token" : 1e2, "n": 123456789012345678901234567890}', None),
        (b'{"n":123456789012345678901234567890,"t":"token=a"}', None),
        (b'{"to\\u006ben": "abc"}', b'{"token":"[REDACTED]"}'),
        (b'{"path": "a\\/b"}', None),
        (b'{"token":"abc","token":5}', b'{"token":5}'),
        (b'{"my_token":"abc","cut":"\\ud83d"}', b'{"my_token":"[REDACTED]","cut":"?"}'),
        (b'{"fine":"a token","cut":"\\ud83d"}', None),
        (b'{"my_token":"abc","n":1e999}', b'"[REDACTED]"'),
        (b'{"my_token":"abc","n":' + b"1" * 5000 + b"}", b'"[REDACTED]"'),
        (b"not json, my_token=abc", b'"[REDACTED]"'),
        (b"\xff my_token=abc", b'"[REDACTED]"'),
        (b"not json and no word", None),
    ],
)
def test_3_3_raw_stays_as_it_came_unless_something_is_hidden(data, shown):
    raw = RawJSON(data)
    got = PLAIN.redact_raw(raw)
    if shown is None and b"token=a" not in data:
        assert got is raw
    elif shown is not None:
        assert got.data == shown
    else:
        assert got.value == {"n": 123456789012345678901234567890, "t": "token=[REDACTED]"}


def test_11_4_registered_secrets_longest_first_and_counted():
    redactor = Redactor()
    first = redactor.register("  hunter2hunter2 ")
    second = redactor.register("hunter2hunter2")
    short = redactor.register("hunter2h")
    assert redactor.redact("a hunter2hunter2 b hunter2h c") == f"a {MARK} b {MARK} c"
    first()
    first()
    assert redactor.redact("hunter2hunter2") == MARK
    second()
    assert redactor.redact("hunter2hunter2") == f"{MARK}unter2"
    short()
    assert redactor.redact("hunter2hunter2") == "hunter2hunter2"


@pytest.mark.parametrize("secret", ["1234567", "   1234567  ", "", "REDACTED", "[REDACTE", MARK])
def test_11_4_what_is_too_short_or_part_of_the_mark_is_not_registered(secret):
    redactor = Redactor()
    redactor.register(secret)()
    redactor.register(secret)
    text = f"x {secret} {MARK}"
    assert redactor.redact(text) is text
    assert SECRET_CHARS_MIN == 8


def test_11_4_overlapping_secrets_leave_nothing_of_either():
    redactor = Redactor()
    redactor.register("12345678")
    redactor.register("5678abcdefgh")
    assert redactor.redact("<12345678abcdefgh>") == f"<{MARK}>"
    assert redactor.redact("1234567812345678") == MARK + MARK
    redactor.register("]abcdefgh")
    assert redactor.redact("12345678abcdefgh]abcdefgh") == MARK + MARK
    assert redactor.redact("[REDACTED]abcdefgh") == MARK


def test_11_4_hiding_a_secret_uncovers_the_word_behind_it():
    redactor = Redactor()
    redactor.register("12345678")
    assert redactor.redact("12345678token: abc") == f"{MARK}token: {MARK}"


def test_11_4_a_secret_in_raw_is_found_however_it_is_escaped():
    redactor = Redactor()
    redactor.register('a"b\\c\nd/é')
    redactor.register("\ud800 lone half")
    for data in (
        json.dumps({"x": 'a"b\\c\nd/é'}).encode(),
        json.dumps({"x": 'a"b\\c\nd/é'}, ensure_ascii=False).encode(),
        b'{"x":"a\\"b\\\\c\\nd\\/\xc3\xa9"}',
    ):
        assert redactor.redact_raw(RawJSON(data)).value == {"x": MARK}


def test_11_4_redact_and_bound():
    redactor = Redactor()
    redactor.register("hunter2hunter2")
    assert redactor.redact_and_bound("x hunter2hunter2", 12) == "x [REDACTED]"
    assert redactor.redact_and_bound("é" * 20, 20) == "é" * 3 + "...[truncated]"
    assert redactor.redact_and_bound("abcdef", 3) == "abc"
    assert redactor.redact_and_bound("abcdef", 0) == ""


def dirty(**fields):
    return AgentEvent(type=EventType.TOOL_CALL, **fields)


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_3_3_fields_of_an_event(field):
    event = dirty(**{field: "token=abc"})
    shown = redact_agent_event(event, PLAIN)
    assert getattr(shown, field) == "token=[REDACTED]"
    assert msgspec.structs.replace(shown, **{field: "token=abc"}) == event


def test_3_3_nested_fields_of_an_event():
    secret = "token=abc"
    when = datetime(2026, 4, 3, tzinfo=UTC)
    event = dirty(
        text=" ",
        failure=SessionFailure(FailureKind.PROMPT, secret, secret),
        synthetic={"reason": secret, "claim_token_hash": secret, "policy_digest": secret},
        runtime={"current_tool": secret, "turn_id": secret, "idle_seconds": 5, "deadline_at": when},
        raw=RawJSON(b'{"rawInput":{"token":"abc"}}'),
    )
    shown = redact_agent_event(event, PLAIN)
    hidden = "token=[REDACTED]"
    assert shown.text == " "
    assert shown.failure == SessionFailure(FailureKind.PROMPT, hidden, hidden)
    assert shown.synthetic == {
        "reason": hidden,
        "claim_token_hash": secret,
        "policy_digest": secret,
    }
    assert shown.runtime == {
        "current_tool": hidden,
        "turn_id": secret,
        "idle_seconds": 5,
        "deadline_at": when,
    }
    assert shown.raw.value == {"rawInput": {"token": MARK}}
    assert "token" not in " ".join(SYNTHETIC_FIELDS)


def test_3_3_ids_correlation_and_usage_stay():
    event = dirty(
        text="fine",
        session_id="token=abc",
        turn_id="token=abc",
        request_id="token=abc",
        task_id="token=abc",
        claim_token_hash="token=abc",
        hook_name="token=abc",
        usage=TokenUsage(total_tokens=5, cost_currency="token=abc"),
    )
    assert redact_agent_event(event, PLAIN) is event


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "a plain chunk of it"},
        {"text": " \n"},
        {"title": "Read file", "raw": RawJSON(b'{"a": 1}'), "tool_call_id": "c1"},
        {"failure": SessionFailure(FailureKind.PROMPT, "no"), "error": "no"},
        {"synthetic": {"reason": "wake"}, "runtime": {"idle_seconds": 5, "current_tool": "ls"}},
    ],
)
def test_3_3_an_event_with_nothing_to_hide_is_the_same_object(fields):
    event = dirty(**fields)
    assert redact_agent_event(event, PLAIN) is event


def test_3_3_text_alone_is_replaced():
    event = AgentEvent(type=EventType.AGENT_MESSAGE, text="Bearer abc")
    assert redact_agent_event(event, PLAIN).text == f"Bearer {MARK}"


PIECES = st.sampled_from(
    [
        *(
            "token",
            "secret:",
            "password=",
            '"',
            "'",
            ":",
            "=",
            " ",
            "\n",
            "::",
            "=>",
            ";",
            ",",
            "\\",
        ),
        *("Bearer ", "authorization: ", MARK, "[", "]", "_", "greenroom_claim_", "api_key", "abc"),
        *("hunter2hunter2", "hunter2h", "]hunter2", "TED]token", "İ", "\u017fecret"),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=14).map("".join)
SECRETS = st.lists(
    st.sampled_from(["hunter2hunter2", "hunter2h", "]hunter2", "TED]token", "secret: hunter2h"])
    | st.text(min_size=8, max_size=12),
    max_size=4,
)
JSON_VALUES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def redactor_with(secrets):
    redactor = Redactor()
    for secret in secrets:
        redactor.register(secret)
    return redactor, [s.strip() for s in secrets if len(s.strip()) >= 8 and s.strip() not in MARK]


@given(TEXTS, SECRETS)
def test_law_text(text, secrets):
    """Idempotent, bounded, and no registered secret survives."""
    redactor, known = redactor_with(secrets)
    shown = redactor.redact(text)
    assert redactor.redact(shown) is shown
    assert len(shown) <= 10 * len(text)
    assert not [secret for secret in known if secret in shown]
    assert hide_values(shown) == shown


def texts_of(value):
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from texts_of(item)
        case dict():
            for name, item in value.items():
                yield name
                yield from texts_of(item)


def numbers_of(value):
    match value:
        case list():
            return [n for item in value for n in numbers_of(item)]
        case dict():
            return [n for item in value.values() for n in numbers_of(item)]
        case str() | None:
            return []
        case _:
            return [value]


@given(JSON_VALUES, SECRETS)
def test_law_json(value, secrets):
    """No text of any member keeps a secret, however it is spread; and the raw form agrees."""
    redactor, known = redactor_with(secrets)
    shown = redactor.redact_json(value)
    assert redactor.redact_json(shown) is shown
    assert not [s for text in texts_of(shown) for s in known if s in text]
    raw = RawJSON(json.dumps(value).encode())
    assert redactor.redact_raw(raw).value == shown


@given(
    st.recursive(
        st.integers() | st.booleans(), lambda i: st.dictionaries(TEXTS, i, max_size=3), max_leaves=8
    )
)
def test_law_numbers_and_booleans_are_never_hidden(value):
    shown = PLAIN.redact_json(value)
    if not isinstance(value, dict) or len(shown) == len(value):
        assert set(numbers_of(shown)) <= set(numbers_of(value))
    if not any(":" in t or "=" in t or "earer" in t or "claim" in t for t in texts_of(value)):
        assert shown is value
