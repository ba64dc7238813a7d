"""Which addresses the service may be made to call. No test connects to any."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addresses import Address, is_listed, literal, networks_in, refusal

REFUSED = {
    "0.0.0.0": "unspecified", "0.1.2.3": "unspecified", "10.0.0.1": "private",
    "100.64.0.1": "carrier", "100.127.255.255": "carrier", "127.0.0.1": "loopback",
    "127.255.255.255": "loopback", "169.254.169.254": "link-local", "172.16.0.1": "private",
    "172.31.255.255": "private", "192.0.0.8": "reserved", "192.0.2.1": "documentation",
    "192.88.99.1": "6to4", "192.168.1.1": "private", "198.18.0.1": "benchmarks",
    "198.51.100.1": "documentation", "203.0.113.9": "documentation", "224.0.0.1": "multicast",
    "239.255.255.255": "multicast", "240.0.0.1": "reserved", "255.255.255.255": "reserved",
    "::": "unspecified", "::1": "loopback", "::7f00:1": "IPv4", "::ffff:127.0.0.1": "mapped",
    "::ffff:8.8.8.8": "mapped", "::ffff:0:8.8.8.8": "translated", "64:ff9b::7f00:1": "NAT64",
    "64:ff9b::808:808": "NAT64", "64:ff9b:1::1": "NAT64", "100::1": "reserved",
    "2001::1": "Teredo", "2001:0:7f00:1::": "Teredo", "2001:20::1": "reserved",
    "2001:db8::1": "documentation", "2002:7f00:1::": "6to4", "2002:808:808::1": "6to4",
    "3fff::1": "documentation", "5f00::1": "reserved", "4000::1": "reserved",
    "fc00::1": "unique-local", "fd12:3456::1": "unique-local", "fe80::1": "link-local",
    "fec0::1": "site-local", "ff02::1": "multicast", "ff0e::1": "multicast",
}  # fmt: skip
TAKEN = (
    "8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "9.9.9.9",
    "126.255.255.255", "128.0.0.1", "223.255.255.255", "2606:4700::1111", "2a00:1450::1",
)  # fmt: skip


@pytest.mark.parametrize(("text", "word"), sorted(REFUSED.items()))
def test_an_address_that_is_not_public_is_refused_by_its_name(text: str, word: str) -> None:
    found = refusal(ipaddress.ip_address(text))
    assert found is not None
    assert word in found


@pytest.mark.parametrize("text", TAKEN)
def test_a_public_address_is_taken(text: str) -> None:
    assert refusal(ipaddress.ip_address(text)) is None


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(ADDRESSES)
def test_what_python_calls_not_global_is_refused(address: Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert refusal(address) is not None


@given(st.ip_addresses(v=4), st.sampled_from(("::ffff:", "::", "64:ff9b::", "::ffff:0:")))
def test_no_ipv4_address_is_reached_inside_ipv6(inner: Address, prefix: str) -> None:
    assert refusal(ipaddress.ip_address(f"{prefix}{inner}")) is not None


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_is_reached_by_6to4_or_teredo(inner: Address) -> None:
    carriers = [0x2002 << 112 | int(inner) << 80, 0x2001 << 112 | int(inner) << 64]
    carriers.append(0x2001 << 112 | int(inner) ^ 0xFFFFFFFF)
    for each in carriers:
        assert refusal(ipaddress.IPv6Address(each)) is not None


@given(ADDRESSES)
def test_what_the_operator_lists_is_taken(address: Address) -> None:
    listed = networks_in(str(address))
    assert refusal(address, listed) is None
    assert is_listed(address, listed)


def test_a_mapped_address_stands_for_its_ipv4_address_in_the_list() -> None:
    listed = networks_in("127.0.0.0/8, fd00::/8")
    assert refusal(ipaddress.ip_address("::ffff:127.0.0.1"), listed) is None
    assert refusal(ipaddress.ip_address("::ffff:10.0.0.1"), listed) is not None
    assert refusal(ipaddress.ip_address("::1"), listed) is not None
    assert refusal(ipaddress.ip_address("fd00::1"), listed) is None


def test_an_address_with_a_zone_is_refused_though_it_is_listed() -> None:
    assert refusal(ipaddress.ip_address("fe80::1%eth0"), networks_in("fe80::/10")) is not None


def forms_of(address: ipaddress.IPv4Address) -> set[str]:
    """Every way in which systems take an IPv4 address from text."""
    number, bytes_ = int(address), address.packed
    a, b, c, _ = bytes_
    tails = {1: number, 2: number & 0xFFFFFF, 3: number & 0xFFFF, 4: number & 0xFF}
    forms = set()
    for parts, tail in tails.items():
        numbers = [*(a, b, c)[: parts - 1], tail]
        for write in (str, hex, lambda n: f"0{n:o}", lambda n: f"0X{n:X}", lambda n: f"{n:#010x}"):
            forms.add(".".join(map(write, numbers)))
    return forms | {f"{form}." for form in forms}


@given(st.ip_addresses(v=4))
def test_every_form_of_an_address_is_read_as_the_system_reads_it(
    address: ipaddress.IPv4Address,
) -> None:
    for form in forms_of(address):
        assert literal(form) == address, form
        assert socket.inet_aton(form.removesuffix(".")) == address.packed


@pytest.mark.parametrize(
    "host", ["example.org", "localhost", "a.b.1x", "0x.example", "xn--80ak6aa92e.com", "7.example"]
)
def test_a_name_is_no_address(host: str) -> None:
    assert literal(host) is None


@pytest.mark.parametrize(
    "host",
    ["1.2.3.4.5", "256.1.1.1", "4294967296", "1.2.3.0x100", "09.1.1.1", "a.1", "::1::", "0x"],
)
def test_what_is_neither_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="address"):
        literal(host)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "localhost", "127.1", "10.0.0.0/33", "*", "::1%lo"])
def test_a_list_with_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no network"):
        networks_in(f"127.0.0.1,{text}")


def test_a_list_may_be_empty() -> None:
    assert networks_in(" , ") == ()
