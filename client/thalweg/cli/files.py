"""Files of jobs and studies, and changes of them on the command line."""

import copy
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from thalweg.errors import ThalwegError

SCHEMA_LINE: Final = "# yaml-language-server: $schema={name}\n"
"""The line by which editors complete and check a file of YAML."""


class FileError(ThalwegError):
    """A file, or a change of it, that cannot be used."""


def read_spec(path: Path | str) -> dict[str, Any]:
    """Read a spec from YAML or JSON; `-` reads standard input. A `$schema` is left out.

    Raises `FileError` with the place of the mistake.
    """
    try:
        text = sys.stdin.read() if str(path) == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise FileError(f"{path} cannot be read: {why}") from error
    spec = parse(text, str(path))
    if not isinstance(spec, dict):
        raise FileError(f"{path} holds no spec: it must be a mapping, such as `optimizer: …`")
    spec.pop("$schema", None)
    return spec


def parse(text: str, name: str) -> Any:
    """Read YAML, of which JSON is a part. `1e-3` is a number, as in JSON."""
    import yaml

    try:
        return yaml.load(text, loader())  # noqa: S506
    except RecursionError as error:
        raise FileError(f"{name} is nested too deeply") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
        problem = getattr(error, "problem", None) or str(error)
        raise FileError(f"{name}{place}: {problem}") from error


def loader() -> Any:
    """Return YAML's safe loader with JSON's numbers: `1e-3` is one, dates are text, and no key
    may stand twice."""
    import re

    import yaml

    class Loader(yaml.SafeLoader):
        """A safe loader with JSON's numbers."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            """Make a dict; a key that stands twice is a mistake."""
            seen = set()
            for key, _ in node.value:
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
            found: dict[Any, Any] = super().construct_mapping(node, deep)
            return found

    resolvers = {
        first: [each for each in of if each[0] != "tag:yaml.org,2002:timestamp"]
        for first, of in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.yaml_implicit_resolvers = resolvers
    number = re.compile(r"^[-+]?(?:\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789."))
    return Loader


def changed(spec: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Return a spec with changes such as `optimizer.lr=0.01`. The value is YAML: a number, a word,
    `[64, 32]`, `{kind: adam}`; `null` for nothing. Raises `FileError`."""
    made = copy.deepcopy(spec)
    for setting in settings:
        path, equals, text = setting.partition("=")
        names = path.strip().split(".")
        if not equals or not all(names):
            raise FileError(f"--set {setting}: write a path and a value, as optimizer.lr=0.01")
        place: Any = made
        for name in names[:-1]:
            place = _within(place, name, setting)
        _put(place, names[-1], parse(text, f"--set {setting}"), setting)
    return made


def values_of(settings: Iterable[str]) -> dict[str, Any]:
    """Return values by path, each written as for `changed`. Raises `FileError`."""
    found: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path.strip():
            raise FileError(f"{setting}: write a path and a value, as optimizer.lr=0.01")
        found[path.strip()] = parse(text, setting)
    return found


def _within(place: Any, name: str, setting: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, name, setting)]
    if place.get(name) is None:
        place[name] = {}
    if not isinstance(place[name], dict | list):
        raise FileError(f"--set {setting}: {name} is {place[name]!r}, which has no fields")
    return place[name]


def _put(place: Any, name: str, value: Any, setting: str) -> None:
    if isinstance(place, list):
        place[_index(place, name, setting)] = value
    else:
        place[name] = value


def _index(place: list[Any], name: str, setting: str) -> int:
    if not name.isdigit() or int(name) >= len(place):
        raise FileError(f"--set {setting}: {name} is no entry of a list of {len(place)}")
    return int(name)


def schema_of(text: str | None) -> dict[str, Any] | None:
    """Read a schema from what was typed, or from a file of this name. Raises `FileError`."""
    if text is None:
        return None
    found = read_spec(text) if Path(text).is_file() else parse(text, "--schema")
    if not isinstance(found, dict):
        raise FileError(
            f"--schema {text[:60]}: it is no file; give kinds of columns as '{{zip: category}}'"
        )
    return found
