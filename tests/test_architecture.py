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

LIGHT = frozenset(
    f"core.{part}"
    for part in (
        "artifacts",
        "broker",
        "compare",
        "diagnosis",
        "errors",
        "jobs",
        "ids",
        "plots",
        "settings",
        "specs",
        "store",
        "strategies",
        "studies",
    )
)
TORCH_HALF = frozenset(
    f"core.{part}"
    for part in (
        "data",
        "determinism",
        "diagnose",
        "losses",
        "models",
        "optim",
        "population",
        "problems",
        "train",
    )
)
TORCH = frozenset({"sklearn", "torch", "torchvision"})
WEB = frozenset({"fastapi", "starlette", "uvicorn"})
QUEUE = frozenset({"celery", "kombu"})

# Row of the table -> what it must not import, a part standing for all that is below it.
FORBIDDEN: dict[str, frozenset[str]] = {
    "api": TORCH | TORCH_HALF | {"thalweg", "worker"},
    "worker": WEB
    | {"api", "thalweg"}
    | (TORCH_HALF - {"core.diagnose", "core.population", "core.train"}),
    "core": WEB | QUEUE | {"api", "thalweg", "worker"},
    "thalweg": TORCH
    | TORCH_HALF
    | WEB
    | QUEUE
    | {"api", "worker"}
    # `thalweg settings` lists the settings; of the rest, the spec only.
    | (LIGHT - {"core.settings", "core.specs"}),
    **dict.fromkeys(LIGHT, TORCH | TORCH_HALF),
}


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
        if path.exists()
        for module in imports(ast.parse(path.read_text()))
        if any(within(module, each) for each in forbidden)
    ]


@pytest.mark.parametrize("part", sorted(FORBIDDEN))
def test_imports_stay_within_the_table(part: str) -> None:
    assert crossings(part, FORBIDDEN[part]) == []


def test_the_worker_imports_torch_for_type_hints_only() -> None:
    for path in sources("worker"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
                node.body = []
        assert not [m for m in imports(tree) if any(within(m, each) for each in TORCH)], path


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


def parts_of_core() -> set[str]:
    return {
        f"core.{path.stem}"
        for path in (ROOT / "core").iterdir()
        if path.name != "__init__.py" and (path.suffix == ".py" or (path / "__init__.py").exists())
    }


def test_every_part_of_core_belongs_to_a_half() -> None:
    assert parts_of_core() <= LIGHT | TORCH_HALF


def test_every_part_of_core_is_named_in_the_import_contracts() -> None:
    config: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = {c["id"]: c for c in config["tool"]["importlinter"]["contracts"]}
    parts = parts_of_core()

    assert parts & LIGHT == set(contracts["core-light"]["source_modules"])
    for contract in ("api", "thalweg"):
        named = {m for m in contracts[contract]["forbidden_modules"] if m.startswith("core.")}
        assert named == parts & TORCH_HALF, contract


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
heavy = {"torch", "torchvision", "sklearn", "scipy"} & {m.partition(".")[0] for m in sys.modules}
sys.exit(f"imported {sorted(heavy)}" if heavy else 0)
"""


@pytest.mark.parametrize("module", ["api.asgi", "thalweg.cli"])
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
