"""Warnings of an upload's columns: what trains, and hardly means what it seems to."""

from collections.abc import Iterator, Sequence
from typing import Final

from core.errors import FieldError
from core.specs.columns.times import Times
from core.specs.columns.written import Meaning, Written
from core.specs.data import Upload
from core.specs.job import DataProblem, Forecast
from core.specs.sizes.uploads import ColumnFacts, UploadFacts, Uploads
from core.specs.splits.kinds import TailSplit
from core.specs.validation.errors import shown

MOST: Final = 20
"""Most columns of a data set that warnings name."""
_DATA: Final = "problem.data"
_MOST_HINTS: Final = 3
_UNIQUE: Final = 0.9
"""Share of the rows that have a category of their own, from which on it is rather a name."""
_LEAST_UNIQUE: Final = 20
_WAYS: Final[dict[Meaning, str]] = {
    "date": "write dates as 2024-12-31 (months and quarters by their first day)",
    "time": "write times of day as one number, such as minutes (750 for 12:30)",
    "percent": "write the number alone (10 for 10%)",
    "money": "write the number alone (1234.5 for $1,234.50)",
    "number": "write numbers with a point and nothing between thousands (1234.5 for 1,234.5)",
    "quantity": "write the number alone, in one unit (0.5 for 500 g beside 10 for 10 kg)",
}
_NOUNS: Final[dict[Meaning, str]] = {
    "date": "dates",
    "time": "times of day",
    "percent": "percentages",
    "money": "amounts of money",
    "number": "numbers",
    "quantity": "numbers with a unit",
}


def doubts_of_columns(facts: UploadFacts) -> list[FieldError]:
    """List what is doubtful in the columns of a data set, whatever it is used for; `param` is the
    column's name. Of many columns the first ones are named."""
    found: list[FieldError] = []
    for column in facts.columns if facts.kind in ("table", "arrays") else ():
        for code, text in _of_texts(column, facts, is_feature=True):
            found.append(FieldError(column.name, code, f"Column {text}."))
    return _first(found, "columns")


def doubts_of_problem(problem: DataProblem, uploads: Uploads) -> list[FieldError]:
    """List what is doubtful in the columns that a resolved problem uses."""
    data = problem.data
    facts = uploads.get(data.id) if isinstance(data, Upload) else None
    if not isinstance(data, Upload) or facts is None or facts.kind == "text":
        return []
    found: list[FieldError] = []
    for column in _used(data, facts):
        is_feature = column.name not in data.targets
        param = f"{_DATA}.{'features' if is_feature else 'target'}"
        for code, text in _of_texts(column, facts, is_feature=is_feature):
            found.append(FieldError(param, code, f"{param}: {text}"))
    return [*_of_order(problem, facts), *_first(found, _DATA)]


def _first(found: list[FieldError], param: str) -> list[FieldError]:
    more = len(found) - MOST
    if more <= 0:
        return found
    return [*found[:MOST], FieldError(param, "more_warnings", f"and {more:,} more of this kind")]


def _used(data: Upload, facts: UploadFacts) -> list[ColumnFacts]:
    """Return the columns of the features and targets."""
    if data.features is not None:
        names = {*data.features, *data.targets}
        return [each for each in facts.columns if each.name in names]
    others = data.no_features - set(data.targets)
    return [each for each in facts.columns if each.name not in others]


# ---- what texts stand for


def _of_texts(
    column: ColumnFacts, facts: UploadFacts, *, is_feature: bool
) -> Iterator[tuple[str, str]]:
    """Yield codes and texts of what is doubtful in a column of texts: the first that holds."""
    name, count = shown(column.name), column.num_categories
    if column.written is not None:
        code = "looks_like_dates" if column.written.meaning == "date" else "looks_like_numbers"
        yield code, _taken_for(column, column.written, "categories" if is_feature else "classes")
        return
    if count is None or column.categories is None:
        return
    if column.alike is not None:
        one, other = map(shown, column.alike)
        what = "categories" if is_feature else "classes"
        yield (
            "categories_alike",
            (
                f"{name} has {one} and {other}, which are two {what}: write them alike, unless they"
                " differ in what they mean"
            ),
        )
        return
    present = facts.num_rows - column.num_missing
    if is_feature and not column.declared and count >= max(_LEAST_UNIQUE, _UNIQUE * present):
        yield (
            "nearly_unique",
            (
                f"{name} has {count:,} different texts, such as {shown(column.categories[0])}, in"
                f" {present:,} rows: nearly each row is a category of its own, of which nothing is"
                " learned for other rows; leave it out of the features, or group its values"
                f"{_or_numbers(column.name, column.categories)}"
            ),
        )


def _or_numbers(name: str, categories: tuple[str, ...]) -> str:
    """Say how to have them read as numbers, where they are all whole ones."""
    if not all(each.isdecimal() and each.isascii() for each in categories):
        return ""
    return f'; if these are numbers, send the schema {{{shown(name)}: "number"}}'


def _taken_for(column: ColumnFacts, found: Written, what: str) -> str:
    """Say what a column's texts stand for, what they are taken for, and how to write them."""
    taken, kind = "text, from which nothing is learned", "text"
    if column.num_categories is not None:
        kind = "category"
        taken = f"{column.num_categories:,} {what}, none of which is more or less than another"
    beside = "" if found.odd is None else f", and {shown(found.odd)}"
    return (
        f"{shown(column.name)} has {shown(found.example)}{beside}: its texts seem to be"
        f" {_NOUNS[found.meaning]}, and are taken for {taken}. Upload it anew:"
        f" {_way(column.name, found)}; or, if they are names, say so in the schema,"
        f" {{{shown(column.name)}: {shown(kind)}}}"
    )


def _way(name: str, found: Written) -> str:
    """Return how to have texts read as what they stand for."""
    if not found.readable:
        return _WAYS[found.meaning]
    kind = "date" if found.meaning == "date" else "number"
    if found.odd is not None:
        return (
            f"if {shown(found.odd)} says that a value is missing, send the schema"
            f' {{"columns": {{{shown(name)}: {shown(kind)}}}, "missing": [{shown(found.odd)}]}}'
        )
    return f"send the schema {{{shown(name)}: {shown(kind)}}}"


def hints(columns: Sequence[ColumnFacts]) -> str:
    """Return the end of a message on columns of text: how to write those that seem to be dates or
    numbers; of many, the first."""
    found = [
        f"; {shown(each.name)} has {shown(each.written.example)}: if these are"
        f" {_NOUNS[each.written.meaning]}, {_way(each.name, each.written)}"
        for each in columns
        if each.written is not None
    ]
    return "".join(found[:_MOST_HINTS])


# ---- the order of rows in time


def _of_order(problem: DataProblem, facts: UploadFacts) -> Iterator[FieldError]:
    """Warn where the order of the rows is taken for that of time, and the dates say otherwise: of
    the first column of dates, unless another one is in order."""
    series = isinstance(problem, Forecast)
    if not series and not isinstance(problem.data.chosen_split, TailSplit):
        return
    found = [
        (each.name, doubt)
        for each in facts.columns
        if each.times is not None
        for doubt in [_of_times(each.times, even=series)]
    ]
    if not found or None in [doubt for _, doubt in found]:
        return
    name, doubt = found[0]
    assert doubt is not None
    code, text = doubt
    param = f"{_DATA}.id" if series else f"{_DATA}.split"
    taken = "rows are taken for times in order, evenly apart"
    if not series:
        taken = "the last rows are held out as the latest"
    yield FieldError(param, code, f"{param}: {taken}, and by the column {shown(name)} {text}")


def _of_times(times: Times, *, even: bool) -> tuple[str, str] | None:
    """Return code and text of what is wrong with an order; None: nothing. `even`: its steps are to
    be equal."""
    if times.num_back == times.num_steps:
        way = "sort the rows by it, and upload them anew"
        return ("times_out_of_order", f"the latest come first: {way}") if times.num_back else None
    if times.num_back:
        return "times_out_of_order", (
            f"{_counted(times.num_back, times.num_steps)} back in time, the first at row"
            f" {times.first_back:,} (counted from 0): sort the rows by it, and upload them anew; of"
            " several series in one file, each by itself"
        )
    if not even:
        return None
    if times.num_same:
        return "times_repeat", (
            f"{_counted(times.num_same, times.num_steps)} to the same time again, the first at row"
            f" {times.first_same:,} (counted from 0): keep one row a time, and upload them anew; of"
            " several series in one file, each by itself"
        )
    if times.num_uneven:
        return "uneven_times", (
            f"{_counted(times.num_uneven, times.num_steps)} by another time than the usual"
            f" {_length(times.usual_s)}, the first by {_length(times.uneven_s)} to row"
            f" {times.first_uneven:,} (counted from 0): upload the series with a row for each time,"
            " or one that is evenly sampled"
        )
    return None


def _counted(count: int, steps: int) -> str:
    return f"{count:,} of {steps:,} steps {'leads' if count == 1 else 'lead'}"


def _length(seconds: float) -> str:
    """Return a length of time in words."""
    for unit, size in (("day", 86_400.0), ("hour", 3_600.0), ("minute", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}{'' if seconds == size else 's'}"
    return f"{seconds:.4g} seconds"
