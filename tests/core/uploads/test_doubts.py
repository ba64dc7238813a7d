"""The check of a file finds what its columns hardly mean, in every kind of table."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.specs.sizes.uploads import UploadFacts
from core.specs.validation.uploads.doubts import doubts_of_columns
from core.uploads.parse.kinds import parse
from core.uploads.schema import parse_schema
from tests.core.uploads.samples import CSV, NDJSON, PARQUET

Json = dict[str, Any]
Facts = Callable[..., UploadFacts]
START: Final = datetime(2024, 1, 1, tzinfo=UTC)
DAY: Final = 86_400.0


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    def facts(data: bytes, media_type: str = CSV, schema: str = "{}") -> UploadFacts:
        (tmp_path / "file").write_bytes(data)
        asked = parse_schema(schema)
        found = parse(media_type, tmp_path / "file", asked, tmp_path, tmp_path / "stored")
        stored = json.loads(json.dumps(found.to_json()))  # as a record keeps it
        return UploadFacts.of("ready", found.kind, "file_1", stored, asked.dtypes)

    return facts


def parquet(columns: dict[str, list[Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def ndjson(columns: dict[str, list[Any]]) -> bytes:
    rows = zip(*columns.values(), strict=True)
    return "\n".join(json.dumps(dict(zip(columns, row, strict=True))) for row in rows).encode()


def table(columns: dict[str, list[Any]]) -> bytes:
    rows = zip(*columns.values(), strict=True)
    lines = [list(columns), *rows]
    return "\n".join(",".join(map(str, line)) for line in lines).encode() + b"\n"


WRITERS: Final = [(CSV, table), (NDJSON, ndjson), (PARQUET, parquet)]


@pytest.mark.parametrize(("media_type", "write"), WRITERS)
@pytest.mark.parametrize("num_rows", [50, 3_000])
def test_texts_that_stand_for_numbers_are_found_few_or_many(
    facts: Facts, media_type: str, write: Callable[[Json], bytes], num_rows: int
) -> None:
    columns = {
        "price": [f"${i}" for i in range(num_rows)],
        "share": [f"{i / 7:.3f}%" for i in range(num_rows)],
        "note": [f"note {i}" for i in range(num_rows)],
        "y": [i % 2 for i in range(num_rows)],
    }
    found = facts(write(columns), media_type)
    dtypes = [each.dtype for each in found.columns]
    assert dtypes == [*["category" if num_rows == 50 else "text"] * 3, "integer"]
    warned = {each.param: each for each in doubts_of_columns(found)}
    assert warned["price"].code == warned["share"].code == "looks_like_numbers"
    assert '"$0"' in warned["price"].message
    assert ("note" in warned) == (num_rows == 50)  # nearly unique; a text is refused anyway


def test_texts_that_become_many_late_are_found(facts: Facts) -> None:
    cells = [f"{i % 900} kg" for i in range(200_000)] + [f"{i} kg" for i in range(5_000)]
    found = facts(table({"w": cells, "y": [1] * len(cells)}))
    assert found.columns[0].dtype == "text"
    assert [each.param for each in doubts_of_columns(found)] == ["w"]


def test_a_text_that_the_schema_declares_is_not_warned_of(facts: Facts) -> None:
    data = table({"w": [f"{i} kg" for i in range(3_000)], "y": [1] * 3_000})
    for kind in ("text", "category"):
        few = data if kind == "text" else data[:500].rpartition(b"\n")[0] + b"\n"
        assert doubts_of_columns(facts(few, schema=f'{{"w": "{kind}"}}')) == []


@pytest.mark.parametrize(("media_type", "write"), WRITERS)
def test_the_way_out_leads_out(
    facts: Facts, media_type: str, write: Callable[[Json], bytes]
) -> None:
    """Numbers and ISO dates that a file calls texts are read as what a schema says."""
    columns = {"a": [f"{i}.5" for i in range(9)], "b": [f"2024-01-{i + 10}" for i in range(9)]}
    data = write(columns)
    warned = doubts_of_columns(facts(data, media_type))
    if media_type == PARQUET:
        assert [each.param for each in warned] == ["a", "b"]
    schema: Json = {}
    for each in warned:
        told = each.message.partition("send the schema ")[2].partition(";")[0]
        schema |= json.loads(told)
    found = facts(data, media_type, json.dumps(schema))
    assert [each.dtype for each in found.columns] == ["number", "date"]
    assert doubts_of_columns(found) == []


@pytest.mark.parametrize(("media_type", "write"), WRITERS)
@pytest.mark.parametrize(
    ("cell", "dtype"), [("{}", "integer"), ("{}.5", "number"), ("2024-01-{}", "date")]
)
def test_a_sign_of_what_is_missing_makes_no_categories_unsaid(
    facts: Facts, media_type: str, write: Callable[[Json], bytes], cell: str, dtype: str
) -> None:
    """In a third of the rows: too many to be a mistake."""
    cells = ["?" if i % 3 else cell.format(i + 10) for i in range(18)]
    data = write({"a": cells, "y": list(range(18))})
    (warned,) = doubts_of_columns(facts(data, media_type))
    assert 'if "?" says that a value is missing, send the schema {"columns"' in warned.message
    schema = warned.message.partition("send the schema ")[2].partition(";")[0]
    found = facts(data, media_type, schema)
    assert found.columns[0].dtype == ("number" if dtype == "integer" else dtype)
    assert found.columns[0].num_missing == 12
    assert doubts_of_columns(found) == []


@pytest.mark.parametrize(("media_type", "write"), WRITERS)
def test_times_are_looked_at_in_every_kind_of_table(
    facts: Facts, media_type: str, write: Callable[[Json], bytes]
) -> None:
    times = [START + timedelta(days=i + (i >= 20) - 40 * (i >= 50)) for i in range(60)]
    cells: list[Any] = [each if media_type == PARQUET else each.isoformat() for each in times]
    found = facts(write({"t": cells, "y": list(range(60))}), media_type)
    times_found = found.columns[0].times
    assert times_found is not None
    assert (times_found.usual_s, times_found.num_steps) == (DAY, 59)
    assert (times_found.num_back, times_found.first_back) == (1, 50)
    assert (times_found.num_uneven, times_found.first_uneven) == (1, 20)
    assert times_found.uneven_s == 2 * DAY
    assert np.isfinite(times_found.usual_s)
    assert found.columns[1].times is None
