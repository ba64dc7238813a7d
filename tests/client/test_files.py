"""Files of specs, and changes of them: what is read, and what is told of mistakes."""

import re
from pathlib import Path

import pytest

from thalweg.cli.files import FileError, changed, parse, read_spec


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("optimizer.lr", "write a path and a value"),
        (".lr=3", "write a path and a value"),
        ("hidden.7=1", "7 is no entry of a list of 2"),
        ("optimizer.kind.x=1", "kind is 'sgd', which has no fields"),
        ("optimizer.lr=[1", "--set optimizer.lr=[1, line 1"),
    ],
)
def test_a_wrong_change_is_told_with_its_place(setting: str, said: str) -> None:
    spec = {"optimizer": {"kind": "sgd"}, "hidden": [1, 2]}
    with pytest.raises(FileError, match=re.escape(said)):
        changed(spec, [setting])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\nb: 2", ", line 2"),
        ("a: 1\na: 2", "the key 'a' stands twice"),
        ("- 1", "holds no spec"),
        ("", "holds no spec"),
        ("[" * 2000, "nested too deeply"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: \x00", "unacceptable character"),
    ],
)
def test_a_file_that_is_none_is_told_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(FileError, match=re.escape(said)) as caught:
        read_spec(path)
    assert "job.yaml" in str(caught.value)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match=r"job\.yaml"):
        read_spec(path)
    with pytest.raises(FileError, match="cannot be read"):
        read_spec(tmp_path)


def test_numbers_and_dates_of_a_file_are_those_of_json() -> None:
    found = parse("a: 1e-3\nb: 2024-01-01\nc: yes\nd: null\ne: 5\nf: 1.5\ng: .5e+2", "x")
    assert found == {
        "a": 1e-3,
        "b": "2024-01-01",
        "c": True,
        "d": None,
        "e": 5,
        "f": 1.5,
        "g": 50.0,
    }
    spec = {"optimizer": {"kind": "adam"}, "hidden": [1, 2]}
    assert changed(spec, ["optimizer.lr=auto", "hidden.1=7", "new.deep.x={a: 1}"]) == {
        "optimizer": {"kind": "adam", "lr": "auto"}, "hidden": [1, 7],
        "new": {"deep": {"x": {"a": 1}}},
    }  # fmt: skip
    assert spec == {"optimizer": {"kind": "adam"}, "hidden": [1, 2]}
    with pytest.raises(FileError):
        changed(spec, ["=3"])
