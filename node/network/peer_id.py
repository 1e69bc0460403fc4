"""One key, two names: a site's Ethereum address and its libp2p peer ID come from the same secp256k1 public key."""

from coincurve import PublicKey
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.peer.id import ID
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from node.network.port import Address

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


def dial_target(address: Address, text: str) -> tuple[ID, Multiaddr]:
    """Peer ID and transport address of a published multiaddr; raises ValueError where it isn't that member's."""
    try:
        whole = Multiaddr(text)
        peer = ID.from_string(whole.value_for_protocol("p2p"))
        transport = whole.decapsulate(f"/p2p/{peer}")
        transport.value_for_protocol("tcp")
    except (MultiaddrError, ValueError, LookupError) as error:
        raise ValueError(f"{text!r} is not a TCP multiaddr with a /p2p/ suffix ({type(error).__name__})") from None
    if address_of(peer) != address:
        raise ValueError(f"{text!r} names the key of {address_of(peer)}")
    return peer, transport
