"""The stored form of each kind of file: arrays, images, texts, weights; read in part and whole."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save

from core.uploads.contents import Contents
from core.uploads.parse.kinds import parse
from core.uploads.schema import parse_schema
from core.uploads.stored import StoredFile
from tests.core.uploads.samples import CSV, NPZ, TEXT, WEIGHTS, ZIP, image, npz, zipped

Store = Callable[..., tuple[Contents, Path]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    def store(data: bytes, media_type: str, schema: str | None = None) -> tuple[Contents, Path]:
        path, stored = tmp_path / "file", tmp_path / "stored"
        path.write_bytes(data)
        return parse(media_type, path, parse_schema(schema), tmp_path, stored), stored

    return store


def in_pieces(path: Path) -> StoredFile:
    """Open by ranges, of which only some bytes come at a time."""
    data = path.read_bytes()
    return StoredFile.from_ranges(lambda start, length: data[start : start + min(length, 1000)])


@pytest.mark.parametrize(
    ("numbers", "right"),
    [
        ([1.5, -5.0, 5.0, 2.0], (-5.0, 1)),
        ([1.5, 5.0, -5.0, 2.0], (5.0, 1)),
        ([np.nan, -0.5, np.nan, 0.5], (-0.5, 1)),
        ([np.nan, np.nan, 0.0, 0.0], (0.0, 2)),
        ([np.nan, np.nan], (None, None)),
        ([[1.0, 2.0], [7.0, -7.0], [-7.0, 7.0]], (7.0, 1)),
    ],
)
def test_the_largest_number_is_the_first_of_the_greatest_size(
    store: Store, numbers: list[Any], right: tuple[float | None, int | None]
) -> None:
    (column,) = store(npz(x=np.array(numbers)), NPZ)[0].columns
    assert (column.largest, column.largest_row) == right


def test_a_table_by_map_and_by_ranges(store: Store) -> None:
    data = b"n,i,c,b,d,t\n" + b"".join(
        b"%s,%d,%s,%s,2024-01-%02d,%s\n"
        % (
            b"" if i % 7 == 0 else b"%d.25" % i,
            i,
            b"xyz"[i % 3 :][:1],
            b"true",
            1 + i % 28,
            b"w%d" % i,
        )
        for i in range(3000)
    )
    contents, path = store(data, CSV)
    assert [c.dtype for c in contents.columns] == [
        *("number", "integer", "category", "bool", "date", "text")
    ]
    mapped, ranged = StoredFile.open(path), in_pieces(path)
    for column in contents.columns:
        whole = mapped.column(column.name)
        assert np.array_equal(whole, ranged.column(column.name), equal_nan=column.dtype == "number")
        part = ranged.column(column.name, 1000, 1004)
        assert repr(part.tolist()) == repr(whole[1000:1004].tolist())
    names = ["i", "n", "c", "b"]
    rows = np.array([2999, 0, 8])
    matrix = mapped.matrix(names, np.float64, rows)
    expected = np.array([[2999, 2999.25, 2, 1], [0, np.nan, 0, 1], [8, 8.25, 2, 1]])
    assert np.array_equal(matrix, expected, equal_nan=True)
    assert np.array_equal(ranged.matrix(names, np.float64)[rows], matrix, equal_nan=True)
    with pytest.raises(ValueError, match="text"):
        mapped.matrix(["t"])
    with pytest.raises(KeyError):
        mapped.column("nothing")
    assert mapped.preview(2)[1] == {
        "n": 1.25,
        "i": 1,
        "c": "y",
        "b": True,
        "d": "2024-01-02T00:00:00Z",
        "t": "w1",
    }


def test_codes_of_missing_cells_are_nan_in_a_matrix(store: Store) -> None:
    _, path = store(b"c,b,o\nx,true,1\n,,2\n", CSV)
    matrix = StoredFile.open(path).matrix(["c", "b", "o"])
    assert matrix.dtype == np.float32
    expected = np.array([[0, 1, 1], [np.nan, np.nan, 2]])
    assert np.array_equal(matrix, expected, equal_nan=True)


def test_it_is_a_safetensors_file(store: Store) -> None:
    _, path = store(b"a,b\n1,2.5\n300,x\n4,5\n5,x\n", CSV, '{"b": "text"}')
    found = load_file(path)
    assert found["0"].tolist() == [1, 300, 4, 5]
    assert found["0"].dtype == np.int16
    assert found["1"].tobytes() == b"2.5x5x"
    assert found["1.ends"].tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("array", "dtype", "kind"),
    [
        (np.arange(12, dtype=">f8").reshape(3, 2, 2), "number", np.float64),
        (np.arange(6, dtype=np.float32).reshape(3, 2), "number", np.float32),
        (np.array([1, np.nan, 3], np.float16), "number", np.float32),
        (np.arange(6, dtype=np.int64).reshape(3, 2) * 1000, "integer", np.int16),
        (np.array([0, 255, 3], np.uint8), "integer", np.uint8),
        (np.array([0, 2**40, 3], ">u8"), "integer", np.int64),
        (np.array([True, False, True]), "bool", np.int8),
        (np.asfortranarray(np.arange(12.0).reshape(3, 4)), "number", np.float64),
        (np.asfortranarray(np.arange(900_000.0).reshape(3, -1)), "number", np.float64),
    ],
)
def test_arrays(
    store: Store, compressed: bool, array: np.ndarray[Any, Any], dtype: str, kind: type
) -> None:
    contents, path = store(npz(compressed, x=array, y=np.arange(3)), NPZ)
    column = contents.columns[0]
    assert (contents.kind, contents.num_rows) == ("arrays", 3)
    assert (column.name, column.dtype, column.shape) == ("x", dtype, array.shape[1:])
    found = StoredFile.open(path).column("x")
    assert found.dtype == kind
    assert np.array_equal(found, array, equal_nan=dtype == "number")
    assert contents.columns[1].values == (0, 1, 2)


def test_large_arrays_come_in_pieces(store: Store) -> None:
    values = np.random.default_rng(0).standard_normal((40_000, 9)).astype(np.float32)
    _, path = store(npz(x=values), NPZ)
    assert np.array_equal(StoredFile.open(path).column("x", 30_000, 30_009), values[30_000:30_009])


def test_arrays_of_texts_and_kinds_by_the_schema(store: Store) -> None:
    contents, _ = store(
        npz(s=np.array(["b", "a", ""]), y=np.array([2, 0, 2])), NPZ, '{"y":"category"}'
    )
    assert [(c.dtype, c.num_missing, c.categories) for c in contents.columns] == [
        ("category", 1, ("a", "b")),
        ("category", 0, ("0", "2")),
    ]


@pytest.mark.parametrize(
    ("mode", "kind", "channels"),
    [
        ("L", "PNG", 1),
        ("LA", "PNG", 2),
        ("RGB", "PNG", 3),
        ("RGBA", "PNG", 4),
        ("L", "JPEG", 1),
        ("RGB", "JPEG", 3),
    ],
)
def test_images_are_their_decoded_pixels(store: Store, mode: str, kind: str, channels: int) -> None:
    rng = np.random.default_rng(0)
    files, expected = [], []
    for name in ("dogs/2", "cats/1", "dogs/1"):
        pixels = rng.integers(0, 256, (3, 5, channels), np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels.squeeze(2) if channels == 1 else pixels, mode).save(file, kind)
        files.append((f"set/{name}", file.getvalue()))
        expected.append(np.asarray(Image.open(file)).reshape(3, 5, channels).transpose(2, 0, 1))
    contents, path = store(zipped([*files, ("__MACOSX/x", b""), ("set/.DS_Store", b"")]), ZIP)
    picture, label = contents.columns
    assert (contents.kind, contents.num_rows) == ("images", 3)
    assert (picture.name, picture.dtype, picture.shape) == ("image", "integer", (channels, 3, 5))
    assert (label.name, label.categories) == ("class", ("cats", "dogs"))
    stored = StoredFile.open(path)
    assert np.array_equal(stored.column("image"), [expected[i] for i in (1, 2, 0)])
    assert stored.column("class").tolist() == [0, 1, 1]


def test_palettes_single_bits_and_turned_images_are_decoded(store: Store) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 8, 7, 1, 2, 3])
    palette.putpixel((1, 0), 1)
    file = io.BytesIO()
    palette.save(file, "PNG")
    _, path = store(zipped([("a/1.png", file.getvalue())]), ZIP)
    assert StoredFile.open(path).column("image")[0].tolist() == [[[9, 1]], [[8, 2]], [[7, 3]]]
    _, path = store(zipped([("a/1.png", image((2, 1), "1", color=1))]), ZIP)
    assert StoredFile.open(path).column("image")[0].tolist() == [[[255, 255]]]
    turned = Image.Exif()
    turned[0x112] = 6
    contents, _ = store(zipped([("a/1.jpg", image((4, 3), kind="JPEG", exif=turned))]), ZIP)
    assert contents.columns[0].shape == (3, 4, 3)


@pytest.mark.parametrize("text", ["ab\ncd\n", "ab\r\ncd", "日本\n" * 700_000, "é" * 1_100_000])
def test_texts(store: Store, text: str) -> None:
    contents, path = store(b"\xef\xbb\xbf" + text.encode(), TEXT)
    assert (contents.kind, contents.num_characters) == ("text", len(text))
    assert contents.num_distinct_characters == len(set(text))
    assert contents.num_rows == text.count("\n") + (not text.endswith("\n"))
    stored = StoredFile.open(path)
    assert stored.text().decode() == text
    assert stored.preview(1) == [{"text": text.split("\n", maxsplit=1)[0]}]


def test_weights_are_the_file_itself(store: Store) -> None:
    data = save({"layer.weight": np.ones((2, 3), np.float32), "layer.bias": np.zeros(2)})
    contents, path = store(data, WEIGHTS)
    assert path.read_bytes() == data
    assert (contents.kind, contents.num_rows) == ("weights", None)
    assert {(c.name, c.dtype, c.shape) for c in contents.columns} == {
        ("layer.weight", "float32", (2, 3)),
        ("layer.bias", "float64", (2,)),
    }
