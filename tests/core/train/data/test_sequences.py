"""Windows of series and contexts of texts: the rows that are foretold, nothing of what comes later,
all that is fitted from the part for training alone."""

import json
import random
from typing import Any, Final

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from core.errors import InvalidInputError, JobFailure
from core.specs.job import Forecast, JobSpec, LanguageModel
from core.specs.parsing.job import parse_job
from core.specs.sizes.extent import extent_of
from core.specs.sizes.shapes import problem_rows
from core.specs.sizes.uploads import Uploads, as_posted
from core.specs.validation.limits import Limits
from core.train.data.build import build_data
from core.train.data.dataset import Dataset
from core.train.data.text import tokenized
from core.train.data.uploaded import exact_rows, uploads_from
from core.train.problems.build import build_problem
from tests.core.train.data.uploads import EXAMPLE_ID, Stored, stored

Json = dict[str, Any]
CPU = torch.device("cpu")
TRIES: Final = 40


def job(problem: Json, uploads: Uploads | None = None, **rest: Any) -> JobSpec:
    body = {
        "problem": {"model": {"kind": "gru", "hidden_size": 2}, **problem},
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "batch_size": "full",
        "precision": "float64",
        **rest,
    }
    return parse_job(json.dumps(body).encode(), Limits(), uploads or {})


def series(length: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(5.0, 3.0, (length, 3)).round(3)


def forecast(numbers: NDArray[np.float64], window: int, horizon: int, **data: Any) -> JobSpec:
    rows = {"features": numbers[:, :2].tolist(), "targets": numbers[:, 2].tolist()}
    problem = {"kind": "forecast", "window": window, "horizon": horizon}
    return job({**problem, "data": {"kind": "inline", **rows, **data}})


def rows_of(spec: JobSpec) -> Dataset:
    assert isinstance(spec.problem, (Forecast, LanguageModel))
    return build_data(spec.problem, CPU, torch.float64)


def test_windows_are_those_that_a_loop_cuts() -> None:
    """Of random sizes, each part by the definition, standardized by the rows for training."""
    draw = random.Random("windows")
    for _ in range(TRIES):
        length, window, horizon = draw.randint(8, 40), draw.randint(1, 6), draw.randint(1, 4)
        evaluated, test = draw.choice([0.0, 0.25, 0.4]), draw.choice([0.0, 0.2])
        numbers = series(length, length)
        split = {"kind": "tail", "eval": evaluated, "test": test}
        try:
            spec = forecast(numbers, window, horizon, split=split, scale_targets=True)
        except InvalidInputError:
            continue
        found = rows_of(spec)
        ends = [0, length - round(length * evaluated) - round(length * test)]
        ends += [ends[1] + round(length * evaluated), length]
        train = numbers[: ends[1]]
        scaled = (numbers - train.mean(0)) / train.std(0)
        assert isinstance(spec.problem, Forecast)
        for number, part in enumerate(("train", "eval", "test")):
            expected = [
                (scaled[first - window : first].ravel(), scaled[first : first + horizon, 2])
                for first in range(max(window, ends[number]), ends[number + 1] - horizon + 1)
            ]
            rows = found.rows(part)  # type: ignore[arg-type]
            assert problem_rows(spec.problem)[number] == len(expected)
            assert (rows is None) == (not expected)
            if rows is not None:
                for mine, theirs in zip(rows, zip(*expected, strict=True), strict=True):
                    np.testing.assert_allclose(mine.numpy(), np.array(theirs), atol=1e-12)


def test_what_comes_later_changes_nothing_before() -> None:
    """Every number of the future is changed, from each time on: all rows whose last target lies
    before it stay as they were, to the bit, and so do the weights that are trained."""
    numbers = series(30)
    for missing_from in range(24, 30):
        changed = numbers.copy()
        changed[missing_from:] = 1e6
        before, after = (
            rows_of(forecast(each, 4, 2, split={"kind": "tail", "eval": 0.2}))
            for each in (numbers, changed)
        )
        assert torch.equal(before.train_features, after.train_features)
        assert torch.equal(before.train_targets, after.train_targets)
        assert before.eval_features is not None
        assert after.eval_features is not None
        same = missing_from - 24 - 2 + 1  # windows of evaluation that end before
        for mine, theirs in ((before.eval_features, after.eval_features),
                             (before.eval_targets, after.eval_targets)):  # fmt: skip
            assert mine is not None
            assert theirs is not None
            assert torch.equal(mine[: max(0, same)], theirs[: max(0, same)])
        inputs = max(0, missing_from - 24 + 1)  # whose inputs end before
        assert torch.equal(before.eval_features[:inputs], after.eval_features[:inputs])


@pytest.mark.parametrize("kind", ["gru", "transformer"])
@pytest.mark.parametrize("of", ["model", "layers"])
def test_a_token_is_learned_from_those_before_it_alone(kind: str, of: str) -> None:
    """A token that is changed changes no output before it."""
    model: Json = {"kind": kind, **({"hidden_size": 6} if kind == "gru" else {"dim": 8})}
    if of == "layers":
        attention = {"kind": "multihead_attention", "num_heads": 2, "causal": True, "rotary": True}
        inner = {"gru": {"kind": "gru", "hidden_size": 6, "num_layers": 2},
                 "transformer": {"kind": "residual", "layers": [attention]}}[kind]  # fmt: skip
        model = {"kind": "layers", "layers": [
            {"kind": "embedding", "embedding_dim": 8}, inner, {"kind": "linear"},
        ]}  # fmt: skip
    data = {"kind": "text", "text": "abcdefgh" * 8}
    spec = job({"kind": "language_model", "data": data, "context": 7, "model": model})
    built: Any = build_problem(spec, CPU, torch.float64)._model  # type: ignore[attr-defined]
    ids = torch.tensor([[0.0, 1, 2, 3, 4, 5, 6]], dtype=torch.float64)
    before = built(ids)
    for place in range(7):
        changed = ids.clone()
        changed[0, place] = 7
        after = built(changed)
        assert torch.equal(after[0, :place], before[0, :place])
        assert not torch.equal(after[0, place], before[0, place])


TEXT: Final = "Die Fülle des Seins — so it goes. " * 30


def language(tokenizer: Json, text: str = TEXT, context: int = 9, **data: Any) -> JobSpec:
    return job(
        {
            "kind": "language_model",
            "data": {"kind": "text", "text": text, **data},
            "tokenizer": tokenizer,
            "context": context,
        }
    )


@pytest.mark.parametrize(
    "tokenizer",
    [{"kind": "characters"}, {"kind": "bytes"}, {"kind": "byte_pair", "vocabulary_size": 280}],
)
def test_contexts_are_the_text_in_stretches(tokenizer: Json) -> None:
    split = {"kind": "tail", "eval": 0.2, "test": 0.1}
    spec = exact_rows(language(tokenizer, split=split))
    assert isinstance(spec.problem, LanguageModel)
    found, parts = rows_of(spec), tokenized(spec.problem)
    for part, ids in zip(("train", "eval", "test"), parts.parts, strict=True):
        rows = found.rows(part)  # type: ignore[arg-type]
        assert rows is not None
        features, targets = rows
        assert len(features) == (len(ids) - 1) // 9
        assert np.array_equal(features.flatten().numpy(), ids[: features.numel()])
        assert np.array_equal(targets.flatten().numpy(), ids[1 : targets.numel() + 1])
        assert targets.max() < found.num_outputs == extent_of(spec).num_outputs
    sizes = extent_of(spec)
    assert (sizes.train_rows, sizes.eval_rows, sizes.test_rows) == tuple(
        0 if rows is None else len(rows[0])
        for rows in map(found.rows, ("train", "eval", "test"))  # type: ignore[arg-type]
    )
    assert "tokens" not in as_posted(spec.model_dump(mode="json"))["problem"]


def test_characters_and_bytes_are_those_of_the_text() -> None:
    characters, by_bytes = language({"kind": "characters"}), language({"kind": "bytes"})
    assert isinstance(characters.problem, LanguageModel)
    assert isinstance(by_bytes.problem, LanguageModel)
    known = tokenized(characters.problem)
    names = known.tokenizer["characters"]
    assert names == "".join(sorted(set(TEXT)))
    assert "".join(names[i] for i in np.concatenate(known.parts)) == TEXT
    assert extent_of(characters).num_outputs == len(names) + 1
    joined = np.concatenate(tokenized(by_bytes.problem).parts)
    assert bytes(joined.astype(np.uint8)).decode() == TEXT


def test_byte_pairs_are_counted_in_the_text_for_training_alone() -> None:
    """Another text for evaluation leaves the vocabulary as it is, and the library's own decoder
    gives the text again."""
    tokenizer = {"kind": "byte_pair", "vocabulary_size": 300}
    end = TEXT[int(len(TEXT) * 0.8) :]
    one, other = (
        language(tokenizer, TEXT[: -len(end)] + tail, eval_fraction=0.2)
        for tail in (end, "xyzxyzxyz" * (len(end) // 9) + "z" * (len(end) % 9))
    )
    assert isinstance(one.problem, LanguageModel)
    assert isinstance(other.problem, LanguageModel)
    first, second = tokenized(one.problem), tokenized(other.problem)
    assert first.tokenizer == second.tokenizer
    assert np.array_equal(first.parts[0], second.parts[0])
    from tokenizers import Tokenizer

    read = Tokenizer.from_str(json.dumps(first.tokenizer["tokenizer"]))
    assert "".join(read.decode(part.tolist()) for part in first.parts) == TEXT
    assert 256 < len(read.get_vocab()) <= 300


@pytest.fixture(scope="module")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return stored(tmp_path_factory.mktemp("text"), TEXT.encode(), media_type="text/plain")


@pytest.mark.parametrize("kind", ["characters", "bytes", "byte_pair"])
def test_an_uploaded_text_is_the_same_as_one_in_the_request(text_file: Stored, kind: str) -> None:
    inline = exact_rows(language({"kind": kind}))
    problem = {"kind": "language_model", "tokenizer": {"kind": kind}, "context": 9,
               "data": {"kind": "dataset", "id": EXAMPLE_ID}}  # fmt: skip
    with uploads_from(text_file.store):
        spec = exact_rows(job(problem, {EXAMPLE_ID: text_file.facts}))
        assert exact_rows(spec) is spec
        one, other = rows_of(spec), rows_of(inline)
    assert extent_of(spec)._replace(layers=None) == extent_of(inline)._replace(layers=None)
    assert torch.equal(one.train_features, other.train_features)
    assert one.eval_targets is not None
    assert other.eval_targets is not None
    assert torch.equal(one.eval_targets, other.eval_targets)


def test_a_series_of_targets_alone_is_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    lines = "".join(f"{n * n % 17}\n" for n in range(60))
    file = stored(tmp_path_factory.mktemp("series"), f"load\n{lines}".encode())
    problem = {"kind": "forecast", "window": 6, "horizon": 2,
               "data": {"kind": "dataset", "id": EXAMPLE_ID, "target": "load"}}  # fmt: skip
    with uploads_from(file.store):
        found = rows_of(job(problem, {EXAMPLE_ID: file.facts}))
    assert found.train_features.shape == (60 - 12 - 6 - 2 + 1, 6)
    assert found.feature_names == tuple(f"load[{t}]" for t in range(-5, 1))
    assert found.train_targets[0].tolist() == [6 * 6 % 17, 7 * 7 % 17]


@pytest.mark.parametrize("beside", ["heat", "time"])
def test_columns_beside_the_targets_may_be_left_out(
    tmp_path_factory: pytest.TempPathFactory, beside: str
) -> None:
    """The same windows come of a file of the targets alone."""
    numbers, cells = (
        [n * n % 17 for n in range(60)],
        {"heat": "{}.5", "time": "2026-01-01 00:00:{}"},
    )
    wide = [f"{cells[beside].format(f'{n:02}')},{number}" for n, number in enumerate(numbers)]
    found = []
    files: list[tuple[str, list[str], Json]] = [
        ("narrow", ["load", *map(str, numbers)], {}),
        ("wide", [f"{beside},load", *wide], {"features": []}),
    ]
    for name, lines, data in files:
        file = stored(tmp_path_factory.mktemp(name), "\n".join([*lines, ""]).encode())
        problem = {
            "kind": "forecast",
            "window": 6,
            "horizon": 2,
            "data": {"kind": "dataset", "id": EXAMPLE_ID, "target": "load", **data},
        }
        with uploads_from(file.store):
            found.append(rows_of(job(problem, {EXAMPLE_ID: file.facts})))
    narrow, wide_one = found
    assert torch.equal(narrow.train_features, wide_one.train_features)
    assert torch.equal(narrow.train_targets, wide_one.train_targets)
    assert narrow.feature_names == wide_one.feature_names


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("given", [{}, {"features": []}])
def test_rows_in_the_request_may_be_targets_alone(
    tmp_path_factory: pytest.TempPathFactory, width: int, given: Json
) -> None:
    """They give the windows that the same numbers give as an upload."""
    numbers = series(60)[:, :width]
    names = ["a", "b"][:width]
    lines = [",".join(names), *(",".join(map(str, row)) for row in numbers.tolist())]
    file = stored(tmp_path_factory.mktemp("same"), "\n".join([*lines, ""]).encode())
    problem: Json = {"kind": "forecast", "window": 6, "horizon": 2}
    target = names if width > 1 else names[0]
    upload = {"kind": "dataset", "id": EXAMPLE_ID, "target": target, "features": []}
    with uploads_from(file.store):
        wanted = rows_of(job({**problem, "data": upload}, {EXAMPLE_ID: file.facts}))
    targets = numbers.tolist() if width > 1 else numbers[:, 0].tolist()
    spec = job({**problem, "data": {"kind": "inline", "targets": targets, **given}})
    assert parse_job(spec.model_dump_json().encode(), Limits()) == spec
    found = rows_of(spec)
    assert found.train_features.shape[1] == 6 * width
    for part in ("train_features", "train_targets", "eval_features", "eval_targets"):
        assert torch.equal(getattr(found, part), getattr(wanted, part))


def test_a_context_that_byte_pairs_leave_too_few_tokens_for_is_named_at_the_start() -> None:
    spec = language({"kind": "byte_pair", "vocabulary_size": 400}, "abab" * 100, context=200)
    with pytest.raises(JobFailure) as failure:
        exact_rows(spec)
    assert failure.value.param == "problem.context"
