"""Rules of texts and series: what their problems take, where they are cut, what is left to
learn."""

from typing import Final, TypeVar

from core.specs.data import (
    Builtin,
    Data,
    ExplicitOrder,
    Inline,
    InlineText,
    StoredRows,
    Synthetic,
    TextCounts,
    Upload,
)
from core.specs.job import Forecast, LanguageModel
from core.specs.losses import MSE, CrossEntropy
from core.specs.sizes.sequences import context_rows, tail_of, token_counts
from core.specs.sizes.shapes import data_shape, loss_family, problem_rows, problem_shape
from core.specs.sizes.uploads import Uploads
from core.specs.splits.kinds import TailSplit
from core.specs.splits.rows import part_rows
from core.specs.tokenizers import BytePair
from core.specs.validation.augment import check_augment
from core.specs.validation.errors import MAX_ERRORS, FieldErrorList, shown
from core.specs.validation.limits import Limits
from core.specs.validation.supervised.model import settle_model
from core.specs.validation.supervised.rows import (
    check_given_features,
    check_given_targets,
    check_inline,
)
from core.specs.validation.uploads.dataset import is_ready, resolve_upload
from core.specs.validation.uploads.weights import resolve_weights

_DATA: Final = "problem.data"
_SPLIT: Final = "problem.data.split"
_Sequence = TypeVar("_Sequence", LanguageModel, Forecast)
_D = TypeVar("_D", Inline, InlineText, Upload)


def resolve_language_model(
    problem: LanguageModel, limits: Limits, faults: FieldErrorList, uploads: Uploads
) -> LanguageModel | None:
    """Check text, split, tokenizer and model, and write out what follows; None with a mistake."""
    before = len(faults.errors)
    data = problem.data
    if problem.tokens is not None and not limits.stored:
        faults.add(
            "problem.tokens", "unknown_field", "problem.tokens is not a field of language_model"
        )
    if isinstance(data, Builtin | Synthetic | Inline):
        faults.add(
            f"{_DATA}.kind", "data_does_not_fit",
            f"{_DATA}.kind {data.kind} gives rows of numbers, and language_model learns from a"
            ' text: use {"kind": "text", "text": "…"}, or {"kind": "dataset"} of an upload of'
            " text/plain",
        )  # fmt: skip
        return None
    _check_text_options(data, limits, faults)
    split = _tail(data, "a text", faults)
    found: InlineText | Upload | None = data
    if isinstance(data, Upload):
        found = _with_counts(data, uploads, limits, faults)
    if problem.loss is not None:
        _check_token_loss(problem, faults)
    if found is None or split is None or len(faults.errors) > before:
        return None
    update = {"split": split, "eval_fraction": None, "split_seed": None, "standardize": False}
    problem = problem.model_copy(
        update={
            "data": found.model_copy(update=update),
            "loss": problem.loss or CrossEntropy(kind="cross_entropy"),
        }
    )
    given = data.split is not None or _is_given(data, "eval_fraction")
    problem = _check_contexts(problem, given, limits, faults)
    if len(faults.errors) > before:
        return None
    return _settled(problem, limits, faults, uploads)


def resolve_forecast(
    problem: Forecast, limits: Limits, faults: FieldErrorList, uploads: Uploads
) -> Forecast | None:
    """Check series, split, window and model, and write out what follows; None with a mistake."""
    before = len(faults.errors)
    data = problem.data
    if isinstance(data, Builtin | Synthetic | InlineText):
        why = "is a text" if isinstance(data, InlineText) else "has rows in no order of time"
        faults.add(
            f"{_DATA}.kind", "data_does_not_fit",
            f"{_DATA}.kind {data.kind} {why}, and forecast learns from a series of numbers: use"
            " dataset (an upload) or inline, a row a time",
        )  # fmt: skip
        return None
    if problem.loss is not None and loss_family(problem.loss) != "values":
        faults.add(
            "problem.loss", "loss_does_not_fit",
            f"problem.loss {problem.loss.kind} wants classes, and a forecast gives values: use mse,"
            " l1, smooth_l1, huber or quantile",
        )  # fmt: skip
    split = _tail(data, "a series", faults)
    loss = problem.loss or MSE(kind="mse")
    found: Inline | Upload | None = data
    if isinstance(data, Inline):
        check_given_targets(problem, faults)
        check_given_features(problem, faults)
        if len(faults.errors) == before:
            check_inline(data, faults)
    elif len(faults.errors) == before:
        found = _series(data, uploads, limits, faults)
    if found is None or split is None or len(faults.errors) > before:
        return None
    update = {"split": split, "eval_fraction": None, "split_seed": None}
    problem = problem.model_copy(update={"data": found.model_copy(update=update), "loss": loss})
    given = data.split is not None or _is_given(data, "eval_fraction")
    problem = _check_windows(problem, given, limits, faults)
    if len(faults.errors) > before:
        return None
    return _settled(problem, limits, faults, uploads)


def _settled(
    problem: _Sequence, limits: Limits, faults: FieldErrorList, uploads: Uploads
) -> _Sequence | None:
    before = len(faults.errors)
    _check_order(problem, faults)
    _check_augment(problem, faults)
    settled = settle_model(problem, limits, faults)
    if len(faults.errors) == before:
        settled = resolve_weights(settled, uploads, limits, faults)
    return settled if len(faults.errors) == before else None


def _check_augment(problem: LanguageModel | Forecast, faults: FieldErrorList) -> None:
    """Check the augmentation: noise alone suits a series, and nothing a text."""
    if isinstance(problem, Forecast):
        check_augment(problem.data, problem_shape(problem)._replace(sample_shape=None), faults)
    elif problem.data.augment:
        faults.add(
            f"{_DATA}.augment", "no_values",
            f"{_DATA}.augment is of numbers, and a text is made of tokens: leave it out",
        )  # fmt: skip


def _is_given(data: Data, name: str) -> bool:
    return name in data.model_fields_set and getattr(data, name) is not None


def _tail(data: Data, noun: str, faults: FieldErrorList) -> TailSplit | None:
    """Return the split at the end; `eval_fraction` alone is short for it."""
    split = data.split
    if split is None:
        if _is_given(data, "split_seed") and data.split_seed:
            faults.add(
                f"{_DATA}.split_seed", "conflict",
                f"{_DATA}.split_seed {data.split_seed}: {noun} is split at its end, and nothing is"
                " drawn; leave it out",
            )  # fmt: skip
        return tail_of(data)
    for name in ("eval_fraction", "split_seed"):
        if _is_given(data, name):
            faults.add(
                _SPLIT, "conflict",
                f"{_SPLIT} and {_DATA}.{name} exclude each other: leave {name} out (in a patch:"
                " null)",
            )  # fmt: skip
    if not isinstance(split, TailSplit):
        faults.add(
            f"{_SPLIT}.kind", "split_does_not_fit",
            f"{_SPLIT}.kind: {split.kind} takes rows from anywhere, so that what comes later would"
            f" be learned from; {noun} is split by tail: {{\"kind\": \"tail\", \"eval\": 0.2}}",
        )  # fmt: skip
        return None
    return split


def _check_order(problem: LanguageModel | Forecast, faults: FieldErrorList) -> None:
    order = problem.data.order
    if not isinstance(order, ExplicitOrder):
        return
    train_rows = problem_rows(problem).train
    allowed = len(faults.errors) + MAX_ERRORS
    for step, rows in enumerate(order.steps):
        if max(rows) >= train_rows and len(faults.errors) <= allowed:
            faults.add(
                f"{_DATA}.order.steps.{step}", "row_out_of_range",
                f"{_DATA}.order.steps.{step} names row {max(rows)}; the training rows are 0 …"
                f" {train_rows - 1}",
            )  # fmt: skip


# ---- texts


def _check_text_options(data: InlineText | Upload, limits: Limits, faults: FieldErrorList) -> None:
    for name in ("standardize", "scale_targets"):
        if _is_given(data, name) and getattr(data, name) and not limits.stored:
            faults.add(
                f"{_DATA}.{name}", "no_values",
                f"{_DATA}.{name} true is of numbers, and a text is made of tokens: leave it out",
            )  # fmt: skip
    if not isinstance(data, Upload):
        return
    for name in ("target", "features", "image_size"):
        if getattr(data, name) is not None:
            faults.add(
                f"{_DATA}.{name}", "no_columns",
                f"{_DATA}.{name} {shown(getattr(data, name))}: a text has no columns, each token is"
                " learned from those before it; leave it out",
            )  # fmt: skip


def _with_counts(
    data: Upload, uploads: Uploads, limits: Limits, faults: FieldErrorList
) -> Upload | None:
    """Write out the text's sizes. A spec that was accepted before keeps what was written then."""
    facts = uploads.get(data.id)
    if facts is None and data.stored is not None and limits.stored:
        return data
    wanted = "language_model learns from a text: name an upload of text/plain"
    if not is_ready(data, facts, ("text",), wanted, faults):
        return None
    assert facts is not None
    counts = (facts.num_characters, facts.num_distinct_characters, facts.num_bytes)
    characters, distinct, num_bytes = counts
    if not characters or not distinct or not num_bytes:
        faults.add(
            f"{_DATA}.id", "not_counted",
            f"{_DATA}.id: the characters of data set {data.id} have not been counted; upload the"
            " file again",
        )  # fmt: skip
        return None
    text = TextCounts(
        num_characters=characters, num_distinct_characters=distinct, num_bytes=num_bytes
    )
    sizes = StoredRows(
        file=facts.file, num_rows=characters, num_features=1, num_classes=None, target_width=1,
        sample_shape=None, text=text,
    )  # fmt: skip
    if data.stored not in (None, sizes) and not limits.stored:
        faults.add(f"{_DATA}.stored", "unknown_field", f"{_DATA}.stored is not a field of dataset")
        return None
    return data.model_copy(update={"stored": sizes})


def _check_token_loss(problem: LanguageModel, faults: FieldErrorList) -> None:
    loss = problem.loss
    if not isinstance(loss, CrossEntropy):
        assert loss is not None
        faults.add(
            "problem.loss", "loss_does_not_fit",
            f"problem.loss {loss.kind} does not go with language_model, whose targets are tokens of"
            " a vocabulary: use cross_entropy, or leave it out",
        )  # fmt: skip
        return
    for name in ("class_weights", "ignore_index"):
        if getattr(loss, name) is not None:
            faults.add(
                f"problem.loss.{name}", "conflict",
                f"problem.loss.{name} {shown(getattr(loss, name))}: every token of a text counts"
                " the same; leave it out",
            )  # fmt: skip


def _check_contexts(
    problem: LanguageModel, given: bool, limits: Limits, faults: FieldErrorList
) -> LanguageModel:
    """Check that each part has a whole context; the default part for evaluation may have none."""
    tokens = token_counts(problem)
    rows = context_rows(tokens, problem.context)
    about = "at most " if isinstance(problem.tokenizer, BytePair) else ""
    if rows.train < 1:
        way_out = f"give {tokens.train - 1:,} or less" if tokens.train > 1 else "give a longer text"
        faults.add(
            "problem.context", "too_long",
            f"problem.context {problem.context:,} needs {problem.context + 1:,} tokens, and the"
            f" text for training has {about}{tokens.train:,}: {way_out}",
        )  # fmt: skip
        return problem
    split = problem.data.split
    assert isinstance(split, TailSplit)
    held_out = (("eval", split.eval, rows.eval), ("test", split.test, rows.test))
    for part, share, count in held_out:
        if count or not share:
            continue
        if part == "eval" and not given:
            return _without_evaluation(problem)
        if not limits.stored:
            has = getattr(tokens, part)
            faults.add(
                f"{_SPLIT}.{part}", f"no_{part}_rows",
                f"{_SPLIT}.{part} {share:g} comes to {about}{has:,} tokens, and a context of"
                f" {problem.context:,} needs {problem.context + 1:,}: hold out more, or 0, or give"
                " a shorter context",
            )  # fmt: skip
    return problem


# ---- series


def _series(
    data: Upload, uploads: Uploads, limits: Limits, faults: FieldErrorList
) -> Upload | None:
    if data.missing == "drop":
        faults.add(
            f"{_DATA}.missing", "conflict",
            f'{_DATA}.missing "drop" would join what is apart in time: use mean or most_frequent,'
            " or upload the series without gaps",
        )  # fmt: skip
        return None
    return resolve_upload(data, uploads, MSE(kind="mse"), limits, faults, series=True)


def _check_windows(
    problem: Forecast, given: bool, limits: Limits, faults: FieldErrorList
) -> Forecast:
    """Check that each part has a whole window; the default part for evaluation may have none."""
    split = problem.data.split
    assert isinstance(split, TailSplit)
    series = part_rows(split, data_shape(problem.data).num_rows)
    rows = problem_rows(problem)
    window, horizon = problem.window, problem.horizon
    if rows.train < 1:
        if horizon < series.train:
            field, way_out = "window", f"give a window of {series.train - horizon:,} or less"
        elif window < series.train:
            field, way_out = "horizon", f"give a horizon of {series.train - window:,} or less"
        else:
            field, way_out = "window", "give shorter ones"
        faults.add(
            f"problem.{field}", "too_long",
            f"problem.{field}: a window of {window:,} rows and a horizon of {horizon:,} need"
            f" {window + horizon:,}, and the series has {max(0, series.train):,} for training (of"
            f" {sum(series):,}): {way_out}, or a longer series",
        )  # fmt: skip
        return problem
    held_out = (("eval", split.eval, rows.eval), ("test", split.test, rows.test))
    for part, share, count in held_out:
        if count or not share:
            continue
        if part == "eval" and not given:
            return _without_evaluation(problem)
        if not limits.stored:
            faults.add(
                f"{_SPLIT}.{part}", f"no_{part}_rows",
                f"{_SPLIT}.{part} {share:g} comes to {getattr(series, part):,} rows, and a horizon"
                f" of {horizon:,} needs as many at least: hold out more, or 0, or give a shorter"
                " horizon",
            )  # fmt: skip
    return problem


def _without_evaluation(problem: _Sequence) -> _Sequence:
    """Return the problem with nothing held out for evaluation."""
    split = TailSplit(kind="tail", eval=0.0)
    return problem.model_copy(update={"data": problem.data.model_copy(update={"split": split})})
