"""Who may import whom.

`lint-imports` follows chains of imports; this file reads every import by itself, those under
`TYPE_CHECKING` included, needs no list of the parts that exist already, and really imports the
API where torch cannot be had.
"""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

TORCH = frozenset({"sklearn", "torch", "torchvision"})
TRAIN = frozenset({"core.train"})
WEB = frozenset({"fastapi", "starlette", "uvicorn"})
QUEUE = frozenset({"celery", "kombu"})
PARTS_OF_CORE = frozenset(
    f"core.{path.stem}"
    for path in (ROOT / "core").iterdir()
    if path.stem not in {"__init__", "__pycache__", "train"}
)

# Row of the table -> what it must not import, a part standing for all that is below it.
FORBIDDEN: dict[str, frozenset[str]] = {
    "api": TORCH | TRAIN | {"thalweg", "thalweg_service", "worker"},
    "worker": WEB | TORCH | TRAIN | {"api", "thalweg", "thalweg_service"},
    "core": WEB | QUEUE | {"api", "thalweg", "thalweg_service", "worker"},
    # `thalweg settings` lists the settings; `thalweg keys` writes keys into the store.
    "thalweg_service": TORCH
    | TRAIN
    | WEB
    | QUEUE
    | {"api", "thalweg", "worker"}
    | (
        PARTS_OF_CORE
        - {
            "core.artifacts",
            "core.environment",
            "core.errors",
            "core.ids",
            "core.keys",
            "core.settings",
        }
    )
    - {"core.store"},
    "client": TORCH
    | WEB
    | QUEUE
    | {"api", "core", "pydantic", "redis", "thalweg_service", "worker"},
    # Whatever needs torch lives in core.train, and nowhere else.
    **dict.fromkeys(PARTS_OF_CORE, TORCH | TRAIN),
}
EXCEPTIONS = {
    ROOT / "thalweg_service/__main__.py": "thalweg.cli",
    ROOT / "thalweg_service/demo.py": "thalweg.curves",
    ROOT / "api/__main__.py": "thalweg_service.packages",
    ROOT / "worker/__main__.py": "thalweg_service.packages",
}
"""The check that the packages are our own, which imports nothing of ours: of four names only
`thalweg_service` is nobody else's. And the service's command, which is the client's."""
PARSES_UPLOADS = ("core/uploads/parse", "core/uploads/tables")
"""Folders of the process that parses uploaded files; its libraries are met nowhere else, and
nothing else imports them."""
TRAINER_PROCESS = frozenset(
    {ROOT / "worker/trainer/server.py", ROOT / "worker/trainer/handlers.py"}
)
"""What of the worker runs where torch is."""


def imports(tree: ast.AST) -> Iterator[str]:
    """Each module, and each `module.name`, that the source imports, wherever the import stands."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Call(
                func=ast.Name(id=called) | ast.Attribute(attr=called),
                args=[ast.Constant(value=str(module)), *_],
            ) if called in {"__import__", "import_module"}:
                yield module
            case _:
                pass


def within(module: str, part: str) -> bool:
    return module == part or module.startswith(part + ".")


def sources(part: str) -> list[Path]:
    path = ROOT.joinpath(*part.split("."))
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def crossings(part: str, forbidden: frozenset[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources(part)
        for module in imports(ast.parse(path.read_text()))
        if any(within(module, each) for each in forbidden)
        if not (path in TRAINER_PROCESS and within(module, "core.train"))
        if not (path in EXCEPTIONS and within(module, EXCEPTIONS[path]))
    ]


@pytest.mark.parametrize("part", sorted(FORBIDDEN))
def test_imports_stay_within_the_table(part: str) -> None:
    assert crossings(part, FORBIDDEN[part]) == []


def test_every_import_form_is_seen() -> None:
    source = """
import torch.nn as nn
from core import train
def late():
    from torch import Tensor
    importlib.import_module("celery")
"""
    assert set(imports(ast.parse(source))) == {
        "torch.nn",
        "core",
        "core.train",
        "torch",
        "torch.Tensor",
        "celery",
    }


def test_the_import_contracts_have_the_same_wall() -> None:
    config: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = {c["id"]: c for c in config["tool"]["importlinter"]["contracts"]}

    wall = contracts["core-torch"]
    assert set(wall["source_modules"]) == {"api", "core", "thalweg_service"}
    assert set(wall["forbidden_modules"]) == {"sklearn", "torch"}
    assert {line.partition(" -> ")[0] for line in wall["ignore_imports"]} == {"core.train.**"}
    for layers in ("core-downward", "train-downward"):
        assert contracts[layers]["exhaustive"]
    allowed = {line.partition(" -> ")[0] for line in contracts["worker-torch"]["ignore_imports"]}
    assert {ROOT / f"{each.replace('.', '/')}.py" for each in allowed} == TRAINER_PROCESS


def test_the_libraries_that_parse_uploads_are_met_in_their_process_only() -> None:
    inside = frozenset({"core.uploads.parse", "core.uploads.tables"})
    found = [
        line
        for part in ("api", "core", "thalweg_service", "worker")
        for line in crossings(part, frozenset({"PIL", "pyarrow"}) | inside)
        if not line.startswith(PARSES_UPLOADS)
    ]
    assert found == []


def test_core_itself_is_empty() -> None:
    # Its code would run before every part's, and bring whatever it imports into the API.
    assert (ROOT / "core" / "__init__.py").read_bytes() == b""


IMPORT_WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision"}:
            raise ImportError("torch was asked for: " + name)

sys.meta_path.insert(0, Refuse())
import %s
heavy = {"PIL", "pyarrow", "torch", "torchvision", "sklearn", "scipy"}
heavy &= {m.partition(".")[0] for m in sys.modules}
sys.exit(f"imported {sorted(heavy)}" if heavy else 0)
"""


@pytest.mark.parametrize(
    "module", ["api.asgi", "thalweg.cli", "thalweg_service.commands", "worker.app"]
)
def test_it_imports_where_torch_cannot_be_had(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_WITHOUT_TORCH % module],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("part", ["api", "core", "worker"])
def test_stored_specs_are_read_from_json_text(part: str) -> None:
    """A strict model refuses a list of Python's where it declares a tuple, which JSON's are."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources(part)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"validate_python", "model_validate", "parse_obj"}
    ]
    assert not found, f"{found}: use core.specs.base.stored"


def test_an_open_object_of_json_has_one_name() -> None:
    """Where it is defined; the name is imported from there by everybody else."""
    found = [
        str(path.relative_to(ROOT))
        for part in ("api", "core", "thalweg_service", "worker")
        for path in sources(part)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "Json"
    ]
    assert found == ["core/specs/base.py"]
