"""Where a validator is reached: an IP address or a host name, in its one canonical spelling."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from ledger.errors import QbftInvalid

_MAX_NAME: Final = 253
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


def canonical_host(text: str) -> str:
    """Spell a host as enode URLs do, without brackets; raises QbftInvalid for what no peer could dial."""
    address = as_address(text)
    if address is None:
        return _canonical_name(text)
    if address.is_unspecified or address.is_multicast or address == IPv4Address("255.255.255.255"):
        raise QbftInvalid(f"{text} is not the address of one machine; give the one that the other hospitals dial")
    if isinstance(address, IPv6Address) and (address.scope_id or address.ipv4_mapped):
        raise QbftInvalid(f"{text} means something on one machine only; give a plain IPv4 or global IPv6 address")
    return str(address)


def as_address(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address that a host is, or None where it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Whether a canonical host means the machine that asks."""
    address = as_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def in_url(host: str) -> str:
    """Spell a canonical host for a URL: IPv6 goes in brackets."""
    return f"[{host}]" if ":" in host else host


def _canonical_name(text: str) -> str:
    name = text.lower()
    labels = name.split(".")
    if len(name) > _MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise QbftInvalid(f"{text[:300]!r} is neither an IP address nor a host name")
    return name
