"""What breaks a rule is refused with the place, the value and the way out, and leaves nothing."""

import random
from pathlib import Path

import pytest

from core.uploads.contents import (
    DTYPES,
    MEDIA_TYPES,
    MOST_CATEGORIES,
    MOST_COLUMNS,
    REFUSALS,
    RefusedFile,
)
from core.uploads.parse.kinds import parse
from core.uploads.parse.zipped import MOST_ENTRIES
from core.uploads.schema import MISSING, Schema, parse_schema
from core.uploads.stored import StoredFile
from tests.core.uploads.samples import GOOD, REFUSED, WEIGHTS

UPLOADS = Path(__file__).resolve().parents[3] / "core" / "uploads"


@pytest.mark.parametrize("name", [name for name in REFUSED if name != "empty"])
def test_it_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    sample = REFUSED[name]
    path = tmp_path / "file"
    path.write_bytes(sample.data)
    with pytest.raises(RefusedFile) as caught:
        parse(sample.media_type, path, parse_schema(sample.schema), tmp_path, tmp_path / "stored")
    found = caught.value
    assert (found.refusal_code, found.row, found.column, found.entry) == (
        sample.code,
        sample.row,
        sample.column,
        sample.entry,
    ), found.message
    assert found.message.endswith(".")
    for place in (sample.row, sample.entry, sample.column):
        assert place in {None, 1} or str(place)[:60] in found.message


def test_a_refusal_stays_itself_as_json() -> None:
    refused = RefusedFile("mixed_column", "Row 3: x.", row=3, column="a")
    again = RefusedFile.from_json(refused.to_json())
    assert again.to_json() == refused.to_json()
    assert str(again) == "Row 3: x."


def test_no_code_is_given_that_is_not_published() -> None:
    with pytest.raises(ValueError, match="unpublished"):
        RefusedFile("surprise", "x")


def test_every_published_code_is_given_somewhere_and_no_other() -> None:
    text = (UPLOADS / "contents.py").read_text()
    listed = text[text.index("REFUSALS: Final") :]
    for code in REFUSALS:
        others = sum(
            f'"{code}"' in path.read_text()
            for path in UPLOADS.rglob("*.py")
            if path.name != "contents.py"
        )
        assert others, f"{code} is published and never given"
        assert f'"{code}"' in listed


def test_the_page_lists_every_code_and_every_media_type() -> None:
    page = (UPLOADS.parents[1] / "docs" / "data.md").read_text()
    for code, meaning in REFUSALS.items():
        assert f"| `{code}` | {meaning} |" in page
    for name in (*MEDIA_TYPES, *DTYPES, *filter(None, MISSING)):
        assert f"`{name}`" in page
    for limit in (MOST_COLUMNS, MOST_CATEGORIES, MOST_ENTRIES):
        assert f"{limit:,}" in page


def test_every_rule_of_a_file_has_a_sample() -> None:
    """Limits and the state of a check are tried elsewhere."""
    without = {
        "memory_limit",
        "size_limit",
        "stopped",
        "time_limit",
        "too_many_entries",
        "unsupported_media_type",
    }
    assert REFUSALS.keys() - {each.code for each in REFUSED.values()} == without


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Change, insert, remove or double some bytes, or cut the file."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place, length = rng.randrange(len(found) + 1), rng.randint(1, 20)
        match rng.randrange(4):
            case 0:
                found[place:place] = rng.choice(
                    [b",", b'"', b"\n", b"\xff", b"\0", b"{", b"-", b"e"]
                )
            case 1:
                del found[place : place + length]
            case 2:
                found[place:place] = found[place : place + length]
            case _:
                found[place : place + 1] = rng.randbytes(1)
    return bytes(found)


@pytest.mark.parametrize("media_type", sorted(GOOD))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(
    tmp_path: Path, media_type: str
) -> None:
    rng = random.Random(0)
    path, stored = tmp_path / "file", tmp_path / "stored"
    path.write_bytes(GOOD[media_type])
    parse(media_type, path, Schema(), tmp_path, stored)
    num_refused = 0
    for _ in range(100):
        path.write_bytes(damaged(GOOD[media_type], rng) or b" ")
        try:
            parse(media_type, path, Schema(), tmp_path, stored)
        except RefusedFile:
            num_refused += 1
            continue
        if media_type != WEIGHTS:
            assert StoredFile.open(stored).preview(3)
    assert num_refused


def test_every_media_type_has_a_file_that_is_fine() -> None:
    assert GOOD.keys() == MEDIA_TYPES.keys()
