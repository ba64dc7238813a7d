"""Write, or check, the exact versions in requirements/ from what .venv holds.

The files are layers: `api.txt` is the closure of the project's own dependencies and holds no
torch, `worker.txt` adds the `worker` extra, `dev.txt` what tests and linters need, `bench.txt` what
the benchmarks compare with. Each is cut from the metadata of the installed packages, so it names
versions only, never where they came from.

`image/` has the same versions for the container images, one file a layer, with the sums of all the
registry's files of each (uv asks it): `api.txt`, `worker.txt` without torch, `torch.txt` with the
CUDA packages that its build for Linux needs, `build.txt`, which makes the wheel, and `page.txt`,
the Node that builds the page.

    python scripts/lock.py            write them (what `make lock` does after an upgrade)
    python scripts/lock.py --check    exit 1 when they and .venv or pyproject.toml disagree
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = "thalweg-service"
CLIENT = "thalweg"
"""Our other distribution, whose needs are the project's too."""
FOLDER = Path(__file__).resolve().parent.parent / "requirements"
IMAGE = FOLDER / "image"
NODE = FOLDER.parent / "web" / "requirements.txt"
"""Pins of the Node that builds the page where a machine has none."""
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("api", ()),
    ("worker", ("worker",)),
    ("dev", ("worker", "embedded", "dev")),
    ("bench", ("worker", "embedded", "dev", "bench")),
)
HEADER = "# Exact versions, written by `make lock`. Do not edit by hand.\n"
# torch pins these itself, and only its CUDA builds need them.
LEFT_TO_TORCH = ("cuda-", "nvidia-", "triton")
# What only other Pythons than the one that writes the lock need.
ELSEWHERE = {"api": ('async-timeout==5.0.1 ; python_full_version < "3.11.3"',)}


def needs(name: str, extras: Iterable[str]) -> list[Requirement]:
    """Return what an installed package with these extras requires on this machine."""
    found = [Requirement(text) for text in requires(name) or ()]
    return [
        r
        for r in found
        if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in ("", *extras))
    ]


def closure(extras: tuple[str, ...], root: str = PROJECT) -> dict[str, str]:
    """Every package that `root` with these extras needs: canonical name -> version."""
    found: dict[str, str] = {}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    waiting = [(root, extras)]
    while waiting:
        entry = waiting.pop()
        name = entry[0]
        if entry in seen or name.startswith(LEFT_TO_TORCH):
            continue
        seen.add(entry)
        # A local part such as "+cpu" says which build was at hand, not which version.
        found[name] = Version(distribution(name).version).public
        waiting += [(canonicalize_name(r.name), tuple(sorted(r.extras))) for r in needs(*entry)]
    for ours in (PROJECT, CLIENT):
        found.pop(ours, None)
    return found


def write() -> None:
    """Write each layer's file."""
    FOLDER.mkdir(exist_ok=True)
    below: dict[str, str] = {}
    base = ""
    for layer, extras in LAYERS:
        pins = closure(extras)
        own = {f"{name}=={pins[name]}" for name in pins.keys() - below.keys()}
        lines = sorted(own.union(ELSEWHERE.get(layer, ())), key=lambda line: line.partition("=="))
        (FOLDER / f"{layer}.txt").write_text(HEADER + base + "\n".join(lines) + "\n")
        below, base = pins, f"-r {layer}.txt\n"
    IMAGE.mkdir(exist_ok=True)
    of_image = image_pins()
    for name, lines in of_image.items():
        (IMAGE / f"{name}.txt").write_text(HEADER + with_sums(name, lines, of_image))


def own_lines(layer: str) -> list[str]:
    """The pins in a layer's file, without those of the layers below it."""
    lines = (FOLDER / f"{layer}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r "))]


def image_pins() -> dict[str, list[str]]:
    """Return what each file of the images pins by the lock, with torch's packages of CUDA."""
    worker = own_lines("worker")
    build = closure((), "hatchling")
    return {
        "api": own_lines("api"),
        "worker": [line for line in worker if not line.startswith("torch==")],
        "torch": [line for line in worker if line.startswith("torch==")],
        "build": [f"{name}=={build[name]}" for name in sorted(build)],
        "page": [line for line in NODE.read_text().splitlines() if not line.startswith("#")],
    }


def with_sums(name: str, lines: Iterable[str], of_image: Mapping[str, Iterable[str]]) -> str:
    """The lines of one of the images' files, with the sums of what they name, from the registry."""
    options = ["--no-deps"]
    if name == "torch":
        others = [line for file in ("api", "worker") for line in of_image[file]]
        (IMAGE / "others.in").write_text("\n".join(others))
        names = [line.partition("==")[0] for line in others]
        options = ["--constraints", str(IMAGE / "others.in")]
        options += [word for each in names for word in ("--no-emit-package", each)]
    command = (
        *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config"),
        *("--universal", "--python-version", "3.11", "--no-python-downloads"),
        *("--generate-hashes", "--no-header", "--no-annotate", *options, "-"),
    )
    try:
        text = "\n".join(lines)
        done = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=True)
    finally:
        (IMAGE / "others.in").unlink(missing_ok=True)
    # What uv says below the list of packages that were left out.
    return re.sub(r"^#.*\n", "", done.stdout, flags=re.MULTILINE).strip() + "\n"


def hashed(name: str) -> dict[str, tuple[str, int]]:
    """Read one of the images' files: package -> its version and the number of its sums."""
    text = (IMAGE / f"{name}.txt").read_text().replace("\\\n", "")
    found: dict[str, tuple[str, int]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(re.sub(r"\s+--hash=.*", "", line))
            version = str(requirement.specifier).removeprefix("==")
            found[canonicalize_name(requirement.name)] = version, line.count("--hash=sha256:")
    return found


def image_faults() -> Iterable[str]:
    """Yield where the images' files disagree with the lock, one line each."""
    for name, lines in image_pins().items():
        file, pins = f"image/{name}.txt", hashed(name)
        wanted = {Requirement(line).name: str(Requirement(line).specifier)[2:] for line in lines}
        for package, version in wanted.items():
            if pins.get(package, ("", 0))[0] != version:
                yield f"{file} does not pin {package} {version}"
        for package in pins.keys() - wanted.keys():
            if name != "torch" or not package.startswith(LEFT_TO_TORCH):
                yield f"{file} pins {package}, which the lock has not"
        for package, (_, sums) in pins.items():
            if not sums:
                yield f"{file} has no sum of {package}"


def locked(layer: str) -> dict[str, str]:
    """The pins, for this machine, of a layer's file and of those below it."""
    pins: dict[str, str] = {}
    for line in (FOLDER / f"{layer}.txt").read_text().splitlines():
        if line.startswith("-r "):
            pins |= locked(line.removeprefix("-r ").removesuffix(".txt"))
        elif line and not line.startswith("#"):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate():
                pins[requirement.name] = str(requirement.specifier).removeprefix("==")
    return pins


def faults() -> Iterable[str]:
    """Yield where the lock, .venv and the project's requirements disagree, one line each.

    Packages that only other platforms or Python versions need are no fault.
    """
    for layer, extras in LAYERS:
        pins = locked(layer)
        for requirement in (*needs(PROJECT, extras), *needs(CLIENT, ())):
            if requirement.name == CLIENT:
                continue
            pin = pins.get(canonicalize_name(requirement.name))
            if pin is None:
                yield f"{layer}.txt does not pin {requirement.name}"
            elif not requirement.specifier.contains(pin, prereleases=True):
                yield f"{layer}.txt pins {pin}, pyproject.toml asks {requirement}"
    for name, pin in locked("dev").items():
        try:
            installed = Version(distribution(name).version).public
        except PackageNotFoundError:
            yield f"{name} {pin} is locked, but not installed"
            continue
        if installed != pin:
            yield f"{name} {pin} is locked, but {installed} is installed"
    yield from image_faults()


def main(arguments: list[str]) -> int:
    """Write the files, or with --check compare them; the exit status."""
    if "--check" not in arguments:
        write()
        return 0
    found = list(faults())
    for line in found:
        print(f"{line}: run `make install`, or `make lock` for new versions", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
