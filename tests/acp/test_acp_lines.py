"""Bytes into lines (04 3.1, 3.2)."""

import pytest
from greenroom.transport.acp.lines import LineSplitter
from greenroom.transport.acp.options import FRAME_BYTES_MAX
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a", []),
        (b"a\n", [b"a"]),
        (b"a\nb\nc", [b"a", b"b"]),
        (b"\n\n  \n\r\na\n", [b"a"]),
        (b"a\r\nb\n", [b"a\r", b"b"]),
    ],
)
def test_lines_end_with_a_line_feed_and_blank_ones_do_not_matter(data, lines):
    assert LineSplitter().feed(data) == lines


@RELAXED
@given(
    st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"x", b"\n"))),
    st.lists(st.integers(0, 5)),
)
def test_however_the_bytes_are_cut_the_lines_are_the_same(parts, sizes):
    data = b"\n".join(parts)
    whole, split = LineSplitter(10), LineSplitter(10)
    lines = whole.feed(data)
    assert [line for piece in cut(data, sizes) for line in split.feed(piece)] == lines
    assert split.overflowed == whole.overflowed
    assert split.finish() == whole.finish()


def test_a_line_of_the_limit_ends_the_stream_after_the_lines_before_it():
    splitter = LineSplitter(4)
    assert splitter.feed(b"abc\nabcd\nx\n") == [b"abc"]
    assert splitter.overflowed
    assert splitter.feed(b"y\n") == []
    assert splitter.finish() == []


def test_an_unfinished_line_of_the_limit_is_noticed_before_its_end():
    splitter = LineSplitter(4)
    splitter.feed(b"abc")
    assert not splitter.overflowed
    splitter.feed(b"d")
    assert splitter.overflowed


def test_the_limit_is_ten_mebibytes():
    splitter = LineSplitter()
    assert splitter.feed(b"a" * (FRAME_BYTES_MAX - 1) + b"\n")
    splitter.feed(b"a" * FRAME_BYTES_MAX)
    assert splitter.overflowed


def test_the_last_line_may_lack_its_end():
    splitter = LineSplitter()
    splitter.feed(b'{"a":')
    splitter.feed(b"1}")
    assert splitter.finish() == [b'{"a":1}']
    assert splitter.finish() == []
