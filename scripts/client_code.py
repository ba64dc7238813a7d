"""Write the parts of the client that follow from other sources.

`client/thalweg/_sync/` is `_async/` without its waiting: the same words, so that both clients do
the same. It is in git, and a test compares them.

`client/thalweg/specs.py` has the types of what is sent, from the service's own OpenAPI document. It
is made at set-up and not in git; a test compares it with the document. The document itself goes to
`web/openapi.json`, for the page's types.

    python scripts/client_code.py            write them, where they differ
    python scripts/client_code.py --check    exit 1 where they differ
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = ROOT / "client" / "thalweg"
DOCUMENT: Final = ROOT / "web" / "openapi.json"
HEAD: Final = "# Written by scripts/client_code.py from _async/{name}. Do not edit by hand.\n"

WITHOUT_WAITING: Final = (
    (r"\bfrom asyncio import sleep\b", "from time import sleep"),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\bAsync([A-Z]\w*)", r"\1"),
    (r"\b_async\b", "_sync"),
    (r"\b(aclose|aread|aiter_bytes)\b", lambda found: found[0][1:]),
    (r"__a(enter|exit)__", r"__\1__"),
)
"""Patterns and what takes their place, in this order."""


def synchronous(source: str, name: str) -> str:
    """Return a module of `_sync` for one of `_async`."""
    for pattern, instead in WITHOUT_WAITING:
        source = re.sub(pattern, instead, source)
    # `import time` and `from time import sleep` stand where isort wants them.
    return formatted(HEAD.format(name=name) + source if source.strip() else source)


def formatted(source: str) -> str:
    """Return a source with its imports sorted and its lines broken as everywhere."""
    import subprocess

    ruff = [sys.executable, "-m", "ruff"]
    options = ("--stdin-filename", str(PACKAGE / "specs.py"), "-")
    for command in (("check", "--select", "I", "--fix", "--quiet"), ("format", "--quiet")):
        done = subprocess.run(
            [*ruff, *command, *options], input=source, capture_output=True, text=True, check=True
        )
        source = done.stdout
    return source


def document() -> dict[str, Any]:
    """Make the service's OpenAPI document; nothing is started for it."""
    sys.path.insert(0, str(ROOT))
    from api.app import create_app
    from api.http.openapi import document as made
    from core.settings import Settings
    from core.store.redis import AsyncRedisStore

    settings, nothing = Settings.model_construct(), cast("Any", None)
    store = AsyncRedisStore(settings.redis_url, settings.namespace)  # it connects when it is asked
    return made(create_app(settings, store, nothing, nothing))


def reachable(schemas: Mapping[str, Any], roots: list[str]) -> list[str]:
    """List the components that the roots need, in alphabetical order."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += re.findall(r"#/components/schemas/(\w+)", str(schemas[name]))
    return sorted(found)


def type_of(schema: Mapping[str, Any]) -> str:
    """Return the annotation of a schema."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return f"Literal[{schema['const']!r}]"
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    for way in ("anyOf", "oneOf"):
        if way in schema:
            return " | ".join(dict.fromkeys(type_of(each) for each in schema[way]))
    if "allOf" in schema:
        return type_of(schema["allOf"][0])
    return _plain_type(schema)


def _plain_type(schema: Mapping[str, Any]) -> str:
    match schema.get("type"):
        case "array":
            items = schema.get("items", {"anyOf": schema.get("prefixItems", [{}])})
            return f"Sequence[{type_of(items) if isinstance(items, Mapping) else 'Any'}]"
        case "object":
            values = schema.get("additionalProperties")
            of = type_of(values) if isinstance(values, Mapping) and values else "Any"
            return f"Mapping[str, {of}]"
        case "null":
            return "None"
        case str(name):
            names = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
            return names[name]
        case _:
            return "Any"


def one_line(text: str) -> str:
    """Return a description as a docstring in one paragraph, without what would end it."""
    words = " ".join(text.split()).replace("\\", "\\\\").replace('"""', "'''")
    return words if not words.endswith('"') else f"{words} "


def model(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a component: a TypedDict, or a name for a union."""
    if "properties" not in schema:
        yield f"{name}: TypeAlias = {quoted(type_of(schema))}"
        if schema.get("description"):
            yield f'"""{one_line(schema["description"])}"""'
        return
    yield f"class {name}(TypedDict):"
    described = schema.get("description") or schema.get("title") or name
    yield f'    """{one_line(described)}"""'
    yield ""
    required = schema.get("required", ())
    for field, of in schema["properties"].items():
        kind = type_of(of)
        yield f"    {field}: {kind if field in required else f'NotRequired[{kind}]'}"
        if of.get("description"):
            yield f'    """{one_line(of["description"])}"""'


def quoted(annotation: str) -> str:
    """Return an annotation that is read when it is asked for: it names what stands further down."""
    return f'"{annotation}"' if '"' not in annotation else repr(annotation)


def specs(document: Mapping[str, Any]) -> str:
    """Return the module of types of what is sent."""
    schemas = document["components"]["schemas"]
    roots = ["JobSpec", "StudySpec", "Continuation"]
    lines = [
        '"""What is sent to the service, as types for editors and type checkers.',
        "",
        "Written by scripts/client_code.py from the service's OpenAPI document. Do not edit.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Mapping, Sequence",
        "from typing import Any, Literal, NotRequired, TypeAlias, TypedDict",
        "",
    ]
    for name in reachable(schemas, roots):
        lines += ["", *model(name, schemas[name]), ""]
    return formatted("\n".join(lines))


def written() -> dict[Path, str]:
    """Return every file that is written here, with what it should hold."""
    found = {
        PACKAGE / "_sync" / path.name: synchronous(path.read_text(), path.name)
        for path in sorted((PACKAGE / "_async").glob("*.py"))
    }
    made = document()
    return found | {
        PACKAGE / "specs.py": specs(made),
        DOCUMENT: json.dumps(made, indent=1, ensure_ascii=False) + "\n",
    }


def stale() -> dict[Path, str]:
    """Return the files that differ from what they should hold."""
    return {
        path: text
        for path, text in written().items()
        if not path.is_file() or path.read_text() != text
    }


def main(arguments: list[str]) -> int:
    """Write what differs, or with --check tell it; return the exit status."""
    found = stale()
    for path, text in found.items():
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is stale: run `make models`", file=sys.stderr)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    return 1 if found and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
