"""Files that are refused, of every kind, and where their mistake stands."""

import io
import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from safetensors.numpy import save

CSV = "text/csv"
NDJSON = "application/x-ndjson"
PARQUET = "application/vnd.apache.parquet"
NPZ = "application/x-npz"
TEXT = "text/plain"
ZIP = "application/zip"
WEIGHTS = "application/x-safetensors"


class Refused(NamedTuple):
    """A file, and what its refusal says."""

    media_type: str
    data: bytes
    code: str
    row: int | None = None
    column: str | None = None
    entry: str | None = None
    schema: str | None = None


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, **options)
    return file.getvalue()


def npz(compressed: bool = False, **arrays: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def zipped(
    entries: Iterable[tuple[str | zipfile.ZipInfo, bytes]], compression: int = zipfile.ZIP_STORED
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are doubled
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def image(
    size: tuple[int, int] = (4, 3),
    mode: str = "RGB",
    kind: str = "PNG",
    color: Any = 0,
    **options: Any,
) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, kind, **options)
    return file.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


def encrypted(data: bytes) -> bytes:
    """Set the flag of encryption in the zip's only entry."""
    at = data.index(b"PK\x01\x02") + 8
    return data[:at] + bytes([data[at] | 1]) + data[at + 1 :]


def tensors(header: dict[str, Any] | bytes, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def npy(header: str, version: int = 1, length: int | None = None) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    size = len(text) if length is None else length
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + struct.pack("<H" if version == 1 else "<I", size)
        + text
    )


OK = image()
# Of a PNG's header the size, and the checksum of the chunk that it stands in.
_HEADER = b"IHDR" + struct.pack(">II", 20_000, 10_000) + OK[24:29]
HUGE = OK[:12] + _HEADER + struct.pack(">I", zlib.crc32(_HEADER)) + OK[33:]
BLANK = image((4000, 4000), "L")
JPEG = image((64, 64), kind="JPEG")
ROWS = b"".join(b"%d,%d.5\n" % (i, i) for i in range(50_000))
"""Rows of more than one block."""

GOOD: Final[dict[str, bytes]] = {
    CSV: b'a,b,c,d\n1,x,2024-01-01,"q ""z"""\n2.5,y,2024-01-02,"a\nb"\n,z,,\n',
    NDJSON: b'{"a":1,"b":"x"}\n{"a":2.5,"c":true}\n',
    PARQUET: parquet({"a": [1, 2, None], "b": ["x", "y", None], "c": [1.5, 2.5, np.nan]}),
    NPZ: npz(x=np.zeros((5, 3)), y=np.arange(5)),
    ZIP: zipped([("a/1.png", OK), ("b/1.jpg", image(kind="JPEG"))]),
    WEIGHTS: save({"a": np.ones((2, 3)), "b": np.zeros(3)}),
    TEXT: "héllo\nworld\n".encode(),
}
"""A file of each media type that is fine."""

REFUSED: Final[dict[str, Refused]] = {
    # --- CSV
    "empty": Refused(CSV, b"", "empty_file"),
    "blank lines only": Refused(CSV, b"\n\n", "empty_file"),
    "header only": Refused(CSV, b"a,b\n", "no_rows"),
    "header without line end": Refused(CSV, b"a,b", "no_rows"),
    "text late in a column of numbers": Refused(
        CSV, b"a,b\n" + ROWS + b"x,1\n", "mixed_column", 50_002, "a"
    ),
    "text among numbers": Refused(CSV, b"a,b\n1,2\nx,3\n4,5\n", "mixed_column", 3, "a"),
    "text among dates": Refused(CSV, b"d\n2024-01-01\nsoon\n2024-01-03\n", "mixed_column", 3, "d"),
    "decimal commas": Refused(CSV, b'a,b\n1,"1,5"\n2,"2,25"\n', "decimal_comma", 2, "b"),
    "decimal commas late": Refused(
        CSV, b"a,b\n" + ROWS + b'1,"1,5"\n', "decimal_comma", 50_002, "b"
    ),
    "commas between thousands": Refused(
        CSV, b'a\n999\n"1,234"\n"1,234.5"\n', "decimal_comma", 3, "a"
    ),
    "points between thousands": Refused(CSV, b'a\n"1.234,5"\n"-7,5"\n', "decimal_comma", 2, "a"),
    "a point where the schema says commas": Refused(
        CSV,
        b"a;b\n1;1,5\n2;2.25\n",
        "decimal_comma",
        3,
        "b",
        schema='{"delimiter": ";", "decimal": ","}',
    ),
    "points where the schema says commas": Refused(
        CSV,
        b"a;b\n1;1.5\n2;2.25\n",
        "decimal_comma",
        2,
        "b",
        schema='{"delimiter": ";", "decimal": ","}',
    ),
    "points between thousands where the schema says commas": Refused(
        CSV,
        b"a;b\n1;1.234,5\n2;2.250,5\n",
        "decimal_comma",
        2,
        "b",
        schema='{"delimiter": ";", "decimal": ","}',
    ),
    "a point in a column of numbers where the schema says commas": Refused(
        CSV,
        b'a\n"1,5"\n2.5\n',
        "wrong_value",
        3,
        "a",
        schema='{"decimal": ",", "columns": {"a": "number"}}',
    ),
    "numbers with commas as names": Refused(
        CSV, b"1,5;2\n3;4\n", "no_header", 1, schema='{"delimiter": ";", "decimal": ","}'
    ),
    "decimal commas between semicolons": Refused(CSV, b"a;b\n1,5;2\n", "wrong_delimiter", 1),
    "a decimal sign of Parquet": Refused(
        PARQUET, parquet({"a": [1]}), "wrong_schema", schema='{"decimal": ","}'
    ),
    "NDJSON as CSV": Refused(CSV, b'{"a":1,"b":2}\n{"a":2,"b":3}\n', "no_header", 1),
    "a list of JSON as CSV": Refused(CSV, b'[{"a":1},{"a":2}]', "no_header", 1),
    "Excel's delimiter": Refused(CSV, b"\xef\xbb\xbfsep=;\r\na;b\r\n1;2\r\n", "no_header", 1),
    "Excel's delimiter, a tab": Refused(CSV, b"sep=\t\r\na\tb\r\n1\t2\r\n", "no_header", 1),
    "Excel's delimiter, which the schema has": Refused(
        CSV, b"sep=;\na;b\n1;2\n", "no_header", 1, schema='{"delimiter": ";"}'
    ),
    "short row": Refused(CSV, b"a,b\n1,2\n3\n", "unequal_rows", 3),
    "long row": Refused(CSV, b"a,b\n1,2\n3,4,5\n", "unequal_rows", 3),
    "short row late": Refused(CSV, b"a,b\n" + ROWS + b"7\n", "unequal_rows", 50_002),
    "short row after blank lines": Refused(CSV, b"\na,b\n1,2\n\n\n3\n", "unequal_rows", 6),
    "cut row": Refused(CSV, b"a,b\n1,2\n3,", "cut_file", 3, "b"),
    "unclosed quote at the end": Refused(CSV, b'a,b\n1,2\n3,"x,4\n5,6\n', "unclosed_quote", 3),
    "unclosed quote": Refused(CSV, b'a,b\n1,2\n"3,x,4\n5,6\n', "unclosed_quote", 3),
    "unclosed quote before many rows": Refused(CSV, b'a,b\n1,"2\n' + ROWS * 4, "unclosed_quote", 2),
    "quote before more of a cell": Refused(CSV, b'a,b\n"x"y,2\n', "unclosed_quote", 2),
    "two unclosed quotes": Refused(CSV, b'a,b\n1,1\n"2,1\n"3,2\n', "unclosed_quote", 4),
    "two unclosed quotes far apart": Refused(
        CSV, b'a,b\n1,"2\n' + ROWS + b'x,"2\n', "unclosed_quote", 50_003
    ),
    "gzip": Refused(CSV, b"\x1f\x8b\x08\0" + bytes(20), "cannot_be_read"),
    "a zip as NDJSON": Refused(NDJSON, zipped([("a", b"x")]), "cannot_be_read"),
    "latin-1": Refused(CSV, "a,b\n1,café\n".encode("latin-1"), "wrong_encoding", 2),
    "latin-1 late": Refused(CSV, b"a,b\n" + ROWS * 3 + b"\xe9,1\n", "wrong_encoding", 150_002),
    "UTF-16": Refused(CSV, "a,b\n1,2\n".encode("utf-16"), "wrong_encoding", 1),
    "UTF-16 without mark": Refused(CSV, "a,b\n1,2\n".encode("utf-16-le"), "wrong_encoding", 1),
    "NUL byte": Refused(CSV, b"a,b\n1,\x002\n", "wrong_encoding", 2),
    "cut character": Refused(CSV, "a,b\n1,é".encode()[:-1], "cut_file", 2),
    "no header": Refused(CSV, b"5.1,3.5,setosa\n4.9,3.0,setosa\n", "no_header", 1),
    "no header, whole numbers": Refused(CSV, b"7,3\n5,6\n", "no_header", 1),
    "header twice": Refused(CSV, b"a,b\na,b\n1,2\n", "two_headers", 2, "a"),
    "units": Refused(CSV, b"n,a,b\nname,m,kg\nx,1,2\ny,3,4\n", "two_headers", 2, "a"),
    "two names": Refused(CSV, b"a,b,a\n1,2,3\n", "duplicate_column", 1, "a"),
    "semicolons": Refused(CSV, b"a;b\n1;2\n", "wrong_delimiter", 1),
    "tabs": Refused(CSV, b"a\tb\n1\t2\n", "wrong_delimiter", 1),
    "commas for semicolons": Refused(
        CSV, b"a,b\n1,2\n", "wrong_delimiter", 1, schema='{"delimiter": ";"}'
    ),
    "a million columns": Refused(
        CSV, b",".join(b"%d" % i for i in range(1_000_000)) + b"\n", "too_many_columns", 1
    ),
    "30,000 columns": Refused(
        CSV, b",".join(b"x%d" % i for i in range(30_000)) + b"\n", "too_many_columns", 1
    ),
    "long name": Refused(CSV, b"x" * 300 + b"\n1\n", "too_long", 1, "x" * 200),
    "long cell": Refused(CSV, b"a,b\n1,2\n3," + b"x" * 3_000_000 + b"\n", "too_long", 3),
    "infinity": Refused(CSV, b"a\n1.5\ninf\n", "not_finite", 3, "a"),
    "beyond float64": Refused(CSV, b"a\n1.5\n1e999\n", "not_finite", 3, "a"),
    "unknown column": Refused(
        CSV, b"a\n1\n", "unknown_column", None, "b", schema='{"b": "number"}'
    ),
    "no number": Refused(CSV, b"a\n1\nx\n", "wrong_value", 3, "a", schema='{"a": "number"}'),
    "no whole number": Refused(
        CSV, b"a\n1\n1.5\n", "wrong_value", 3, "a", schema='{"a": "integer"}'
    ),
    "no bool": Refused(CSV, b"a\ntrue\n2\n", "wrong_value", 3, "a", schema='{"a": "bool"}'),
    "no date": Refused(CSV, b"a\n2024-02-30\n", "wrong_value", 2, "a", schema='{"a": "date"}'),
    "too many categories": Refused(
        CSV, b"a,b\n" + ROWS, "too_many_categories", None, "a", schema='{"a": "category"}'
    ),
    "long category": Refused(
        CSV, b"a\nx\n" + b"y" * 201, "too_many_categories", 3, "a", schema='{"a": "category"}'
    ),
    # --- NDJSON
    "NDJSON: text after numbers": Refused(NDJSON, b'{"a":1}\n{"a":"x"}\n', "mixed_column", 2, "a"),
    "NDJSON: number after texts": Refused(NDJSON, b'{"a":"x"}\n{"a":1}\n', "mixed_column", 2, "a"),
    "NDJSON: bool and number": Refused(NDJSON, b'{"a":true}\n{"a":1}\n', "mixed_column", 2, "a"),
    "NDJSON: text late": Refused(
        NDJSON, b'{"a":1}\n' * 9_000 + b'{"a":"x"}\n', "mixed_column", 9_001, "a"
    ),
    "NDJSON: list": Refused(NDJSON, b'{"a":1}\n{"a":[1]}\n', "nested_column", 2, "a"),
    "NDJSON: object": Refused(NDJSON, b'{"a":{"b":1}}\n', "nested_column", 1, "a"),
    "NDJSON: cut": Refused(NDJSON, b'{"a":1}\n\n{"a":2', "cannot_be_read", 3),
    "NDJSON: no object": Refused(NDJSON, b"[1]\n", "cannot_be_read", 1),
    "NDJSON: NaN": Refused(NDJSON, b'{"a":1,"b":2}\n{"a":1,"b":NaN}\n', "not_finite", 2, "b"),
    "NDJSON: NaN in a list": Refused(NDJSON, b'{"a":[NaN]}\n', "not_finite", 1),
    "NDJSON: beyond float64": Refused(NDJSON, b'{"a":1e400}\n', "not_finite", 1, "a"),
    "NDJSON: beyond 64 bits": Refused(NDJSON, b'{"a":9223372036854775808}\n', "not_finite", 1, "a"),
    "NDJSON: key twice": Refused(NDJSON, b'{"a":1,"a":2}\n', "duplicate_column", 1, "a"),
    "NDJSON: empty key": Refused(NDJSON, b'{"":1}\n', "no_header", 1),
    "NDJSON: no keys": Refused(NDJSON, b"{}\n{}\n", "no_rows"),
    "NDJSON: latin-1": Refused(NDJSON, b'{"a":"\xe9"}\n', "wrong_encoding", 1),
    "NDJSON: long line": Refused(
        NDJSON, b'{"a":1}\n{"a":"' + b"x" * 3_000_000 + b'"}\n', "too_long", 2
    ),
    "NDJSON: header in the schema": Refused(
        NDJSON, b'{"a":1}\n', "wrong_schema", schema='{"header": true}'
    ),
    # --- Parquet
    "Parquet: cut": Refused(PARQUET, parquet({"a": [1]})[:-20], "cut_file"),
    "Parquet: none": Refused(PARQUET, b"a,b\n1,2\n3,4\n", "cannot_be_read"),
    "Parquet: lists": Refused(PARQUET, parquet({"a": [[1]]}), "nested_column", None, "a"),
    "Parquet: objects": Refused(PARQUET, parquet({"a": [{"b": 1}]}), "nested_column", None, "a"),
    "Parquet: bytes": Refused(PARQUET, parquet({"a": [b"x"]}), "unsupported_type", None, "a"),
    "Parquet: infinity": Refused(PARQUET, parquet({"a": [1.0, np.inf]}), "not_finite", 2, "a"),
    "Parquet: beyond int64": Refused(
        PARQUET, parquet({"a": pa.array([1, 2**63], pa.uint64())}), "unsupported_type", 2, "a"
    ),
    "Parquet: bomb": Refused(
        PARQUET, parquet({f"x{i}": pa.nulls(1_500_000) for i in range(90)}), "zip_bomb"
    ),
    "Parquet: no rows": Refused(PARQUET, parquet({"a": pa.array([], pa.int64())}), "no_rows"),
    # --- NPZ
    "NPZ: objects": Refused(NPZ, npz(x=np.array([1, None], object)), "objects_in_file", None, "x"),
    "NPZ: unequal": Refused(NPZ, npz(x=np.zeros(3), y=np.zeros(4)), "unequal_lengths", None, "y"),
    "NPZ: a number": Refused(NPZ, npz(x=np.float64(1)), "unequal_lengths", None, "x"),
    "NPZ: complex": Refused(NPZ, npz(x=np.array([1j])), "unsupported_type", None, "x"),
    "NPZ: records": Refused(NPZ, npz(x=np.zeros(2, [("a", "i4")])), "unsupported_type", None, "x"),
    "NPZ: infinity": Refused(NPZ, npz(x=np.array([[1, 2], [np.inf, 3]])), "not_finite", 2, "x"),
    "NPZ: no numbers": Refused(NPZ, npz(x=np.zeros((2, 0))), "no_rows", None, "x"),
    "NPZ: no rows": Refused(NPZ, npz(x=np.zeros((0, 2))), "no_rows"),
    "NPZ: cut": Refused(NPZ, npz(x=np.zeros(9))[:-10], "cut_file"),
    "NPZ: none": Refused(NPZ, b"a,b\n1,2\n", "cannot_be_read"),
    "NPZ: text within": Refused(
        NPZ, zipped([("x.npy", b"hello")]), "cannot_be_read", None, "x", "x.npy"
    ),
    "NPZ: header of 2 GiB": Refused(
        NPZ, zipped([("x.npy", npy("{", 2, 2**31))]), "cannot_be_read", None, "x", "x.npy"
    ),
    "NPZ: 8 TB promised": Refused(
        NPZ,
        zipped([("x.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10**12,), }"))]),
        "cannot_be_read",
        None,
        "x",
        "x.npy",
    ),
    "NPZ: array cut": Refused(
        NPZ,
        zipped([("x.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99,), }"))]),
        "cut_file",
        None,
        "x",
    ),
    "NPZ: long row": Refused(NPZ, npz(x=np.zeros((1, 9_000_000))), "too_long", None, "x"),
    "NPZ: bomb": Refused(NPZ, npz(True, x=np.zeros(13_500_000)), "zip_bomb"),
    # --- texts
    "text: latin-1": Refused(TEXT, b"one\ncaf\xe9 two\n", "wrong_encoding", 2),
    "text: NUL byte": Refused(TEXT, b"one\n\0", "wrong_encoding", 2),
    "text: UTF-16": Refused(TEXT, "one\n".encode("utf-16"), "wrong_encoding", 1),
    "text: schema": Refused(TEXT, b"one", "wrong_schema", schema='{"text": "text"}'),
    # --- zips of images
    "zip: no zip": Refused(ZIP, b"hello", "cannot_be_read"),
    "zip: cut": Refused(ZIP, zipped([("a/1.png", OK)])[:-30], "cut_file"),
    "zip: empty": Refused(ZIP, zipped([]), "no_rows"),
    "zip: no folder": Refused(ZIP, zipped([("1.png", OK)]), "no_classes", entry="1.png"),
    "zip: folders within": Refused(
        ZIP, zipped([("a/x/1.png", OK), ("b/1.png", OK)]), "no_classes", entry="a/x/1.png"
    ),
    "zip: up": Refused(ZIP, zipped([("../1.png", OK)]), "unsafe_name", entry="../1.png"),
    "zip: up within": Refused(ZIP, zipped([("a/../1.png", OK)]), "unsafe_name", entry="a/../1.png"),
    "zip: absolute": Refused(ZIP, zipped([("/a/1.png", OK)]), "unsafe_name", entry="/a/1.png"),
    "zip: drive": Refused(ZIP, zipped([("C:/1.png", OK)]), "unsafe_name", entry="C:/1.png"),
    "zip: link": Refused(ZIP, zipped([(link("a/l"), b"x")]), "unsafe_entry", entry="a/l"),
    "zip: encrypted": Refused(
        ZIP, encrypted(zipped([("a/1.png", OK)])), "unsafe_entry", entry="a/1.png"
    ),
    "zip: twice": Refused(
        ZIP, zipped([("a/1.png", OK), ("a/1.png", OK)]), "duplicate_entry", entry="a/1.png"
    ),
    "zip: bomb": Refused(
        ZIP, zipped([("a/1.png", b"\0" * 106_000_000)], zipfile.ZIP_DEFLATED), "zip_bomb"
    ),
    "zip: stray text around": Refused(
        ZIP,
        zipped([("set/a/1.png", OK), ("set/b/2.png", OK), ("set/readme.txt", b"hi")]),
        "not_an_image",
        entry="set/readme.txt",
    ),
    "zip: list of labels": Refused(
        ZIP,
        zipped([("img/1.png", OK), ("img/2.JPG", OK), ("labels.csv", b"1.png,a")]),
        "not_an_image",
        entry="labels.csv",
    ),
    "zip: train and test": Refused(
        ZIP,
        zipped([("test/a/1.png", OK), ("train/a/2.png", OK)]),
        "no_classes",
        entry="test/a/1.png",
    ),
    "zip: text": Refused(ZIP, zipped([("a/x.txt", b"hi")]), "not_an_image", entry="a/x.txt"),
    "zip: GIF": Refused(
        ZIP, zipped([("a/1.gif", image(kind="GIF"))]), "not_an_image", entry="a/1.gif"
    ),
    "zip: size": Refused(
        ZIP, zipped([("a/1.png", OK), ("b/1.png", image((5, 3)))]), "unlike_images", entry="b/1.png"
    ),
    "zip: mode": Refused(
        ZIP,
        zipped([("a/1.png", OK), ("b/1.png", image(mode="L"))]),
        "unlike_images",
        entry="b/1.png",
    ),
    "zip: 16 bits": Refused(
        ZIP, zipped([("a/1.png", image(mode="I;16"))]), "unsupported_mode", entry="a/1.png"
    ),
    "zip: CMYK": Refused(
        ZIP,
        zipped([("a/1.jpg", image(mode="CMYK", kind="JPEG"))]),
        "unsupported_mode",
        entry="a/1.jpg",
    ),
    "zip: many pixels": Refused(
        ZIP, zipped([("a/1.png", image((5000, 5000), "1"))]), "image_too_large", entry="a/1.png"
    ),
    "zip: more pixels than the library reads": Refused(
        ZIP, zipped([("a/1.png", HUGE)]), "image_too_large", entry="a/1.png"
    ),
    "zip: images that expand": Refused(
        ZIP, zipped((f"a/{i}.png", BLANK) for i in range(70)), "zip_bomb"
    ),
    "zip: PNG cut": Refused(ZIP, zipped([("a/1.png", OK[:-6])]), "cannot_be_read", entry="a/1.png"),
    "zip: JPEG cut": Refused(
        ZIP, zipped([("a/1.jpg", JPEG[: len(JPEG) // 2])]), "cannot_be_read", entry="a/1.jpg"
    ),
    # --- weights
    "weights: cut": Refused(WEIGHTS, save({"a": np.ones(9)})[:-3], "cut_file", None, "a"),
    "weights: header cut": Refused(WEIGHTS, save({"a": np.ones(9)})[:20], "cut_file"),
    "weights: none": Refused(WEIGHTS, b"x" * 50, "cannot_be_read"),
    "weights: long header": Refused(WEIGHTS, struct.pack("<Q", 2**60) + b"{}", "cannot_be_read"),
    "weights: NaN": Refused(WEIGHTS, save({"a": np.array([1, np.nan])}), "not_finite", None, "a"),
    "weights: overlap": Refused(
        WEIGHTS,
        tensors({"a": tensor([2], 0, 8), "b": tensor([2], 4, 12)}, bytes(12)),
        "cannot_be_read",
        None,
        "b",
    ),
    "weights: wrong length": Refused(
        WEIGHTS, tensors({"a": tensor([3], 0, 8)}, bytes(8)), "cannot_be_read", None, "a"
    ),
    "weights: twice": Refused(
        WEIGHTS,
        tensors(
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
            b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
            bytes(4),
        ),
        "duplicate_column",
        None,
        "a",
    ),
    "weights: no tensors": Refused(WEIGHTS, tensors({}, b""), "no_rows"),
}
"""Files that are refused; the row is None where the whole file is meant."""
