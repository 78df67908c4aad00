"""The end of a command's output as valid text (04 5.5.2, D22), and what its environment keeps."""

from __future__ import annotations

import pytest
from greenroom.transport.agent.environment import filtered, is_secret
from greenroom.transport.agent.output_ring import (
    OUTPUT_BYTES_DEFAULT,
    OUTPUT_BYTES_MAX,
    OutputRing,
    output_limit,
)
from hypothesis import given
from hypothesis import strategies as st


def ring_of(*pieces, limit):
    ring = OutputRing(limit)
    for piece in pieces:
        ring.add(piece)
    return ring


@pytest.mark.parametrize(
    ("asked", "limit"),
    [
        (None, OUTPUT_BYTES_DEFAULT),
        (-1, 0),
        (0, 0),
        (7, 7),
        (OUTPUT_BYTES_MAX + 1, OUTPUT_BYTES_MAX),
    ],
)
def test_the_limit_that_is_kept(asked, limit):
    assert output_limit(asked) == limit


def test_all_is_kept_up_to_the_limit():
    ring = ring_of(b"abc", b"de", limit=5)
    assert (ring.text(final=False), ring.truncated) == ("abcde", False)


def test_beyond_the_limit_the_end_is_kept_and_truncated_stays():
    ring = ring_of(b"abcdef", limit=5)
    assert (ring.text(final=True), ring.truncated) == ("bcdef", True)


def test_no_half_character_at_the_front():
    assert ring_of("a€bc".encode(), limit=4).text(final=True) == "bc"
    assert ring_of("😀b".encode(), limit=2).text(final=True) == "b"


def test_a_half_character_at_the_end_waits_for_the_rest():
    start, rest = "€".encode()[:2], "€".encode()[2:]
    ring = ring_of(b"a", start, limit=10)
    assert ring.text(final=False) == "a"
    ring.add(rest)
    assert ring.text(final=False) == "a€"


def test_a_half_character_that_stays_half_is_shown_as_such():
    ring = ring_of(b"a\xe2\x82", limit=10)
    assert ring.text(final=True) == "a\N{REPLACEMENT CHARACTER}"


def test_zero_keeps_nothing():
    ring = ring_of(b"abc", limit=0)
    assert (ring.text(final=True), ring.truncated) == ("", True)


def test_memory_stays_at_twice_the_limit():
    ring = OutputRing(1000)
    for _ in range(1000):
        ring.add(b"x" * 999)
        assert len(ring._kept) <= 2 * 1000 + 4 + 999
    assert ring.text(final=True) == "x" * 1000


@given(
    pieces=st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode))),
    limit=st.integers(0, 50),
)
def test_the_text_is_valid_and_never_too_long(pieces, limit):
    ring = ring_of(*pieces, limit=limit)
    text = ring.text(final=True)
    assert len(text.encode()) <= limit
    whole = b"".join(pieces)
    assert ring.truncated or text == whole.decode("utf-8", "replace")


@given(text=st.text(max_size=60), limit=st.integers(1, 40))
def test_of_text_the_longest_end_that_fits_is_kept(text, limit):
    kept = ring_of(text.encode(), limit=limit).text(final=True)
    assert text.endswith(kept)
    longer = text[len(text) - len(kept) - 1 :] if len(kept) < len(text) else None
    assert longer is None or len(longer.encode()) > limit


@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_API_KEY",
        "my_apikey_2",
        "AWS_SECRET_ACCESS_KEY",
        "github_token",
        "DB_PASSWORD",
        "SSH_AUTH_SOCK",
        "XDG_SESSION_ID",
        "SOME_KEY",
    ],
)
def test_secrets_by_name(name):
    assert is_secret(name)
    assert filtered({name: "x", "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.mark.parametrize("name", ["PATH", "HOME", "LANG", "KEYBOARD", "MONKEY"])
def test_what_is_no_secret(name):
    assert not is_secret(name)


def test_nameless_variables_are_dropped():
    assert filtered({"": "x"}) == {}
