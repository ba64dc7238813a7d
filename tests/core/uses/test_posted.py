"""Rows of series and texts, from a request to what a worker reads: windows are those that a loop
cuts, names of tokens are their texts, mistakes are named."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from core.errors import InvalidInputError
from core.settings import Settings
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.uses.coding import Coded
from core.uses.model import ModelFacts
from core.uses.posted import code_posted, coder_of
from core.uses.series import windows_of
from core.uses.texts import checked_texts, packed_texts, text_coder, unpacked_texts

Json = dict[str, Any]


def facts_of(problem: Json) -> ModelFacts:
    body = {"problem": problem, "optimizer": {"kind": "adam"}}
    return ModelFacts.of(parse_job(json.dumps(body).encode(), Limits.of(Settings())))


def series(window: int = 3, horizon: int = 2, features: int = 1, targets: int = 1) -> ModelFacts:
    rows = np.zeros((40, features + targets)).tolist()
    data = {"kind": "inline", "features": [row[:features] for row in rows],
            "targets": [row[features:] for row in rows]}  # fmt: skip
    return facts_of(
        {"kind": "forecast", "data": data, "window": window, "horizon": horizon,
         "model": {"kind": "linear"}}
    )  # fmt: skip


def names(window: int, *channels: str) -> dict[str, str]:
    every = [f"{name}[{time}]" for time in range(1 - window, 1) for name in channels]
    return {"feature_names": json.dumps(every)}


sizes = st.integers(1, 4)


@given(rows=st.integers(1, 12), window=sizes, horizon=sizes, features=sizes, targets=sizes)
def test_windows_are_those_that_a_loop_cuts(
    rows: int, window: int, horizon: int, features: int, targets: int
) -> None:
    window = min(window, rows)
    matrix = np.random.default_rng(rows).normal(size=(rows, features + targets))
    coded = Coded(matrix, None, {})
    found = windows_of(coded, window, horizon, horizon * targets, "all")
    assert found.labels is not None
    assert len(found.matrix) == len(found.labels) == rows - window + 1
    for start, (x, y) in enumerate(zip(found.matrix, found.labels, strict=True)):
        end = start + window
        np.testing.assert_array_equal(x, matrix[start:end])
        after = matrix[end : end + horizon, features:].ravel()
        np.testing.assert_array_equal(y[: len(after)], after)
        assert np.isnan(y[len(after) :]).all()
    last = windows_of(coded, window, horizon, horizon * targets, "last")
    np.testing.assert_array_equal(last.matrix, found.matrix[-1:])
    assert last.labels is None


def test_rows_of_a_series_have_its_features_then_its_targets_by_name_too() -> None:
    facts = series()
    coder = coder_of(names(3, "heat", "load"), facts)
    assert (coder.names, coder.outputs) == (["heat", "load"], ("load[1]", "load[2]"))
    rows: list[Any] = [[float(row), 10.0 * row] for row in range(5)]
    posted = code_posted(coder, facts, rows, None, "all")
    assert (posted.num_rows, posted.arrays["matrix"].tolist()) == (3, rows)
    named = [{"load": load, "heat": heat} for heat, load in rows]
    again = code_posted(coder, facts, named, [[1, 2]], "last")
    assert (again.num_rows, again.arrays["matrix"].tolist()) == (1, rows[-3:])
    assert again.arrays["labels"].tolist() == [[1.0, 2.0]]


def test_columns_of_a_file_are_coded_as_in_training() -> None:
    columns = [
        {"name": "day", "dtype": "category", "shape": [], "categories": ["fri", "sat"],
         "fill": None},
        {"name": "wind", "dtype": "number", "shape": [], "categories": None, "fill": 2.5},
    ]  # fmt: skip
    channels = ("day=fri", "day=sat", "day=other", "wind", "y1", "y2")
    about = {"features": columns, "targets": ["loads"], "categorical": "one_hot"}
    facts = series(window=2, horizon=1, features=4, targets=2)
    coder = coder_of(names(2, *channels) | {"preprocessing": json.dumps(about)}, facts)
    rows = [["sat", None, [1, 2]], ["sun", 4.0, [3, 4]]]
    posted = code_posted(coder, facts, rows, None, "last")
    expected = [[0, 1, 0, 2.5, 1, 2], [0, 0, 1, 4.0, 3, 4]]
    assert posted.arrays["matrix"].tolist() == expected
    assert posted.unseen == {"day": ["sun"]}
    later = code_posted(coder, facts, [*rows, ["fri", 1.0, [0, 0]]] * 2, None, "last")
    assert later.unseen == {"day": ["sun"]}
    seen = code_posted(coder, facts, [*rows, rows[0], ["fri", 1.0, [0, 0]]], None, "last")
    assert seen.unseen == {}


@pytest.mark.parametrize("shape", [[], [2, 2]])
def test_rows_that_come_back_say_of_which_columns_they_are(shape: list[int]) -> None:
    """Not of arrays, whose numbers are told by their places."""
    columns = [
        {"name": "day", "dtype": "category", "shape": [], "categories": ["fri", "sat"],
         "fill": None},
        {"name": "wind", "dtype": "number", "shape": shape, "categories": None, "fill": None},
    ]  # fmt: skip
    numbers = [f"wind{place}" for place in range(4)] if shape else ["wind"]
    every = ["day=fri", "day=sat", "day=(other)", *numbers]
    data = {"kind": "inline", "features": np.zeros((9, len(every))).tolist()}
    facts = facts_of({"kind": "reconstruction", "data": data, "model": {"kind": "autoencoder"}})
    about = {"features": columns, "categorical": "one_hot"}
    written = {"feature_names": json.dumps(every), "preprocessing": json.dumps(about)}
    assert coder_of(written, facts).outputs == (() if shape else tuple(every))


@pytest.mark.parametrize(
    ("rows", "labels", "param", "words"),
    [
        ([[1.0, 2.0]] * 2, None, "features", "has 2 rows, and this model sees 3"),
        ([[1.0, 2.0], [1.0], [1.0, 2.0]], None, "features[1]", "has 1 cell,"),
        ([[1.0, 2.0]] * 2 + [[1.0, None]], None, "features[2].load", "null"),
        ([{"heat": 1, "load": 2, "x": 3}] * 3, None, "features[0].x", "no column"),
        ([{"heat": 1}] * 3, None, "features[0].load", "missing"),
        (["text"] * 3, None, "features[0]", "must be a list"),
        ([[1.0, 2.0]] * 3, [1.0], "targets[0]", "for each of 2"),
        ([[1.0, 2.0]] * 3, [[1, 2]] * 2, "targets", "features has 1 row;"),
    ],
)
def test_rows_that_are_no_series_are_refused(
    rows: list[Any], labels: list[Any] | None, param: str, words: str
) -> None:
    facts = series()
    with pytest.raises(InvalidInputError) as refused:
        code_posted(coder_of(names(3, "heat", "load"), facts), facts, rows, labels, "last")
    assert refused.value.errors[0].param == param
    assert words in refused.value.errors[0].message


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_texts_come_back_as_they_were_posted(texts: list[str]) -> None:
    assert unpacked_texts(packed_texts(checked_texts(texts))) == texts


@pytest.mark.parametrize("row", ["", 1, None, ["a"], {"text": "a"}, "a\ud800"])
def test_what_is_no_text_is_refused(row: Any) -> None:
    with pytest.raises(InvalidInputError) as refused:
        checked_texts(["good", row])
    assert [each.param for each in refused.value.errors] == ["features[1]"]


def token_names(about: Json, count: int) -> list[str]:
    return list(text_coder({"tokenizer": json.dumps(about)}, count).classes or ())


def test_tokens_are_named_by_their_texts() -> None:
    assert token_names({"kind": "characters", "characters": "\n ä"}, 4) == ["\n", " ", "ä",
                                                                           "<other>"]  # fmt: skip
    of_bytes = token_names({"kind": "bytes"}, 256)
    assert of_bytes[:128] == [chr(each) for each in range(128)]
    assert of_bytes[0xC3] == "<0xC3>"
    fitted = Tokenizer(models.BPE())
    fitted.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fitted.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=280, initial_alphabet=alphabet, special_tokens=[], show_progress=False
    )
    fitted.train_from_iterator(["the thé 東京東京 \n\n the thé"], trainer)
    size = fitted.get_vocab_size()
    found = token_names({"kind": "byte_pair", "tokenizer": json.loads(fitted.to_str())}, size + 2)
    assert found[size:] == [f"<unused {size}>", f"<unused {size + 1}>"]
    for number, name in enumerate(found[:size]):
        text = fitted.decode([number])  # the library's, which puts U+FFFD for what is no text
        assert name == text or ("<0x" in name and "\ufffd" in text)
    assert " the" in found
