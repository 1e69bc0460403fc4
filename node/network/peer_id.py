"""One key, two names: a site's Ethereum address and its libp2p peer ID come from the same secp256k1 public key."""

from dataclasses import dataclass
from ipaddress import ip_address

from coincurve import PublicKey
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.peer.id import ID
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from node.network.port import Address

MAX_MULTIADDR = 256  # as on the ledger
_PREFIX = bytes([0x00, 37, 0x08, 0x02, 0x12, 33])  # identity multihash of a protobuf: type Secp256k1, 33 bytes of key


def key_pair(secret: bytes) -> KeyPair:
    """The libp2p key pair of a 32-byte secp256k1 private key."""
    return create_new_key_pair(secret)


def peer_id(secret: bytes) -> ID:
    """The peer ID of a 32-byte secp256k1 private key."""
    return ID.from_pubkey(key_pair(secret).public_key)


def address_of(peer: ID) -> Address:
    """The checksummed Ethereum address of a peer; raises ValueError where its key isn't secp256k1."""
    raw = peer.to_bytes()
    if not raw.startswith(_PREFIX) or len(raw) != len(_PREFIX) + 33:
        raise ValueError(f"peer {peer} has no secp256k1 key")
    point = PublicKey(raw[len(_PREFIX) :]).format(compressed=False)
    return str(to_checksum_address(keccak(point[1:])[-20:]))


@dataclass(frozen=True, slots=True)
class Route:
    """A way to a member: its peer ID, and a TCP address or the relay that it can be called through."""

    peer: ID
    target: Multiaddr | None
    relay: Address | None


def route(address: Address, text: str) -> Route:
    """The way that a multiaddr of a member describes; raises ValueError where it isn't that member's, or no way.

    Of a relayed one only the names count: the relay is a member, and known where it is.
    """
    if len(text) > MAX_MULTIADDR:
        raise ValueError(f"an address of {len(text)} characters, at most {MAX_MULTIADDR} are allowed")
    before, circuit, after = text.partition("/p2p-circuit")
    if not circuit:
        peer, target = dial_target(address, text)
        return Route(peer, target, None)
    peer = _named(address, after)
    try:
        return Route(peer, None, address_of(ID.from_string(Multiaddr(before).value_for_protocol("p2p"))))
    except (MultiaddrError, ValueError, LookupError) as error:
        raise ValueError(f"{text!r} names no relay ({type(error).__name__})") from None


def circuit_address(relay: ID, peer: ID) -> str:
    """The multiaddr of a member behind a relay: short, and true wherever the relay moves."""
    return f"/p2p/{relay}/p2p-circuit/p2p/{peer}"


def tcp_address(endpoint: tuple[str, int]) -> str:
    """The multiaddr of a socket's address."""
    host = ip_address(endpoint[0].partition("%")[0])
    return f"/ip{host.version}/{host}/tcp/{endpoint[1]}"


def dial_target(address: Address, text: str) -> tuple[ID, Multiaddr]:
    """Peer ID and transport address of a published multiaddr; raises ValueError where it isn't that member's."""
    try:
        whole = Multiaddr(text)
        peer = ID.from_string(whole.value_for_protocol("p2p"))
        transport = whole.decapsulate(f"/p2p/{peer}")
        transport.value_for_protocol("tcp")
    except (MultiaddrError, ValueError, LookupError) as error:
        raise ValueError(f"{text!r} is not a TCP multiaddr with a /p2p/ suffix ({type(error).__name__})") from None
    return _of(address, peer, text), transport


def _named(address: Address, text: str) -> ID:
    try:
        peer = ID.from_string(Multiaddr(text).value_for_protocol("p2p"))
    except (MultiaddrError, ValueError, LookupError) as error:
        raise ValueError(f"{text!r} doesn't end with a peer ID ({type(error).__name__})") from None
    return _of(address, peer, text)


def _of(address: Address, peer: ID, text: str) -> ID:
    if address_of(peer) != address:
        raise ValueError(f"{text!r} names the key of {address_of(peer)}")
    return peer
