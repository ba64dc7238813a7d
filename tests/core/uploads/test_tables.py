"""Kinds of columns are inferred over the whole file, and values are what another reader reads."""

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.specs.columns.times import Times
from core.uploads.contents import Column, Contents, RefusedFile
from core.uploads.parse.csv_file import CsvText
from core.uploads.parse.kinds import parse
from core.uploads.schema import Schema, parse_schema
from core.uploads.stored import StoredFile
from tests.core.uploads.samples import CSV, NDJSON, PARQUET, ROWS, parquet

Check = Callable[..., StoredFile]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    def check(data: bytes, media_type: str = CSV, schema: str | None = None) -> StoredFile:
        path, stored = tmp_path / "file", tmp_path / "stored"
        path.write_bytes(data)
        contents = parse(media_type, path, parse_schema(schema), tmp_path, stored)
        assert contents.num_bytes == stored.stat().st_size
        opened = StoredFile.open(stored)
        # The file's own header is written before its rows are looked at.
        columns = tuple(
            replace(each, counts=None, largest=None, largest_row=None, times=None)
            for each in contents.columns
        )
        assert opened.contents == replace(contents, columns=columns)
        return opened

    return check


def shown(stored: StoredFile) -> dict[str, tuple[str, int]]:
    return {c.name: (c.dtype, c.num_missing) for c in stored.contents.columns}


@pytest.mark.parametrize(
    ("cells", "dtype", "num_missing", "values"),
    [
        (["1", "2"], "integer", 0, [1, 2]),
        (["1", "", "3"], "integer", 1, [1, None, 3]),
        (["+1", "", "-3", "+0", "4"], "integer", 1, [1, None, -3, 0, 4]),
        (["+1", "+0.5"], "number", 0, [1, 0.5]),
        (["+007", "+1"], "category", 0, ["+007", "+1"]),
        (["+a", "+b"], "category", 0, ["+a", "+b"]),
        (["1", "2.5", "-1e3", "+4", ".5", "5."], "number", 0, [1, 2.5, -1000, 4, 0.5, 5]),
        (["1.5", "NA", "nan", "null", "N/A", "#N/A"], "number", 5, [1.5] + [None] * 5),
        (["true", "False", "", "TRUE"], "bool", 1, [True, False, None, True]),
        (["a", "b", "", "a"], "category", 1, ["a", "b", None, "a"]),
        (["yes", "no"], "category", 0, ["yes", "no"]),
        (["00123", "00124", "7"], "category", 0, ["00123", "00124", "7"]),
        (["-007", "1"], "category", 0, ["-007", "1"]),
        (["0x10", "0x11"], "category", 0, ["0x10", "0x11"]),
        (["0", "-0", "10"], "integer", 0, [0, 0, 10]),
        (["0.5", "00.5"], "number", 0, [0.5, 0.5]),
        (["9223372036854775807", "-9223372036854775807"], "integer", 0, [2**63 - 1, 1 - 2**63]),
        (["9223372036854775808", "1"], "category", 0, ["9223372036854775808", "1"]),
        (["9223372036854775808", "1.5"], "number", 0, [2.0**63, 1.5]),
        (["9007199254740993", ""], "category", 1, ["9007199254740993", None]),
        ([" 1", "2 ", " 3 "], "integer", 0, [1, 2, 3]),
        ([" a", "a "], "category", 0, ["a", "a"]),
        (["1,5", "2,5", "x"], "category", 0, ["1,5", "2,5", "x"]),
        (["1,5,5", "2,5"], "category", 0, ["1,5,5", "2,5"]),
        (["1,5", "2024-01-01"], "category", 0, ["1,5", "2024-01-01"]),
        (
            ["2024-02-29", "", "1969-12-31"],
            "date",
            1,
            ["2024-02-29T00:00:00Z", None, "1969-12-31T00:00:00Z"],
        ),
        (["2024-01-01T12:00:00Z", "2024-01-01T12:00:00+02:00"], "date", 0, None),
        (["2024-01-01 12:30", "2024-01-01"], "date", 0, None),
        (["2024-01-01T00:00:00Z", "2024-01-01", "2024-01-01T01:00:00+0100"], "date", 0, None),
        (["01/02/2024", "03/02/2024"], "category", 0, None),
        (["NA", "", "null"], "number", 3, [None, None, None]),
        (["1", "a", "b", "c"], "category", 0, ["1", "a", "b", "c"]),
        (["5+", "A/5 2", "113", "17"], "category", 0, None),
        (["True", "x", "false"], "category", 0, ["True", "x", "false"]),
        (["ä", "日本", '"', "a\nb"], "category", 0, ["ä", "日本", '"', "a\nb"]),
    ],
)
def test_the_kind_of_a_column(
    check: Check, cells: list[str], dtype: str, num_missing: int, values: list[Any] | None
) -> None:
    file = io.StringIO()
    rows = [[cell, "x"] for cell in cells]
    csv.writer(file, lineterminator="\n").writerows([["c", "other"], *rows])
    stored = check(file.getvalue().encode())
    assert shown(stored)["c"] == (dtype, num_missing)
    found = [row["c"] for row in stored.preview(100)]
    if values is not None:
        assert found == values
    assert [row["other"] for row in stored.preview(100)] == ["x"] * len(cells)


@pytest.mark.parametrize(
    ("last", "dtype"),
    [("1.5", "number"), ("", "integer"), ("007", "category"), ("99999999999999999999", "text")],
)
def test_a_cell_in_the_last_row_counts(check: Check, last: str, dtype: str) -> None:
    cells = [*(str(i % 500 if dtype == "category" else i) for i in range(300_000)), last]
    stored = check("\n".join(["a,b", *(f"{cell},1" for cell in cells)]).encode() + b"\n")
    assert shown(stored)["a"] == (dtype, int(last == ""))
    found = stored.column("a")
    assert len(found) == 300_001
    if dtype in {"number", "integer"}:
        assert np.array_equal(found[:-1], np.arange(300_000))
        assert str(found[-1]) == ("nan" if last == "" else last)
    elif dtype == "text":
        assert found.tolist() == cells
    else:
        categories = stored.contents.columns[0].categories
        assert categories is not None
        assert [categories[code] for code in found.tolist()] == cells


def test_a_column_that_is_empty_in_its_first_rows_is_inferred_from_the_others(check: Check) -> None:
    stored = check(b"a,b\n" + b",1\n" * 200_000 + b"2.5,1\n")
    assert shown(stored)["a"] == ("number", 200_000)
    assert stored.column("a")[-1] == 2.5
    stored = check(b"a,b\n" + b",1\n" * 200_000 + b"x,1\n")
    assert shown(stored)["a"] == ("category", 200_000)
    assert stored.column("a")[[0, -1]].tolist() == [-1, 0]


def test_more_than_a_thousand_values_are_text_and_keep_the_earlier_ones(check: Check) -> None:
    cells = [f"v{i % 1000}" for i in range(5000)]
    stored = check("\n".join(["a", *cells]).encode())
    assert shown(stored)["a"] == ("category", 0)
    cells.append("w")
    cells.append("v0")
    stored = check("\n".join(["a", *cells]).encode())
    assert shown(stored)["a"] == ("text", 0)
    assert stored.column("a").tolist() == cells
    assert stored.column("a", 4999, 5001).tolist() == cells[4999:5001]
    assert stored.column("a", 3, 3).tolist() == []


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.floats(allow_infinity=False, width=64) | st.none(),
            st.integers(-(2**53), 2**53) | st.none(),
            st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), max_size=5),
        ),
        min_size=3,
        max_size=30,
    )
)
def test_values_are_those_of_another_reader(tmp_path: Path, rows: list[tuple[Any, ...]]) -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["f", "i", "t", "end"])
    for number, whole, text in rows:
        writer.writerow([number, whole, f"t{text}", 1])
    path = tmp_path / "file"
    path.write_text(file.getvalue(), encoding="utf-8")
    parse(CSV, path, Schema(dtypes={"f": "number", "t": "text"}), tmp_path, tmp_path / "stored")
    stored = StoredFile.open(tmp_path / "stored")
    read = list(csv.DictReader(io.StringIO(file.getvalue())))
    numbers = [float(row["f"]) if row["f"] not in {"", "nan"} else math.nan for row in read]
    assert np.array_equal(stored.column("f"), numbers, equal_nan=True)
    whole = [float(row["i"]) if row["i"] else math.nan for row in read]
    assert np.array_equal(stored.column("i").astype(float), whole, equal_nan=True)
    assert stored.column("t").tolist() == [row["t"] for row in read]


@pytest.mark.parametrize(
    ("data", "schema", "expected"),
    [
        (b"\xef\xbb\xbfa,b\r\n1,2\r\n", None, {"a": ("integer", 0), "b": ("integer", 0)}),
        (b"a,b\r1,2\r3,4\r", None, {"a": ("integer", 0), "b": ("integer", 0)}),
        (b"\n\na,b\n\n1,2\n\n", None, {"a": ("integer", 0), "b": ("integer", 0)}),
        (b'"a","b"\n"1","2"\n', None, {"a": ("integer", 0), "b": ("integer", 0)}),
        (b"a;b\n1;2.5\n", '{"delimiter": ";"}', {"a": ("integer", 0), "b": ("number", 0)}),
        (
            b"a;b\n1;2,5\n",
            '{"delimiter": ";", "columns": {"b": "category"}}',
            {"a": ("integer", 0), "b": ("category", 0)},
        ),
        (
            b"a;b;c\n1;2,5;v1,5\n2;,5;v2\n;3;v3\n",
            '{"delimiter": ";", "decimal": ","}',
            {"a": ("integer", 1), "b": ("number", 0), "c": ("category", 0)},
        ),
        (
            b"a;b\n1,5;3,0\n2;4\n",
            '{"delimiter": ";", "decimal": ",", "columns": {"a": "category", "b": "integer"}}',
            {"a": ("category", 0), "b": ("integer", 0)},
        ),
        (
            b"1,2\n3,4\n",
            '{"header": false}',
            {"column_1": ("integer", 0), "column_2": ("integer", 0)},
        ),
        (b"1.5,2\n3,4\n", '{"header": true}', {"1.5": ("integer", 0), "2": ("integer", 0)}),
        (b"0,1\n3,4\n", None, {"0": ("integer", 0), "1": ("integer", 0)}),
        (
            b",0,1\n3,4,5\n",
            None,
            {"column_1": ("integer", 0), "0": ("integer", 0), "1": ("integer", 0)},
        ),
        (
            b"land,1990,1991\nx,3,4\n",
            None,
            {"land": ("category", 0), "1990": ("integer", 0), "1991": ("integer", 0)},
        ),
        (b"a\n1\n?\n3\n", '{"missing": ["?"]}', {"a": ("integer", 1)}),
        (b"a\nNA\nDE\nFR\n", '{"missing": []}', {"a": ("category", 0)}),
        (b"a\n1\n2\n", '{"a": "category"}', {"a": ("category", 0)}),
        (b"a\n1\n2\n", '[{"name": "a", "dtype": "text", "num_missing": 0}]', {"a": ("text", 0)}),
        (b"a\n1\n2.0\n", '{"columns": {"a": "integer"}}', {"a": ("integer", 0)}),
        (b"a\n1\nno\nTRUE\n", '{"a": "bool"}', {"a": ("bool", 0)}),
        (b"a\nx\n1\n2\n3\n4\n", '{"a": "category"}', {"a": ("category", 0)}),
        (b"a\n\n1\n", '{"a": "date"}', None),
        (b"a,b\n,1\n,2\n", '{"a": "date"}', {"a": ("date", 2), "b": ("integer", 0)}),
        (b"a,b\n,1\n,2\n", '{"a": "bool"}', {"a": ("bool", 2), "b": ("integer", 0)}),
        (b"a,b\n,1\n,2\n", '{"a": "text"}', {"a": ("text", 2), "b": ("integer", 0)}),
    ],
)
def test_forms_of_csv_and_schemas(
    check: Check, data: bytes, schema: str | None, expected: dict[str, tuple[str, int]] | None
) -> None:
    if expected is None:
        with pytest.raises(RefusedFile):
            check(data, schema=schema)
    else:
        assert shown(check(data, schema=schema)) == expected


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), min_size=1))
def test_numbers_with_commas_are_those_with_points(tmp_path: Path, numbers: list[float]) -> None:
    lines = "".join(f"{number!r};1,5\n".replace(".", ",") for number in [0.5, *numbers])
    (tmp_path / "file").write_text(f"f;t\n{lines}x;x\n")
    schema = Schema({"t": "text"}, ";", missing=("x",), decimal=",")
    parse(CSV, tmp_path / "file", schema, tmp_path, tmp_path / "stored")
    stored = StoredFile.open(tmp_path / "stored")
    assert stored.column("f").tolist()[:-1] == [0.5, *numbers]
    assert set(stored.column("t").tolist()[:-1]) == {"1,5"}


def test_ndjson_says_its_kinds_itself(check: Check) -> None:
    lines = [{"i": 1, "s": "5", "d": "2024-01-01", "b": True}] * 5000
    last = {"i": 2.5, "s": "6", "d": "2024-01-02", "late": 7}
    data = "\n".join(json.dumps(line) for line in [*lines, last]).encode()
    stored = check(data, NDJSON)
    assert shown(stored) == {
        "i": ("number", 0),
        "s": ("category", 0),
        "d": ("date", 0),
        "b": ("bool", 1),
        "late": ("integer", 5000),
    }
    assert stored.column("late")[-1] == 7
    assert stored.column("i")[-1] == 2.5
    assert shown(check(b'{"a":1}\n{"a":"x"}\n{"a":null}\n', NDJSON, '{"a": "text"}')) == {
        "a": ("text", 1)
    }
    assert shown(check(b'{"a":"1,5"}\n{"a":"2,5"}\n', NDJSON)) == {"a": ("category", 0)}
    assert shown(check(b'{"a":"2024-01-01"}\n{"a":"x"}\n', NDJSON)) == {"a": ("category", 0)}
    assert shown(check(b'{"a":9007199254740993}\n{"a":null}\n', NDJSON)) == {"a": ("category", 1)}


def test_parquet_says_its_types_itself(check: Check) -> None:
    table = {
        "i": [1, None, 3],
        "f": [1.5, float("nan"), None],
        "s": ["x", None, "00"],
        "b": [True, None, False],
        "d": pa.array([0, 1, None], pa.date32()),
        "t": pa.array([0, 1500, None], pa.timestamp("ms", "UTC")),
        "c": pa.array(["a", "b", "a"]).dictionary_encode(),
        "e": pa.array([1, 2, 3]).cast(pa.decimal128(22, 2)),
        "n": pa.nulls(3),
        "h": pa.array(np.array([1, 2, 3], np.float16)),
        "large": [2**60, None, 1],
    }
    stored = check(parquet(table), PARQUET)
    assert shown(stored) == {
        "i": ("integer", 1),
        "f": ("number", 2),
        "s": ("category", 1),
        "b": ("bool", 1),
        "d": ("date", 1),
        "t": ("date", 1),
        "c": ("category", 0),
        "e": ("number", 0),
        "n": ("number", 3),
        "h": ("number", 0),
        "large": ("category", 1),
    }
    assert stored.column("t")[:2].tolist() == [0, 1.5]
    assert stored.column("d")[:2].tolist() == [0, 86_400]
    assert stored.preview(1)[0]["large"] == str(2**60)
    assert shown(check(parquet({"s": ["1", "2"]}), PARQUET, '{"s": "number"}')) == {
        "s": ("number", 0)
    }
    assert shown(check(parquet({"x": [1.0, np.inf]}), PARQUET, '{"missing": ["inf"]}')) == {
        "x": ("number", 1)
    }


def test_parquet_of_many_row_groups_is_whole(check: Check) -> None:
    values = np.random.default_rng(0).standard_normal((3, 200_000))
    table = {f"x{i}": column for i, column in enumerate(values)}
    stored = check(parquet(table, row_group_size=50_000), PARQUET)
    assert np.array_equal(stored.matrix(list(table), np.float64), values.T)


def test_a_table_of_many_columns(check: Check) -> None:
    values = np.arange(9_000).reshape(3, 3_000)
    lines = [",".join(f"x{i}" for i in range(3_000))]
    lines += [",".join(map(str, row)) for row in values.tolist()]
    stored = check("\n".join(lines).encode())
    names = [column.name for column in stored.contents.columns]
    assert np.array_equal(stored.matrix(names, np.int64), values)


def test_distinct_whole_numbers_are_known_while_they_are_few(check: Check) -> None:
    stored = check(b"few,many\n" + b"".join(b"%d,%d\n" % (i % 3 - 1, i) for i in range(2000)))
    few, many = stored.contents.columns
    assert few.values == (-1, 0, 1)
    assert many.values is None
    assert stored.column("few").dtype == np.int8
    assert stored.column("many").dtype == np.int16


def test_blocks_are_many(check: Check) -> None:
    stored = check(b"a,b\n" + ROWS * 5)
    assert stored.contents.num_rows == 250_000
    assert np.array_equal(stored.column("b"), np.tile(np.arange(50_000) + 0.5, 5))


def test_contents_stay_themselves_as_json() -> None:
    columns = (
        Column("a", "category", (), 1, ("x", "y")),
        Column("b", "integer", (1, 8, 8), values=(1, 2)),
        Column("c", "date", times=Times(9, 60.0, 1, 2, 0, None, 3, 4, 5.0)),
        Column("d", "text", sample=("$1", "$2")),
    )
    contents = Contents("table", 3, columns, 99, 5, 6)
    assert Contents.from_json(json.loads(json.dumps(contents.to_json()))) == contents
    assert contents.column("b") == columns[1]
    assert contents.column("e") is None


@pytest.mark.parametrize("block", [1, 7, 64, 2**20])
def test_quotes_of_every_kind_are_read_as_another_reader_does(block: int) -> None:
    """In pieces of any size: quotes at a piece's end or beginning too."""
    cells = ['"', '""', 'a"b', "a,b", "a\nb", "", ",", '",', ',"', 'x"', '"x', "\n", "plain"]
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([[a, b] for a in cells for b in cells])
    data = file.getvalue().encode()
    text = CsvText(io.BytesIO(data), ",")
    assert b"".join(iter(lambda: text.read(block), b"")) == data
    broken = data.replace(b"plain,", b'"plain"s,', 1)
    text = CsvText(io.BytesIO(broken), ",")
    with pytest.raises(RefusedFile) as caught:
        list(iter(lambda: text.read(block), b""))
    assert caught.value.row == broken[: broken.index(b'plain"s')].count(b"\n") + 1


def test_quotes_within_cells_that_are_not_quoted_are_part_of_them(check: Check) -> None:
    stored = check(b'a,b\n5" pipe,"x"\n6" pipe,"y, z"\n')
    assert [row["a"] for row in stored.preview(2)] == ['5" pipe', '6" pipe']
    assert [row["b"] for row in stored.preview(2)] == ["x", "y, z"]
