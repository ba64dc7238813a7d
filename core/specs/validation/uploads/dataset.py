"""Rules of uploaded data: target and features must be columns that fit the loss, and all widths
follow from the record."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Final, NamedTuple

from core.specs.data import StoredRows, Upload
from core.specs.losses import Loss, classes_among, ignored_class
from core.specs.sizes.shapes import LossFamily, loss_family
from core.specs.sizes.uploads import ColumnFacts, UploadFacts, Uploads
from core.specs.validation.errors import FieldErrorList, shown
from core.specs.validation.limits import Limits
from core.specs.validation.split import check_upload_split
from core.specs.validation.uploads.columns import listed, unknown_column
from core.specs.validation.uploads.doubts import hints

_DATA: Final = "problem.data"
IMAGE_COLUMN, CLASS_COLUMN = "image", "class"
"""Columns of a file of images."""


def resolve_upload(
    data: Upload,
    uploads: Uploads,
    loss: Loss | None,
    limits: Limits,
    faults: FieldErrorList,
    *,
    targets_wanted: bool = True,
    series: bool = False,
) -> Upload | None:
    """Check the columns that are named and write out what follows from the record; None with a
    mistake. A spec that was accepted before keeps what was written then. `targets_wanted`:
    otherwise there are none, as in a reconstruction. Rows of a `series` may be targets alone, which
    are learned from too."""
    facts = uploads.get(data.id)
    if facts is None and data.stored is not None and limits.stored:
        return data
    before = len(faults.errors)
    kinds = ("table", "arrays") if series else ("table", "arrays", "images")
    name = "supervised problems" if targets_wanted else "reconstructions"
    problem = "forecasts need rows of numbers" if series else f"{name} need rows"
    wanted = f"{problem} with columns: a table{' or' if series else ','} arrays"
    if not is_ready(data, facts, kinds, wanted + ("" if series else " or images"), faults):
        return None
    assert facts is not None
    family = None if loss is None else loss_family(loss)
    targets = _targets(data, facts, faults, series) if targets_wanted else []
    # Without a target, what is left for features is not known.
    known = bool(targets) or data.features is not None or not targets_wanted
    names = [each.name for each in targets]
    if not targets_wanted and facts.kind == "images" and data.features is None:
        data = data.model_copy(update={"features": (IMAGE_COLUMN,)})
    features = _features(data, facts, names, faults, series) if known else []
    _check_image_size(data, facts, faults)
    ignored = None if loss is None else ignored_class(loss)
    form = _target_form(targets, family, ignored, faults, series) if targets else None
    if not targets_wanted:
        form = _Form(None, 1)
    rows = _rows(data, facts, features, targets, faults)
    parts = None
    if form is not None:
        first = targets[0] if targets else None
        parts = check_upload_split(data, facts, first, form.num_classes, faults)
    if len(faults.errors) > before or form is None:
        return None
    sizes = _sizes(data, features, form, series).model_copy(
        update={"file": facts.file, "num_rows": rows, "part_rows": parts}
    )
    if data.stored not in (None, sizes) and not limits.stored:
        faults.add(f"{_DATA}.stored", "unknown_field", f"{_DATA}.stored is not a field of dataset")
        return None
    target = data.target if data.target is not None or not targets_wanted else names[0]
    return data.model_copy(update={"target": target, "stored": sizes})


def _sizes(
    data: Upload, features: Sequence[ColumnFacts], form: "_Form", series: bool
) -> StoredRows:
    """Return what follows from the columns: all but the file and its rows."""
    if data.image_sides is not None:
        features = [replace(each, shape=(each.shape[0], *data.image_sides)) for each in features]
    shapes = [each.shape for each in features]
    return StoredRows(
        file="",
        num_rows=1,
        num_features=sum(width(each, data) for each in features),
        num_classes=form.num_classes,
        target_width=form.width,
        sample_shape=shapes[0] if len(shapes) == 1 and shapes[0] and not series else None,
        categories=_categories(features, data),
    )


def _check_image_size(data: Upload, facts: UploadFacts, faults: FieldErrorList) -> None:
    if data.image_size is not None and facts.kind != "images":
        faults.add(
            f"{_DATA}.image_size", "no_images",
            f"{_DATA}.image_size is of data sets of images (application/zip), and {data.id} is of"
            f" the kind {facts.kind}: leave it out",
        )  # fmt: skip


def _categories(features: Sequence[ColumnFacts], data: Upload) -> tuple[tuple[int, int], ...]:
    """Return the first column and the number of columns of each category."""
    found, start = [], 0
    for each in features:
        columns = width(each, data)
        if each.num_categories is not None and data.categorical == "one_hot":
            found.append((start, columns))
        start += columns
    return tuple(found)


def is_ready(
    data: Upload,
    facts: UploadFacts | None,
    kinds: Sequence[str],
    wanted: str,
    faults: FieldErrorList,
) -> bool:
    """Tell whether the data set is there to be used, of one of these kinds, and not empty;
    `wanted` says what the problem needs."""
    param = f"{_DATA}.id"
    if facts is None:
        faults.add(
            param, "unknown_dataset",
            f"{param}: there is no data set {data.id} (any more); GET /v1/datasets lists those that"
            " there are",
        )  # fmt: skip
    elif facts.status == "checking":
        faults.add(
            param, "not_ready",
            f"{param}: data set {data.id} is still being checked; wait until it is ready (GET it"
            " with ?wait=60)",
        )  # fmt: skip
    elif facts.status != "ready":
        faults.add(
            param, "not_ready",
            f"{param}: data set {data.id} was refused when it was checked; its error says why, mend"
            " the file and upload it again",
        )  # fmt: skip
    elif facts.kind not in kinds:
        other = "; a text is for the problem language_model" if facts.kind == "text" else ""
        faults.add(
            param, "wrong_kind",
            f"{param}: data set {data.id} is of the kind {facts.kind}, and {wanted}{other}",
        )  # fmt: skip
    elif facts.num_rows < 2 and facts.kind != "text":
        faults.add(
            param, "too_few_rows",
            f"{param}: data set {data.id} has {facts.num_rows} row; training needs at least 2",
        )  # fmt: skip
    else:
        return True
    return False


def _targets(
    data: Upload, facts: UploadFacts, faults: FieldErrorList, series: bool
) -> list[ColumnFacts]:
    param, names = f"{_DATA}.target", data.targets
    if not names and facts.kind == "images":
        names = (CLASS_COLUMN,)
    if not names:
        faults.add(
            param, "missing", f"{param} is required; one of the columns: {listed(facts.columns)}"
        )
    found = _columns(param, names, facts, faults)
    for column in found:
        if column.dtype == "text":
            faults.add(
                param, "text_target",
                f"{param}: {shown(column.name)} is text, which is neither classes nor values; a"
                " column of at most 1,000 different texts can be uploaded as a category"
                f" (?schema={{{shown(column.name)}: \"category\"}}){hints([column])}",
            )  # fmt: skip
        is_empty = column.num_missing == facts.num_rows
        if column.num_missing and (data.missing != "drop" or is_empty or series):
            out = 'with missing "drop" they are left out'
            if is_empty:
                out = "name another column"
            elif series:
                out = "upload a series without gaps in it"
            faults.add(
                param, "missing_targets",
                f"{param}: {shown(column.name)} is missing in {column.num_missing:,} of the"
                f" {facts.num_rows:,} rows, and every row needs a target; {out}",
            )  # fmt: skip
    return found


def _features(
    data: Upload,
    facts: UploadFacts,
    targets: Sequence[str],
    faults: FieldErrorList,
    series: bool,
) -> list[ColumnFacts]:
    param = f"{_DATA}.features"
    if data.features is None:
        others = {*data.no_features, *targets}
        found = [each for each in facts.columns if each.name not in others]
        if not found and targets and not series:
            rest = "the target" if len(others) == 1 else ", ".join(map(shown, sorted(others)))
            faults.add(param, "no_features", f"{param}: the data set has no column but {rest}")
    elif not data.features and not series:
        faults.add(
            param, "too_short",
            f"{param} must name at least one column, or be left out for all but the target; []"
            " was given (which a forecast takes: it learns from its targets' past)",
        )  # fmt: skip
        found = []
    else:
        found = _columns(param, data.features, facts, faults)
        for column in found:
            if column.name in targets:
                faults.add(
                    param, "target_as_feature",
                    f"{param}: {shown(column.name)} is the target; leave it out of the features",
                )  # fmt: skip
    texts = [each for each in found if each.dtype == "text"]
    if texts:
        rest = "name the features without it" if len(texts) == 1 else "name those without them"
        faults.add(
            param, "text_feature",
            f"{param}: {listed(texts)} {'is' if len(texts) == 1 else 'are'} text, from which"
            f" nothing is learned here; {rest}, or upload with a schema that says"
            f" category (at most 1,000 different ones) or number{hints(texts)}",
        )  # fmt: skip
    return found


def _columns(
    param: str, names: Sequence[str], facts: UploadFacts, faults: FieldErrorList
) -> list[ColumnFacts]:
    """Look up the columns; names that there are not, or twice, are mistakes."""
    by_name = {each.name: each for each in facts.columns}
    found: dict[str, ColumnFacts] = {}
    for name in names:
        if name in found:
            faults.add(param, "repeated", f"{param}: {shown(name)} is named twice; name it once")
        elif name in by_name:
            found[name] = by_name[name]
        else:
            faults.add(param, "unknown_column", f"{param}: {unknown_column(name, facts.columns)}")
    return list(found.values())


class _Form(NamedTuple):
    """`num_classes` is None for values."""

    num_classes: int | None
    width: int


def _target_form(
    targets: Sequence[ColumnFacts],
    family: LossFamily | None,
    ignored: int | None,
    faults: FieldErrorList,
    series: bool,
) -> _Form | None:
    """Tell whether the targets are classes or values, as the loss wants; None where neither fits.
    Rows with the target `ignored` count for nothing.

    Without a loss, categories, truth values and the whole numbers 0 … C−1 are classes.
    """
    param, first = f"{_DATA}.target", targets[0]
    wants_classes = family in ("classes", "binary")
    if len(targets) > 1 and family == "binary":
        labels = [_classes(each, family, faults) for each in targets]
        return _Form(None, len(targets)) if all(labels) else None
    if len(targets) > 1 and wants_classes:
        faults.add(
            param, "loss_does_not_fit",
            f"{param} names {len(targets)} columns, and the loss wants the classes of one; name"
            " one, or use the loss binary_cross_entropy (labels: columns of two values each), or"
            " mse, l1, smooth_l1, huber or quantile (values)",
        )  # fmt: skip
        return None
    if wants_classes or (family is None and len(targets) == 1 and _looks_like_classes(first)):
        _check_ignored(first, ignored, faults)
        return _classes(first, family, faults, ignored)
    categories = [each for each in targets if each.dtype == "category"]
    if categories and series:
        faults.add(
            param, "loss_does_not_fit",
            f"{param}: {listed(categories)} holds categories, and a forecast gives values: name"
            f" columns of numbers{hints(categories)}",
        )  # fmt: skip
        return None
    if categories:
        use = "cross_entropy, with one target"
        if all(each.num_categories == 2 for each in categories):
            use = f"binary_cross_entropy, which takes several labels too, or {use}"
        faults.add(
            param if family is None else "problem.loss", "loss_does_not_fit",
            f"{param}: {listed(categories)} {'holds' if len(categories) == 1 else 'hold'}"
            f" categories, and the loss wants values; use {use}{hints(categories)}",
        )  # fmt: skip
        return None
    return _Form(None, sum(prod(each.shape) for each in targets))


def _looks_like_classes(column: ColumnFacts) -> bool:
    if column.dtype in ("category", "bool"):
        return True
    values = column.values
    return values is not None and len(values) > 1 and values == tuple(range(len(values)))


def _check_ignored(column: ColumnFacts, ignored: int | None, faults: FieldErrorList) -> None:
    """Refuse a class to ignore by its number where numbers are names of classes other than 0 ….
    What is negative is looked up in the column."""
    if ignored is None or ignored < 0 or column.values is None or _looks_like_classes(column):
        return
    named = ", ".join(map(str, column.values[:10])) + (" …" if len(column.values) > 10 else "")
    faults.add(
        "problem.loss.ignore_index", "ambiguous_class",
        f"problem.loss.ignore_index {ignored:,} counts classes from 0, and {shown(column.name)} has"
        f" {named}: write a negative number, such as -100, in the rows that are to count for"
        " nothing, and give that",
    )  # fmt: skip


def _classes(
    column: ColumnFacts,
    family: LossFamily | None,
    faults: FieldErrorList,
    ignored: int | None = None,
) -> _Form | None:
    param, name = f"{_DATA}.target", shown(column.name)
    count = column.num_categories
    if count is None and column.values is not None:
        count = len(classes_among(column.values, ignored))
    elif column.dtype == "bool":
        count = 2
    if column.shape or count is None:
        kind = {"number": "numbers with a point", "date": "dates"}.get(column.dtype, "")
        if column.shape:
            kind = f"an array of the shape {list(column.shape)} a row"
        elif not kind:
            kind = "more different whole numbers than a thousand classes"
        way = "choose a column of categories or few whole numbers"
        if column.dtype == "number" and not column.shape:
            way += f', or upload it as such (?schema={{{name}: "integer"}} reads 1.0 as 1)'
        if column.shape and family == "binary":
            way = "upload each of several labels as a column of its own, and name all as the target"
        faults.add(
            param, "loss_does_not_fit",
            f"{param}: {name} holds {kind}, and the loss wants classes; {way}, or use the loss mse,"
            " l1, smooth_l1 or huber",
        )  # fmt: skip
        return None
    if count < 2:
        faults.add(
            param, "one_class",
            f"{param}: {name} has one class only; upload rows of at least two",
        )  # fmt: skip
        return None
    if family == "binary" and count != 2:
        faults.add(
            "problem.loss", "loss_does_not_fit",
            f"problem.loss binary_cross_entropy wants 2 classes; {name} has {count}; use"
            " cross_entropy",
        )  # fmt: skip
        return None
    return _Form(count, 1)


def _rows(
    data: Upload,
    facts: UploadFacts,
    features: Sequence[ColumnFacts],
    targets: Sequence[ColumnFacts],
    faults: FieldErrorList,
) -> int:
    """Return how many rows there are at most once those without a feature, or a target, are dealt
    with."""
    gaps = [each for each in features if each.num_missing]
    empty = [each for each in gaps if each.num_missing == facts.num_rows]
    if gaps and data.missing == "refuse":
        worst = max(gaps, key=lambda each: each.num_missing)
        faults.add(
            f"{_DATA}.missing", "missing_values",
            f"{_DATA}.missing \"refuse\": {listed(gaps)} {'has' if len(gaps) == 1 else 'have'}"
            f" missing values ({shown(worst.name)} in {worst.num_missing:,} of"
            f" {facts.num_rows:,} rows); choose mean, most_frequent or drop, or features without"
            " gaps",
        )  # fmt: skip
    elif empty:
        faults.add(
            f"{_DATA}.features", "no_values",
            f"{_DATA}.features: {listed(empty)} {'has' if len(empty) == 1 else 'have'} no value in"
            " any row; choose features without",
        )  # fmt: skip
    if data.missing != "drop":
        return facts.num_rows
    return facts.num_rows - max((each.num_missing for each in (*gaps, *targets)), default=0)


def width(column: ColumnFacts, data: Upload) -> int:
    """Return how many numbers a feature is in each row."""
    if column.num_categories is not None:
        return column.num_categories + 1 if data.categorical == "one_hot" else 1
    return prod(column.shape)
