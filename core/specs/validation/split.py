"""Rules of splits: every part that is asked for has rows, and a stratified one all classes."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal, assert_never

from core.specs.data import (
    Builtin,
    Data,
    DataSpec,
    ExplicitOrder,
    Inline,
    InlineText,
    Synthetic,
    Upload,
    split_rows,
)
from core.specs.generators import (
    Blobs,
    Circles,
    Moons,
    Spirals,
)
from core.specs.job import DataProblem
from core.specs.losses import ignored_class
from core.specs.sizes.shapes import DataShape, builtin_table, loss_family
from core.specs.sizes.uploads import ColumnFacts, UploadFacts
from core.specs.splits.kinds import (
    Cell,
    ColumnSplit,
    FoldsSplit,
    FractionSplit,
    Split,
    TailSplit,
)
from core.specs.splits.rows import PartRows, cannot_stratify, cell_key, column_rows, part_rows
from core.specs.validation.errors import MAX_ERRORS, FieldErrorList, shown
from core.specs.validation.limits import Limits
from core.specs.validation.uploads.columns import MOST_LISTED, unknown_column

_DATA: Final = "problem.data"
_SPLIT: Final = "problem.data.split"


def check_short_form(data: DataSpec, faults: FieldErrorList) -> None:
    """Check that a split is given once: as itself, or in its short form."""
    if data.split is None:
        return
    given = [name for name in ("eval_fraction", "split_seed") if _is_given(data, name)]
    if given:
        faults.add(
            _SPLIT, "conflict",
            f"{_SPLIT} and {' and '.join(f'{_DATA}.{name}' for name in given)} exclude each other:"
            f" {' and '.join(given)} {'is' if len(given) == 1 else 'are'} the short form of a"
            f" fraction split; leave {'it' if len(given) == 1 else 'them'} out (in a patch: null)",
        )  # fmt: skip


def in_short_form(data: DataSpec, num_rows: int) -> dict[str, float | int | None]:
    """Return the fields of the short form, defaults written out; null where a split is given. The
    default share of so few rows that it comes to none is 0."""
    if data.split is not None:
        return {"eval_fraction": None, "split_seed": None}
    held_out = data.held_out
    if not _is_given(data, "eval_fraction") and not split_rows(data, num_rows).eval:
        held_out = 0.0
    return {"eval_fraction": held_out, "split_seed": data.split_seed or 0}


def _is_default(data: DataSpec) -> bool:
    """Tell whether no share was asked for: the default leaves rows for training, however few there
    are."""
    return data.split is None and not _is_given(data, "eval_fraction")


def _is_given(data: DataSpec, name: str) -> bool:
    return name in data.model_fields_set and getattr(data, name) is not None


def check_split(
    problem: DataProblem, shape: DataShape, limits: Limits, faults: FieldErrorList
) -> None:
    """Check the sizes of the parts, and that classes can be spread over them. Of an upload the
    classes and the column of the split have been looked at (`check_upload_split`)."""
    data = problem.data
    if _is_default(data) and not isinstance(data.order, ExplicitOrder):
        return
    split = data.chosen_split
    before = len(faults.errors)
    if isinstance(split, ColumnSplit) and not isinstance(data, Upload):
        faults.add(
            f"{_SPLIT}.kind", "datasets_only",
            f"{_SPLIT}.kind: column is of uploaded data sets, whose columns have names; {data.kind}"
            " data can be split by fraction, tail or folds",
        )  # fmt: skip
        return
    if isinstance(split, FoldsSplit):
        _check_folds(split, shape.num_rows, faults)
    if isinstance(split, (FractionSplit, FoldsSplit)) and split.stratify:
        if shape.num_classes is None:
            faults.add(f"{_SPLIT}.stratify", "no_classes", NO_CLASSES)
        elif (counts := _class_counts(data)) is not None and len(faults.errors) == before:
            names = [f"{number}" for number in range(len(counts))]
            _check_classes(split, counts, names, faults)
    if len(faults.errors) == before:
        _check_parts(data, split, shape.num_rows, limits, faults)
    if len(faults.errors) == before and shape.num_classes is not None:
        _check_tail(problem, split, shape.num_rows, faults)
    if len(faults.errors) == before and isinstance(data.order, ExplicitOrder):
        _check_order(data, data.order, shape.num_rows, faults)


NO_CLASSES: Final = (
    f"{_SPLIT}.stratify spreads classes over the parts, and the targets are values: leave it out"
)


def _check_tail(problem: DataProblem, split: Split, num_rows: int, faults: FieldErrorList) -> None:
    """Check that rows in the request that are not of the tail are of two classes; of others it is
    seen when the job starts."""
    data = problem.data
    if not isinstance(data, Inline) or not isinstance(split, TailSplit):
        return
    if problem.loss is not None and loss_family(problem.loss) == "values":
        return
    ignored = None if problem.loss is None else ignored_class(problem.loss)
    train = data.given_targets[: part_rows(split, num_rows).train]
    found = {each for each in train if isinstance(each, int) and each != ignored}
    if len(found) < 2:
        left = f"class {min(found)} alone" if found else "no class"
        faults.add(
            _SPLIT, "one_class",
            f"{_SPLIT}: tail leaves {left} for training, and there must be two: bring the rows into"
            " another order, or choose another split, such as fraction",
        )  # fmt: skip


def _check_folds(split: FoldsSplit, num_rows: int, faults: FieldErrorList) -> None:
    if split.num > num_rows:
        faults.add(
            f"{_SPLIT}.num", "less_than_equal",
            f"{_SPLIT}.num must be at most the number of rows, {num_rows:,}; {split.num:,} was"
            " given",
        )  # fmt: skip
    if split.fold >= split.num:
        faults.add(
            f"{_SPLIT}.fold", "less_than",
            f"{_SPLIT}.fold must be less than num = {split.num:,}, as folds count from 0;"
            f" {split.fold:,} was given",
        )  # fmt: skip


def _check_classes(
    split: FractionSplit | FoldsSplit,
    counts: Sequence[int],
    names: Sequence[str],
    faults: FieldErrorList,
) -> None:
    if (reason := cannot_stratify(split, counts, names)) is not None:
        faults.add(f"{_SPLIT}.stratify", "too_few_rows", f"{_SPLIT}.stratify: {reason}")


def _class_counts(data: Data) -> list[int] | None:
    """Return the rows of each class, as far as they follow from the spec alone."""
    match data:
        case Builtin(name=name):
            found: list[int] | None = builtin_table()[name]["class_counts"]
            return found
        case Inline():
            return data.class_counts
        case Synthetic(generator=Blobs(num_samples=rows, num_classes=count)):
            return [len(range(each, rows, count)) for each in range(count)]
        case Synthetic(generator=Spirals(num_samples=rows, num_classes=count)):
            return [len(range(each, rows, count)) for each in range(count)]
        case Synthetic(generator=Moons(num_samples=rows) | Circles(num_samples=rows)):
            return [rows - rows // 2, rows // 2]
        case Synthetic() | Upload() | InlineText():
            return None
        case _:
            assert_never(data)


def _check_parts(
    data: Data,
    split: Split,
    num_rows: int,
    limits: Limits,
    faults: FieldErrorList,
) -> None:
    sizes = split_rows(data, num_rows)
    if isinstance(split, (FractionSplit, TailSplit)):
        _check_shares(data, split, sizes, num_rows, limits, faults)
    elif isinstance(split, ColumnSplit):
        _check_named(split, sizes, num_rows, faults)


def _check_shares(
    data: DataSpec,
    split: FractionSplit | TailSplit,
    sizes: PartRows,
    num_rows: int,
    limits: Limits,
    faults: FieldErrorList,
) -> None:
    if _is_default(data):
        return
    short = data.split is None
    shares: tuple[Literal["eval", "test"], ...] = ("eval", "test")
    for part in shares:
        share = getattr(split, part)
        param = f"{_DATA}.eval_fraction" if short else f"{_SPLIT}.{part}"
        if getattr(sizes, part) == 0 < share and not limits.stored:
            words = ("evaluation", "evaluated") if part == "eval" else ("test", "tested")
            faults.add(
                param, f"no_{words[0]}_rows",
                f"{param} {share:g} comes to none of the {num_rows:,} rows, so that nothing would"
                f" be {words[1]}; give {1 / num_rows:.2g} or 0",
            )  # fmt: skip
    if sizes.train >= 1:
        return
    if short:
        faults.add(
            f"{_DATA}.eval_fraction", "no_training_rows",
            f"{_DATA}.eval_fraction {split.eval:g} leaves none of the {num_rows} rows for training;"
            " lower it",
        )  # fmt: skip
        return
    faults.add(
        _SPLIT, "no_training_rows",
        f"{_SPLIT}: eval {split.eval:g} and test {split.test:g} together leave none of the"
        f" {num_rows} rows for training; lower them, so that they add up to less than 1",
    )  # fmt: skip


def _check_named(
    split: ColumnSplit, sizes: PartRows, num_rows: int, faults: FieldErrorList
) -> None:
    if sizes.train < 1:
        faults.add(
            _SPLIT, "no_training_rows",
            f"{_SPLIT}: eval and test name every value of the column {shown(split.name)}, and leave"
            f" none of the {num_rows:,} rows for training; name fewer",
        )  # fmt: skip


def _check_order(
    data: DataSpec, order: ExplicitOrder, num_rows: int, faults: FieldErrorList
) -> None:
    train_rows = split_rows(data, num_rows).train
    by = f"eval_fraction {data.held_out:g}" if data.split is None else "the split"
    allowed = len(faults.errors) + MAX_ERRORS
    for step, rows in enumerate(order.steps):
        if max(rows) >= train_rows and len(faults.errors) <= allowed:
            faults.add(
                f"{_DATA}.order.steps.{step}", "row_out_of_range",
                f"{_DATA}.order.steps.{step} names row {max(rows)}; the training rows are 0 …"
                f" {train_rows - 1} (of {num_rows} rows, {by} keeps some for evaluation)",
            )  # fmt: skip


# --- splits of uploads -------------------------------------------------------------------------


def check_upload_split(
    data: Upload,
    facts: UploadFacts,
    target: ColumnFacts | None,
    num_classes: int | None,
    faults: FieldErrorList,
) -> tuple[int, int, int] | None:
    """Check what a split says of the columns; return the rows of its parts where they follow from a
    column."""
    split = data.chosen_split
    if isinstance(split, ColumnSplit):
        return _check_column(data, split, facts, faults)
    if isinstance(split, TailSplit) or not split.stratify or num_classes is None:
        return None
    assert target is not None  # of its classes
    if target.counts is None or target.cells is None:
        faults.add(f"{_SPLIT}.stratify", "not_counted", _not_counted(data, target))
        return None
    _check_classes(split, target.counts, [shown(cell) for cell in target.cells], faults)
    return None


def _check_column(
    data: Upload, split: ColumnSplit, facts: UploadFacts, faults: FieldErrorList
) -> tuple[int, int, int] | None:
    param, name = f"{_SPLIT}.name", shown(split.name)
    column = next((each for each in facts.columns if each.name == split.name), None)
    if column is None:
        faults.add(param, "unknown_column", f"{param}: {unknown_column(split.name, facts.columns)}")
        return None
    for field, named in {"target": data.targets, "features": data.features or ()}.items():
        if split.name in named:
            faults.add(
                param, f"split_by_{field}",
                f"{param}: {name} stands in {_DATA}.{field} too, and a column that says how rows"
                f" are split is not learned from; take it out of {field}, or split by another",
            )  # fmt: skip
    cells = column.cells
    if cells is None:
        faults.add(
            param, "wrong_column",
            f"{param}: {name} is of the kind {column.dtype} and does not have a thousand values at"
            " most; name a column of categories, whole numbers or truth values, which an upload's"
            " schema can make it",
        )  # fmt: skip
        return None
    if column.counts is None:
        faults.add(param, "not_counted", _not_counted(data, column))
        return None
    before = len(faults.errors)
    for part, wanted in {"eval": split.eval, "test": split.test}.items():
        others = split.eval if part == "test" else ()
        _check_cells(f"{_SPLIT}.{part}", wanted, others, column, cells, faults)
    if len(faults.errors) > before:
        return None
    counts = [*column.counts, facts.num_rows - sum(column.counts)]
    return column_rows(split, cells, counts)


def _check_cells(
    param: str,
    wanted: Sequence[Cell],
    others: Sequence[Cell],
    column: ColumnFacts,
    cells: Sequence[Cell],
    faults: FieldErrorList,
) -> None:
    known = set(map(cell_key, cells))
    named = Counter(map(cell_key, wanted))
    for key, cell in {cell_key(each): each for each in wanted}.items():
        if key not in known:
            listed = ", ".join(map(shown, cells[:MOST_LISTED]))
            more = len(cells) - MOST_LISTED
            faults.add(
                param, "unknown_value",
                f"{param}: the column {shown(column.name)} has no value {shown(cell)}; its values:"
                f" {listed}{f' and {more:,} more' if more > 0 else ''}",
            )  # fmt: skip
        elif named[key] > 1:
            faults.add(param, "repeated", f"{param}: {shown(cell)} is named twice; name it once")
        elif key in set(map(cell_key, others)):
            faults.add(
                param, "in_two_parts",
                f"{param}: {shown(cell)} stands in eval too, and a row belongs to one part; name it"
                " in one of them",
            )  # fmt: skip


def _not_counted(data: Upload, column: ColumnFacts) -> str:
    return (
        f"{_SPLIT}: data set {data.id} was uploaded before the rows of each value were counted,"
        f" which a split by {shown(column.name)} needs; upload the file again"
    )
