"""Records: framing, and the verdict on every way in which bytes can end."""

from __future__ import annotations

import pytest
from greenroom.actors.errors import StoreCorruptError, StoreValidationError
from greenroom.storage.format import records
from greenroom.storage.format.records import (
    COMPACTED,
    FORMAT,
    FRAME_BYTES,
    Corrupt,
    End,
    Record,
    Torn,
    Verdict,
    decode_header,
    encode_header,
    encode_record,
    scan,
)
from hypothesis import given
from hypothesis import strategies as st

payloads = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def scanned(data: bytes, start: int = 0) -> tuple[list[bytes], Verdict]:
    *found, verdict = scan(lambda offset, size: data[offset : offset + size], start)
    assert all(isinstance(item, Record) for item in found)
    assert isinstance(verdict, End | Torn | Corrupt)
    return [item.payload for item in found if isinstance(item, Record)], verdict


@given(payloads, st.integers(FRAME_BYTES, 64))
def test_records_come_back_whatever_is_read_at_a_time(found: list[bytes], chunk: int) -> None:
    data = b"".join(map(encode_record, found))
    before = records.SCAN_READ_BYTES
    records.SCAN_READ_BYTES = chunk
    try:
        assert scanned(data) == (found, End(len(data)))
    finally:
        records.SCAN_READ_BYTES = before


@given(payloads.filter(bool), st.data())
def test_a_cut_anywhere_is_a_torn_tail_after_the_last_whole_record(
    found: list[bytes], data: st.DataObject
) -> None:
    encoded = list(map(encode_record, found))
    whole = b"".join(encoded)
    cut = data.draw(st.integers(len(whole) - len(encoded[-1]) + 1, len(whole) - 1))
    end = len(whole) - len(encoded[-1])
    assert scanned(whole[:cut]) == (found[:-1], Torn(end))


@given(payloads.filter(lambda found: len(found) > 1), st.data())
def test_a_flipped_bit_before_a_whole_record_is_corruption(
    found: list[bytes], data: st.DataObject
) -> None:
    encoded = list(map(encode_record, found))
    whole = bytearray(b"".join(encoded))
    last = len(whole) - len(encoded[-1])
    bit = data.draw(st.integers(0, last * 8 - 1))
    whole[bit // 8] ^= 1 << (bit % 8)
    kept, verdict = scanned(bytes(whole))
    assert kept == found[: len(kept)]
    assert verdict == Corrupt(sum(map(len, encoded[: len(kept)])))


def test_zeros_behind_the_last_record_are_a_torn_tail() -> None:
    assert scanned(encode_record(b"a") + bytes(5000)) == ([b"a"], Torn(FRAME_BYTES + 1))


def test_a_record_is_found_again_across_the_edge_of_two_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "SCAN_READ_BYTES", 16)
    for padding in range(1, 40):
        data = b"\x00" * padding + encode_record(b"later")
        assert scanned(data) == ([], Corrupt(0)), padding


def test_the_search_for_a_later_record_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    # Frames that claim a payload and fail the checksum: each costs its length.
    fake = bytearray(encode_record(b"x" * 50))
    fake[2] ^= 1
    monkeypatch.setattr(records, "RESYNC_CHECK_BYTES_MAX", 200)
    assert scanned(b"\x00" + bytes(fake) * 4) == ([], Torn(0))
    assert scanned(b"\x00" + bytes(fake) * 5) == ([], Corrupt(0))


def test_a_length_over_the_limit_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_record(b"x" * 50)
    monkeypatch.setattr(records, "PAYLOAD_BYTES_MAX", 49)
    assert scanned(data) == ([], Torn(0))
    with pytest.raises(StoreValidationError):
        encode_record(b"x" * 50)
    assert encode_record(b"x" * 49)


def test_an_empty_payload_is_no_record() -> None:
    with pytest.raises(StoreValidationError):
        encode_record(b"")


def test_a_record_is_one_cbor_item_of_fixed_width() -> None:
    # The CRC-32C of "123456789" is a published check value.
    assert encode_record(b"123456789").hex() == "821ae30692835a00000009" + b"123456789".hex()


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_header_says_what_a_file_is(kind: str, name: str) -> None:
    header = encode_header(kind, name)
    assert decode_header(header + b"rest") == (kind, name, len(header), FORMAT)
    compacted = encode_header(kind, name, COMPACTED)
    assert decode_header(compacted) == (kind, name, len(header), COMPACTED)


@given(st.integers(0, 8 * len(encode_header("events", "sess-1")) - 1))
def test_a_damaged_header_is_refused(bit: int) -> None:
    header = bytearray(encode_header("events", "sess-1"))
    header[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(StoreCorruptError):
        decode_header(bytes(header))


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x82\x01\x02", b"{}", encode_record(b"x")])
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(StoreCorruptError):
        decode_header(data)


def test_the_header_of_another_format_is_refused() -> None:
    header = encode_header("events", "sess-1", "greenroom.journal.v3")
    with pytest.raises(StoreCorruptError) as caught:
        decode_header(header)
    assert caught.value.foreign
