"""Put on PYTHONPATH by a trial: names that end in `.test` are looked up by the trial's own
resolver, whenever the system's would be asked."""

import json
import os
import socket
from typing import Any

_PORT = int(os.environ.get("TRIAL_RESOLVER_PORT", "0"))
_true_getaddrinfo = socket.getaddrinfo


def _getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
    if not (isinstance(host, str) and host.endswith(".test")):
        return _true_getaddrinfo(host, port, *arguments, **options)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(5)
        line.sendto(host.encode(), ("127.0.0.1", _PORT))
        addresses = json.loads(line.recv(2**12))
    found = []
    for address in addresses:
        found += _true_getaddrinfo(address, port, *arguments, **options)
    return found


if _PORT:
    socket.getaddrinfo = _getaddrinfo
