"""Clients that common generators make of the OpenAPI document do a job: `make clients`.

Our own client is tried there too: what it exports is read by TensorBoard, pandas and Polars, and
its types by basedpyright.

openapi-python-client, @hey-api/openapi-ts and openapi-typescript, with versions of their own, lie
in `.venv/clients`; what they make of the document of a running service goes there too. TypeScript
is compiled under `strict`. About half a minute, less once the generators are there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
WORK: Final = HERE.parent.parent / ".venv" / "clients"
BIN: Final = WORK / "python" / "bin"
OWN: Final = WORK / "own" / "bin"
TYPESCRIPT: Final = WORK / "typescript"

KNOWN: Final = {
    "GET /v1/comparison/plot",
    "GET /v1/jobs/{job_id}/plot",
    "GET /v1/studies/{study_id}/plot",
}
"""Calls that openapi-python-client leaves without a reply: they have two types of picture."""
FILES: Final = (
    "text/csv", "application/vnd.apache.parquet", "application/x-ndjson", "application/x-npz",
    "text/plain", "application/zip", "application/x-safetensors",
)  # fmt: skip
"""Types of what is uploaded; openapi-python-client has to be told that they are bytes."""


def run(*command: object, cwd: Path = WORK) -> str:
    """Run a command with our Node before any other; return what it printed."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    words = [str(word) for word in command]
    ended = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        sys.exit(f"{' '.join(words)}\n{ended.stdout}{ended.stderr}")
    return ended.stdout + ended.stderr


def install() -> None:
    """Install the generators, unless these very versions are there."""
    pins = ("requirements.txt", "package-lock.json", "own.txt")
    wanted = "".join((HERE / name).read_text() for name in pins)
    stamp = WORK / "installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    shutil.rmtree(WORK, ignore_errors=True)
    TYPESCRIPT.mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(install_generators), pool.submit(install_readers)]:
            done.result()
    stamp.write_text(wanted)


def install_generators() -> None:
    """Install what makes clients, for Python and for TypeScript."""
    run(sys.executable, "-m", "venv", WORK / "python")
    run(BIN / "pip", "install", "--quiet", "--requirement", HERE / "requirements.txt")
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(HERE / name, TYPESCRIPT)
    run(BIN / "npm", "ci", "--no-audit", "--no-fund", cwd=TYPESCRIPT)


def install_readers() -> None:
    """Install what reads the exports and types of our own client."""
    run(sys.executable, "-m", "venv", WORK / "own")
    run(OWN / "pip", "install", "--quiet", "--requirement", HERE / "own.txt")


@contextmanager
def service() -> Iterator[str]:
    """Yield the address of a service of our own."""
    with tempfile.TemporaryDirectory(prefix="thw-") as folder:
        command = [sys.executable, "-m", "thalweg_service", "serve", "--port", "0"]
        process = subprocess.Popen(
            [*command, "--data-dir", folder], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            address = re.search(r"http://\S+:\d+", process.stdout.readline())
            assert address is not None
            yield address[0]
        finally:
            process.terminate()
            process.wait(timeout=60)


def python_client(document: Path, address: str) -> None:
    """Generate the Python client, and run a job with it. Every call must be there, but for those
    that are `KNOWN`."""
    shutil.rmtree(WORK / "generated", ignore_errors=True)
    overrides = dict.fromkeys(FILES, "application/octet-stream")
    config = {"post_hooks": [], "literal_enums": True, "content_type_overrides": overrides}
    (WORK / "config.json").write_text(json.dumps(config))
    generate = ("generate", "--path", document, "--output-path", WORK / "generated")
    options = ("--meta", "none", "--config", WORK / "config.json")
    said = run(BIN / "openapi-python-client", *generate, *options)
    warned = set(re.findall(r"WARNING parsing (.+?) within", said))
    if warned != KNOWN or said.count("WARNING") != len(KNOWN):
        sys.exit(f"openapi-python-client says more than is known:\n{said}")
    shutil.copy(HERE / "job.py", WORK)
    print("openapi-python-client:", run(BIN / "python", WORK / "job.py", address).strip())


def typescript_clients(document: Path, address: str) -> None:
    """Generate the TypeScript clients, compile a program with each, and run them."""
    shutil.copy(document, TYPESCRIPT)
    for name in ("job.ts", "fetch.ts", "tsconfig.json", "openapi-ts.config.mjs"):
        shutil.copy(HERE / name, TYPESCRIPT)
    tools = TYPESCRIPT / "node_modules" / ".bin"
    run(tools / "openapi-ts", cwd=TYPESCRIPT)
    run(tools / "openapi-typescript", "openapi.json", "--output", "types.ts", cwd=TYPESCRIPT)
    run(tools / "tsc", cwd=TYPESCRIPT)
    for name, program in (("@hey-api/openapi-ts", "job"), ("openapi-typescript", "fetch")):
        said = run(BIN / "node", f"dist/{program}.js", address, cwd=TYPESCRIPT)
        print(f"{name}:", said.strip())


def own_client(address: str) -> None:
    """Have what our own client exports read by others, and its types by basedpyright."""
    for old in WORK.glob("*.whl"):
        old.unlink()
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", WORK)
    run(sys.executable, "-m", "pip", *build, HERE.parents[1] / "client")
    (wheel,) = WORK.glob("*.whl")
    run(OWN / "pip", "install", "--quiet", wheel)
    run(OWN / "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel)
    for name in ("exported.py", "typed.py"):
        shutil.copy(HERE / name, WORK)
    with tempfile.TemporaryDirectory(prefix="thw-") as folder:
        said = run(OWN / "python", WORK / "exported.py", address, folder)
    print("our own:", said.strip().splitlines()[-1])


def main() -> None:
    install()
    with service() as address:
        document = WORK / "openapi.json"
        with urllib.request.urlopen(f"{address}/openapi.json") as reply:
            document.write_bytes(reply.read())
        python_client(document, address)
        typescript_clients(document, address)
        own_client(address)


if __name__ == "__main__":
    main()
