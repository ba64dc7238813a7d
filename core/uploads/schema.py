"""The schema that may come with a file, and overrides what would be inferred."""

from dataclasses import dataclass, field

from core.specs.base import Json
from core.uploads.contents import Dtype


@dataclass(frozen=True)
class Schema:
    """Statements of the caller about a file.

    Attributes:
        dtypes: column -> kind; the others are inferred.
        delimiter: between the cells of a CSV file.
        header: whether the first row of a CSV file names the columns; else they are `column_1`, ….
        missing: cells that stand for a missing value, instead of `MISSING`; the empty cell always
            does.
    """

    dtypes: dict[str, Dtype] = field(default_factory=dict)
    delimiter: str = ","
    header: bool = True
    missing: tuple[str, ...] | None = None

    def to_json(self) -> Json:
        """Return the schema in its long form, which `parse_schema` reads."""
        raise NotImplementedError


def parse_schema(text: str | bytes | None) -> Schema:
    """Read the `schema` of a request; None is the empty one.

    The short form names kinds of columns: `{"zip": "category"}`. The long form is `{"columns":
    {"zip": "category"}, "delimiter": ";", "header": false, "missing": ["?"]}`, each key optional;
    `columns` may also be a list of objects with `name` and `dtype`, as a dataset shows them.

    Raises:
        InvalidInputError: it is no JSON of this shape; `param` begins with "schema". Whether the
            file has these columns, the check of the file says (`unknown_column`).
    """
    raise NotImplementedError
