"""Addresses that the service may be made to call by a URL of somebody else's, and those that it
must not: whoever can name a URL must not reach what only this machine or its network can.

The registries: IANA's special-purpose addresses of IPv4 and of IPv6 (RFC 6890), and RFC 5771 for
multicast, RFC 4291 for what is global in IPv6, RFC 6052 for what carries an IPv4 address.
"""

import re
import socket
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Networks = tuple[Network, ...]

_REFUSED_4: Final = {
    IPv4Network(network): name
    for network, name in {
        "0.0.0.0/8": "an unspecified address",
        "10.0.0.0/8": "a private address",
        "100.64.0.0/10": "an address of a carrier's NAT",
        "127.0.0.0/8": "a loopback address",
        "169.254.0.0/16": "a link-local address",
        "172.16.0.0/12": "a private address",
        "192.0.0.0/24": "a reserved address",
        "192.0.2.0/24": "an address of documentation",
        "192.88.99.0/24": "an address of a 6to4 relay",
        "192.168.0.0/16": "a private address",
        "198.18.0.0/15": "an address of benchmarks",
        "198.51.100.0/24": "an address of documentation",
        "203.0.113.0/24": "an address of documentation",
        "224.0.0.0/4": "a multicast address",
        "240.0.0.0/4": "a reserved address",
    }.items()
}
_REFUSED_6: Final = {
    IPv6Network(network): name
    for network, name in {
        "::/128": "an unspecified address",
        "::1/128": "a loopback address",
        "::ffff:0:0/96": "an IPv4 address mapped into IPv6",
        "::ffff:0:0:0/96": "an IPv4 address translated into IPv6",
        "::/96": "an IPv4 address put into IPv6",
        "64:ff9b::/96": "an address of a NAT64",
        "64:ff9b:1::/48": "an address of a NAT64",
        "100::/63": "a reserved address",
        "2001::/32": "a Teredo address",
        "2001::/23": "a reserved address",
        "2001:db8::/32": "an address of documentation",
        "2002::/16": "a 6to4 address",
        "3fff::/20": "an address of documentation",
        "fc00::/7": "a unique-local address",
        "fe80::/10": "a link-local address",
        "fec0::/10": "a site-local address",
        "ff00::/8": "a multicast address",
    }.items()
}
_GLOBAL_6: Final = IPv6Network("2000::/3")
"""All of IPv6 that is given out; the rest is reserved, where no line above says more."""

_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


def networks_in(text: str) -> Networks:
    """Read networks with commas between (`10.0.0.0/8,fd00::/8`); an address is a network of one.

    Raises `ValueError`, whose text says which is none.
    """
    return tuple(_network(each) for each in filter(None, map(str.strip, text.split(","))))


def _network(text: str) -> Network:
    try:
        if "%" not in text:  # of an address with a zone
            return ip_network(text)
    except ValueError:
        pass
    raise ValueError(
        f"{text[:80]!r} is no network: list networks and addresses with commas between, as"
        " 10.1.0.0/16,127.0.0.1,fd00::/8"
    )


def refusal(address: Address, listed: Iterable[Network] = ()) -> str | None:
    """Say what is wrong with an address to be called ("a loopback address"); None: it may be.

    Args:
        listed: by the operator, to be called all the same. A mapped address stands for its IPv4
            address there.
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "an address with a zone"
    if is_listed(address, listed):
        return None
    if isinstance(address, IPv4Address):
        return next((name for each, name in _REFUSED_4.items() if address in each), None)
    found = next((name for each, name in _REFUSED_6.items() if address in each), None)
    return found or (None if address in _GLOBAL_6 else "a reserved address")


def is_listed(address: Address, listed: Iterable[Network]) -> bool:
    """Tell whether the address is in one of these networks."""
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return any(address in each or (inner is not None and inner in each) for each in listed)


def literal(host: str) -> Address | None:
    """Return the address that stands in a URL's host (without brackets) in whatever form; None: it
    is a name.

    Systems take `2130706433`, `0x7f.1`, `0177.0.0.1` and `127.1` for 127.0.0.1, and so does this.
    A host whose last label is a number is an address of IPv4, or nothing.

    Raises `ValueError`: it is neither.
    """
    if ":" in host:
        return ip_address(host)
    bare = host.removesuffix(".")
    if _NUMBER.fullmatch(bare.rpartition(".")[2]) is None:
        return None
    try:
        return IPv4Address(socket.inet_aton(bare))
    except (OSError, UnicodeError):
        raise ValueError(f"{host[:80]!r} is no address") from None
