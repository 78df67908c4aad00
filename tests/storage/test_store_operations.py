"""Operations: payloads, commits, the index they leave, and finding one's way in CBOR."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from greenroom.actors.errors import StoreValidationError
from greenroom.storage.format.cbor_items import UNSIGNED, head, item_end, read_text, read_unsigned
from greenroom.storage.format.commits import decode_commit, encode_commit
from greenroom.storage.format.operations import (
    Activate,
    AppendRow,
    DropTable,
    InvalidDocumentError,
    Operation,
    Put,
    Remove,
    Restore,
    decode_document,
    decode_payload,
    encode_document,
    encode_operation,
    encode_payload,
    join_payload,
    placed,
    row_places,
)
from greenroom.storage.format.table_index import TableIndex
from hypothesis import given
from hypothesis import strategies as st

tables = st.sampled_from(["a", "b"])
ids = st.integers(0, 4) | st.sampled_from(["x", "y"])
documents = st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=4), max_size=3)
operations = (
    st.builds(Put, tables, ids, documents.map(encode_document))
    | st.builds(Remove, tables, ids)
    | st.builds(DropTable, tables)
    | st.builds(Activate, st.integers(1, 9), st.text(max_size=4))
    | st.builds(Restore, st.booleans())
)
rows = st.binary(min_size=1, max_size=9).map(AppendRow)


@given(st.integers(0, 2**40), st.integers(1, 2**40), st.lists(operations | rows))
def test_a_payload_comes_back(epoch: int, number: int, found: list[Operation]) -> None:
    assert decode_payload(encode_payload(epoch, number, found)) == (epoch, number, found)


@given(st.lists(operations), st.lists(st.binary(max_size=1100)))
def test_rows_are_joined_as_the_operations_that_append_them(
    found: list[Operation], data: list[bytes]
) -> None:
    items = [encode_operation(operation) for operation in found]
    joined = join_payload(3, 7, items, data)
    assert joined == encode_payload(3, 7, [*found, *map(AppendRow, data)])


@given(st.lists(operations | rows))
def test_every_row_and_document_lies_where_the_index_says(found: list[Operation]) -> None:
    payload = encode_payload(1, 1, found)
    for operation, position in placed(payload, found):
        if isinstance(operation, AppendRow):
            assert payload[position:].startswith(operation.row)
        if isinstance(operation, Put):
            assert payload[position:].startswith(operation.document)


@given(st.lists(st.lists(operations, max_size=5), max_size=6))
def test_the_index_is_that_of_plain_dictionaries(batches: list[list[Operation]]) -> None:
    index = TableIndex()
    file = b"header"
    model: dict[str, dict[Any, Any]] = {}
    for number, batch in enumerate(batches, 1):
        payload = encode_payload(1, number, batch)
        index.apply(batch, payload, len(file))
        file += payload
        for operation in batch:
            match operation:
                case Put(table, doc_id, document):
                    model.setdefault(table, {})[doc_id] = decode_document(document)
                case Remove(table, doc_id):
                    model.get(table, {}).pop(doc_id, None)
                case DropTable(table):
                    model.pop(table, None)
    assert {
        table: {
            doc_id: decode_document(file[place.offset : place.offset + place.size])
            for doc_id, place in places.items()
        }
        for table, places in index.tables.items()
    } == model


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        cbor2.dumps(5),
        cbor2.dumps([1, 2]),
        cbor2.dumps(["1", 2, []]),
        cbor2.dumps([1, 2, 3]),
        cbor2.dumps([1, 2, [[9, "t"]]]),
        cbor2.dumps([1, 2, [[0, "text"]]]),
        cbor2.dumps([1, 2, [[1, "t", 1.5, b"d"]]]),
        b"\x81" * 3000,
    ],
)
def test_what_is_no_payload_is_refused(payload: bytes) -> None:
    with pytest.raises(StoreValidationError):
        decode_payload(payload)


@pytest.mark.parametrize("operation", [Remove("t", object()), DropTable("\ud800")])
def test_an_operation_without_a_stored_form_is_refused(operation: Operation) -> None:
    with pytest.raises(StoreValidationError):
        encode_payload(1, 1, [operation])


@pytest.mark.parametrize("document", [5, [1], {"x": object()}, {"x": "\ud800"}])
def test_a_document_without_a_stored_form_is_refused(document: Any) -> None:
    with pytest.raises(InvalidDocumentError) as caught:
        encode_document(document)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TypeError) is isinstance(document, dict)


@pytest.mark.parametrize("data", [b"", b"\xff", cbor2.dumps(5), cbor2.dumps([1])])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(StoreValidationError):
        decode_document(data)


@given(st.lists(st.tuples(st.text(), st.binary())))
def test_a_commit_comes_back(parts: list[tuple[str, bytes]]) -> None:
    assert decode_commit(encode_commit(parts)) == parts


@pytest.mark.parametrize(
    "payload", [b"", b"\xff", cbor2.dumps(5), cbor2.dumps([5]), cbor2.dumps([["s", "t"]])]
)
def test_what_is_no_commit_is_refused(payload: bytes) -> None:
    with pytest.raises(StoreValidationError):
        decode_commit(payload)


cbor_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=300)
    | st.binary(max_size=300)
    | st.builds(cbor2.CBORTag, st.just(262), st.binary(max_size=5)),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(), inner, max_size=30),
    max_leaves=60,
)


@given(cbor_values, st.binary(max_size=5))
def test_an_item_ends_where_its_bytes_end(value: object, rest: bytes) -> None:
    data = cbor2.dumps(value)
    assert item_end(b"--" + data + rest, 2) == 2 + len(data)


@given(cbor_values, st.data())
def test_a_cut_item_has_no_end(value: object, data: st.DataObject) -> None:
    encoded = cbor2.dumps(value)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(StoreValidationError):
        item_end(encoded[:cut], 0)


@pytest.mark.parametrize("head", [b"\x9f", b"\x1c", b"\x5f", b"\x9b" + b"\xff" * 8])
def test_an_item_of_no_definite_length_has_no_end(head: bytes) -> None:
    with pytest.raises(StoreValidationError):
        item_end(head + b"\x01", 0)


@given(st.integers(0, 2**64 - 1), st.text())
def test_heads_are_read(number: int, text: str) -> None:
    data = cbor2.dumps(number) + cbor2.dumps(text)
    found, offset = read_unsigned(data, 0)
    assert (found, read_text(data, offset)) == (number, (text, len(data)))


@pytest.mark.parametrize("data", [b"", b"\x20", b"\x61", b"\x19\x00"])
def test_what_is_no_unsigned_integer_is_refused(data: bytes) -> None:
    with pytest.raises(StoreValidationError):
        read_unsigned(data, 0)


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x62a", b"\x61\xff"])
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(StoreValidationError):
        read_text(data, 0)


@given(st.integers(0, 2**64 - 1))
def test_heads_are_written_as_short_as_the_encoder_writes_them(number: int) -> None:
    assert head(UNSIGNED, number) == cbor2.dumps(number)


@given(st.integers(0, 2**40), st.integers(1, 2**40), st.lists(operations | rows))
def test_joined_payloads_are_what_the_encoder_would_write(
    epoch: int, number: int, found: list[Operation]
) -> None:
    payload = encode_payload(epoch, number, found)
    assert cbor2.dumps(cbor2.loads(payload)) == payload


@given(st.integers(0, 2**40), st.integers(1, 2**40), st.lists(operations | rows))
def test_rows_are_placed_without_decoding_as_they_are_with(
    epoch: int, number: int, found: list[Operation]
) -> None:
    payload = encode_payload(epoch, number, found)
    got_epoch, got_number, places = row_places(payload)
    assert (got_epoch, got_number) == (epoch, number)
    assert [payload[at : at + size] for at, size in places] == [
        operation.row for operation in found if isinstance(operation, AppendRow)
    ]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        cbor2.dumps(5),
        cbor2.dumps(["1", 2, []]),
        cbor2.dumps([1, 2, [[9, "t"]]]),
        encode_payload(1, 1, [AppendRow(b"row")])[:-1],
        encode_payload(1, 1, [AppendRow(b"row")]) + b"\x00",
    ],
)
def test_rows_are_not_looked_for_in_what_is_no_payload(payload: bytes) -> None:
    with pytest.raises(StoreValidationError):
        row_places(payload)
