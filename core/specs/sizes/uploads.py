"""Facts about uploaded data sets that a spec is held against; they come from the records alone."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final, Self

from core.specs.base import Json, Spec
from core.specs.columns.times import Times
from core.specs.columns.written import Written, alike, written


@dataclass(frozen=True)
class ColumnFacts:
    """Facts about a column (`core.uploads.contents.Column`).

    Attributes:
        num_categories: of a `category`; else None.
        values: the distinct values of an `integer` or `bool`, where they are few; else None.
        categories: their names, of a `category`; else None.
        counts: the rows of each category or value, or of false and of true; None: not known.
        largest, largest_row: of numbers the first of the greatest size, with its row counted from
            0; None: not known.
        times: of dates, their order; None: not known.
        sample: of a `text`, some of its texts where they stand for dates or numbers; else None.
        declared: the schema said what kind of column it is.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    num_missing: int = 0
    num_categories: int | None = None
    values: tuple[int, ...] | None = None
    categories: tuple[str, ...] | None = None
    counts: tuple[int, ...] | None = None
    largest: float | None = None
    largest_row: int | None = None
    times: Times | None = None
    sample: tuple[str, ...] | None = None
    declared: bool = False

    @cached_property
    def written(self) -> Written | None:
        """The meaning of its texts where they stand for dates or numbers, and nobody said that they
        are names."""
        texts = self.categories if self.sample is None else self.sample
        return None if texts is None or self.declared else written(texts)

    @cached_property
    def alike(self) -> tuple[str, str] | None:
        """Two of its categories that are written almost alike; None: there are none."""
        return None if self.categories is None else alike(self.categories)

    @property
    def cells(self) -> tuple[str, ...] | tuple[int, ...] | tuple[bool, ...] | None:
        """The values that a cell may have, in the order of `counts`; None where they are not
        few."""
        if self.shape:
            return None
        if self.dtype == "bool":
            return (False, True)
        return self.categories if self.values is None else self.values


@dataclass(frozen=True)
class UploadFacts:
    """Facts about a data set.

    Attributes:
        status: `checking`, `ready` or `refused`.
        kind: of the contents.
        file: name of the stored content; empty unless it is ready.
        num_rows: 0 where there are none, or none are known.
        num_characters, num_distinct_characters: of a text; else None.
        num_bytes: of a text in UTF-8, or from above, of its stored form; of others, of that.
    """

    status: str
    kind: str
    file: str
    num_rows: int
    columns: tuple[ColumnFacts, ...]
    num_characters: int | None = None
    num_distinct_characters: int | None = None
    num_bytes: int | None = None

    @classmethod
    def of(
        cls,
        status: str,
        kind: str,
        file: str | None,
        contents: Json | None,
        declared: Collection[str] = (),
    ) -> Self:
        """Return the facts of a record; `contents`: as the check found them; `declared`: the names
        of columns whose kind the schema says."""
        found = contents or {}
        columns = tuple(
            ColumnFacts(
                name=each["name"],
                dtype=each["dtype"],
                shape=tuple(each["shape"]),
                num_missing=each["num_missing"],
                num_categories=None if each["categories"] is None else len(each["categories"]),
                values=_listed(each["values"]),
                categories=_listed(each["categories"]),
                counts=_listed(each.get("counts")),
                largest=each.get("largest"),
                largest_row=each.get("largest_row"),
                times=_times(each.get("times")),
                sample=_listed(each.get("sample")),
                declared=each["name"] in declared,
            )
            for each in found.get("columns", ())
        )
        return cls(
            status,
            kind,
            file or "",
            found.get("num_rows") or 0,
            columns,
            found.get("num_characters"),
            found.get("num_distinct_characters"),
            found.get("num_text_bytes") or found.get("num_bytes"),
        )

    def to_json(self) -> Json:
        """Return the facts as JSON has them."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Json) -> Self:
        """Read what `to_json` returned, once written and read as JSON."""
        columns = tuple(
            ColumnFacts(
                **{
                    **each,
                    "shape": tuple(each["shape"]),
                    "values": _listed(each["values"]),
                    "categories": _listed(each.get("categories")),
                    "counts": _listed(each.get("counts")),
                    "times": _times(each.get("times")),
                    "sample": _listed(each.get("sample")),
                }
            )
            for each in stored["columns"]
        )
        return cls(**{**stored, "columns": columns})


def _listed(found: list[Any] | None) -> tuple[Any, ...] | None:
    return None if found is None else tuple(found)


def _times(found: Json | None) -> Times | None:
    return None if found is None else Times(**found)


Uploads = Mapping[str, UploadFacts]
"""Facts about the data sets that a spec names, by id; one that is missing does not exist."""
NO_UPLOADS: Final[Uploads] = {}


_OWN: Final = {"data": "stored", "model": "stored_weights"}
"""Fields that the service writes for itself, by the part of the problem that they stand in."""
_TOKENS: Final = "tokens"
"""A field of that kind that stands in a problem itself."""


def as_posted(spec: Json) -> Json:
    """Return a job's or a study's stored spec as a caller may post it: without what the service
    wrote for itself."""
    if "base" in spec:
        base = {name: part for name, part in spec["base"].items() if name != "datasets"}
        return {**spec, "base": as_posted(base)}
    problem = spec.get("problem")
    if not isinstance(problem, dict):
        return spec
    shown: Json = {}
    for part, own in _OWN.items():
        found = problem.get(part)
        if isinstance(found, dict) and own in found:
            shown[part] = {name: value for name, value in found.items() if name != own}
    if not shown and _TOKENS not in problem:
        return spec
    shown = {name: part for name, part in {**problem, **shown}.items() if name != _TOKENS}
    return {**spec, "problem": shown}


def spec_text(spec: Spec) -> str:
    """Write a job's resolved spec as JSON that a caller may post."""
    parts: dict[str, Any] = {part: {own} for part, own in _OWN.items()}
    return spec.model_dump_json(exclude={"problem": {_TOKENS: True, **parts}})
