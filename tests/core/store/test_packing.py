"""Records are packed by words that stay as they are, and read whatever packed them."""

import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.diagnosis.rules.table import RULES
from core.errors import NewerFormatError
from core.specs.catalog import kinds
from core.specs.examples import minimal_example
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.store.calls.codec import dumps
from core.store.packing import MOST_PACKED, NEWEST, PACKED_FROM, packed, unpacked, words
from tests.core.specs.example_uploads import EXAMPLE_UPLOADS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


CHECKSUMS = {1: 0x17C28A04}
"""Of each file of words that has been in use."""


@pytest.mark.parametrize("number", range(1, NEWEST + 1))
def test_words_stay_as_they_are(number: int) -> None:
    assert zlib.adler32(words(number)) == CHECKSUMS[number]
    assert len(words(number)) <= 2**15 - 262, "zlib reaches no further back"


@settings(max_examples=30)
@given(JSON)
def test_a_text_is_read_as_it_was_whatever_packed_it(value: object) -> None:
    text = json.dumps(value).encode()
    assert unpacked(packed(text)) == text
    assert unpacked(text) == text, "as the versions of format 4 wrote it"
    assert unpacked(zlib.compress(text, 1)) == text, "without words"
    for number in range(1, NEWEST + 1):
        packer = zlib.compressobj(wbits=-15, zdict=words(number))
        stream = packer.compress(text) + packer.flush()
        assert unpacked(bytes([number]) + stream) == text


def test_short_and_huge_texts_stay_plain() -> None:
    for size in (0, 1, PACKED_FROM - 1):
        assert packed(b"0" * size) == b"0" * size
    assert len(packed(b"0" * PACKED_FROM)) < PACKED_FROM
    assert packed(b"0" * MOST_PACKED, MOST_PACKED) != b"0" * MOST_PACKED
    assert packed(b"0" * (MOST_PACKED + 1), MOST_PACKED) == b"0" * (MOST_PACKED + 1)


def test_words_of_a_later_version_are_refused_in_words() -> None:
    with pytest.raises(NewerFormatError, match="start the newer version"):
        unpacked(bytes([NEWEST + 1]) + packed(b" " * PACKED_FROM)[1:])


def test_specs_of_every_kind_take_a_quarter_or_less() -> None:
    shares = {}
    for family in ("models", "optimizers", "functions"):
        for kind in kinds(family):
            posted = json.dumps(minimal_example(family, kind)).encode()
            spec = parse_job(posted, Limits(), EXAMPLE_UPLOADS).model_dump_json().encode()
            shares[family, kind] = len(packed(spec)) / len(spec)
    assert {each: share for each, share in shares.items() if share > 1 / 4} == {}


def test_what_each_rule_says_of_itself_takes_next_to_nothing() -> None:
    findings = [
        {
            "rule": rule.id,
            "status": "clear",
            "evidence": {},
            "explanation": "",
            "source": rule.source,
        }
        for rule in RULES
    ]
    text = dumps(findings).encode()
    assert len(packed(text)) < len(text) / 8, "too many are new: make words with the next number"
