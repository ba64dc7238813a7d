"""Write docs/catalog.md from the catalogue: `python scripts/catalog_docs.py`.

With `--check` nothing is written, and a page that differs is status 1.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "catalog.md"
_HEAD: Final = """# Catalogue: everything that a spec can name

Made from the service's own catalogue by `python scripts/catalog_docs.py`; a test holds it against
the code. `GET /v1/catalog/{family}` gives the same as JSON, each kind with its JSON Schema and a
whole job that works. Options are shown with their defaults; those without one have to be given.
"""


def page() -> str:
    """Return the page as it should be."""
    sys.path.insert(0, str(ROOT))
    from core.specs.catalog import FAMILIES, entries

    parts = [_HEAD]
    for family in FAMILIES:
        parts.append(f"\n## {family.capitalize()}\n")
        parts += [_kind(entry) for entry in entries(family)]
    return "".join(parts)


def _kind(entry: Any) -> str:
    source = _filled(f"{entry['summary']} Source: {entry['source']}.".split(" "))
    lines = [f"\n### `{entry['kind']}`\n", f"\n{source}\n"]
    options = list(_options(entry["schema"]))
    if options:
        *others, last = options
        filled = _filled(["Options:", *(f"{option}," for option in others), f"{last}."])
        lines.append(f"\n{filled}\n")
    notes = list(_notes(entry["supports"]))
    if notes:
        lines.append(f"\n{' '.join(notes)}\n")
    example = json.dumps(entry["schema"]["examples"][0], ensure_ascii=False)
    if len(example) > _LONGEST:
        example = example[:_LONGEST] + " …"
    return "".join([*lines, f"\n```json\n{example}\n```\n"])


_LONGEST: Final = 300
_WIDTH: Final = 110


def _filled(parts: Iterable[str]) -> str:
    """Put parts into lines of at most `_WIDTH` characters, each part whole."""
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]} {part}".lstrip()
        if len(longer) > _WIDTH:
            lines.append(part)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def _options(schema: Any) -> Iterator[str]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        if name == "kind":
            continue
        if "default" in field:
            default = json.dumps(field["default"], ensure_ascii=False)
            yield f"`{name}` = `{default}`" if len(default) <= 60 else f"`{name}`"
        else:
            yield f"`{name}` (to be given)" if name in required else f"`{name}`"


def _notes(supports: Any) -> Iterator[str]:
    if "fused" in supports:
        yield (
            "Runs of a study train together."
            if supports["fused"]
            else "Runs of a study train one by one."
        )
    if supports.get("onnx") is False:
        yield "Not exported as ONNX."


def main(arguments: list[str]) -> int:
    """Write the page, or check it; return the exit status."""
    made = page()
    if "--check" in arguments:
        return int(PAGE.read_text() != made)
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
