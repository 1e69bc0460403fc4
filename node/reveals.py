"""A site's hash chain: its contribution to the randomness of every election of one study."""

import hashlib
import hmac

from eth_hash.auto import keccak

from node.errors import NodeError


class RevealChain:
    """Links keccak^n(seed) .. keccak(seed), seed; the tip is deposited at acceptance, each commit reveals the next.

    The seed follows from the site's private key and the study alone, so a node that lost everything but its key
    still knows its place: the last link it revealed is on the ledger.
    """

    def __init__(self, key: bytes, chain_id: int, contract: str, study: int, length: int) -> None:
        context = f"swarm-reveal-chain|{chain_id}|{contract.lower()}|{study}".encode()
        link = hmac.new(key, context, hashlib.sha256).digest()
        self._preimages: dict[bytes, bytes] = {}
        for _ in range(length):
            image: bytes = keccak(link)
            self._preimages[image] = link
            link = image
        self.tip = link

    def reveal(self, last: bytes) -> bytes:
        """The preimage of the link revealed last (of the tip, the first time)."""
        try:
            return self._preimages[last]
        except KeyError:
            raise NodeError("this site's hash chain is used up, or is not the one it deposited at acceptance") from None


def chain_length(rounds: int) -> int:
    """Links for a study of that many rounds, with room for rounds that are retried."""
    return 4 * (rounds + 1) + 64
