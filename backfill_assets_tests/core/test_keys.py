"""Partition keys carry any text to Dagster and back."""

import pytest
from dagster import DynamicPartitionsDefinition, MultiPartitionKey
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.core.keys import decode_key, encode_key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("acme", "acme"),
        ("a|b", "a%7Cb"),
        ("a,b[c]", "a%2Cb%5Bc%5D"),
        ("wait...", "wait%2E%2E%2E"),
        ("v1.2", "v1.2"),
        ("50%", "50%25"),
        ("Müller & Söhne", "Müller & Söhne"),
    ],
)
def test_only_what_dagster_cannot_carry_is_encoded(text: str, key: str) -> None:
    assert (encode_key(text), decode_key(key)) == (key, text)


@given(text=st.text(min_size=1), other=st.text(min_size=1))
def test_every_text_comes_back_and_no_two_meet(text: str, other: str) -> None:
    assert decode_key(encode_key(text)) == text
    assert (encode_key(text) == encode_key(other)) is (text == other)


@given(text=st.text(st.sampled_from("a.|,[]%"), min_size=1))
def test_dagster_accepts_every_key_in_a_multi_partition(text: str) -> None:
    key = encode_key(text)
    assert "..." not in key
    assert DynamicPartitionsDefinition(name="tenants")
    assert MultiPartitionKey({"tenant": key, "window": "2024-01-07"}).keys_by_dimension["tenant"] == key
    assert len(MultiPartitionKey({"tenant": key, "window": "w"}).split("|")) == 2
