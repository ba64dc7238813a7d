"""The process of a check: reads a request, sets its limits, parses, and answers in one line.

Started by its file's path with the id of its parent; the request is a line of JSON on its input,
which stays open as long as the parent lives.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, Final

from core.specs.base import Json
from core.uploads.check import STORED_NAME, memory_message
from core.uploads.contents import MEDIA_TYPES, Contents, RefusedFile, quoted
from core.uploads.parse.kinds import parse
from core.uploads.schema import parse_schema

_PR_SET_PDEATHSIG: Final = 1
_FORBIDDEN: Final = (
    *("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system"),
    *("pickle.find_class", "ctypes.dlopen"),
)
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})


def end_with_parent(parent: int) -> None:
    """Have this process killed by the kernel when its parent ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def end_with_input() -> None:
    """Have this process end at the end of its input, which a thread waits for."""

    def wait_for_end() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait_for_end, daemon=True).start()


def limit(limits: dict[str, int]) -> None:
    """Set the limits of this process, and forbid it the network, other programs and pickles.

    Memory is limited by RLIMIT_DATA, which counts what the process may write to and not the
    address space that allocators of threads reserve (a limit of that stops Arrow at a fraction of
    it).
    """
    kinds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_DATA: limits["memory_bytes"],
        resource.RLIMIT_FSIZE: limits["file_bytes"],
        resource.RLIMIT_NOFILE: limits["open_files"],
    }
    for kind, wanted in kinds.items():
        _, hard = resource.getrlimit(kind)
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_s"], limits["cpu_s"] + 5))

    def audit(event: str, _: tuple[Any, ...]) -> None:
        if event.startswith(_FORBIDDEN):
            raise PermissionError(f"{event} is forbidden to the check of an upload")

    sys.addaudithook(audit)


def answer(request: Json) -> Json:
    """Parse the file of a request; return the reply."""
    limits = request["limits"]
    media_type = request["media_type"]
    try:
        if media_type not in MEDIA_TYPES:
            raise RefusedFile(
                "unsupported_media_type",
                f"{quoted(media_type)} cannot be uploaded. Send one of {', '.join(MEDIA_TYPES)}.",
            )
        schema = parse_schema(json.dumps(request["schema"]))
        work = Path(request["work"])
        target = work / STORED_NAME
        path = Path(request["path"])
        if path.is_file() and not path.stat().st_size:
            raise RefusedFile(
                "empty_file", "The file has no bytes. Send it as the body of the request."
            )
        found: Contents = parse(media_type, path, schema, work, target)
        descriptor = os.open(target, os.O_RDONLY)
        os.fsync(descriptor)
        return {"contents": found.to_json()}
    except RefusedFile as error:
        return {"refused": error.to_json()}
    except MemoryError:
        return _refused("memory_limit", memory_message(limits["memory_bytes"]))
    except OSError as error:
        if error.errno == errno.EFBIG:
            most = limits["file_bytes"]
            why = f"The stored form would have more than {most:,} bytes. Upload fewer rows."
            return _refused("size_limit", why)
        if error.errno in _FULL:
            return {"unwritable": error.strerror}
        raise


def _refused(code: str, message: str) -> Json:
    return {"refused": RefusedFile(code, message).to_json()}


def main() -> None:
    """Read the request, answer it, and end."""
    end_with_parent(int(sys.argv[1]))
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(0, 2**16)
        if not piece:
            os._exit(1)
        line += piece
    request: Json = json.loads(line)
    end_with_input()
    limit(request["limits"])
    try:
        reply = answer(request)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.write(json.dumps(reply))
    sys.stdout.flush()
    os._exit(0)  # whatever threads the libraries have


if __name__ == "__main__":
    main()
