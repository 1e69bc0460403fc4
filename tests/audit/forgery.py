"""What an exporter, or whoever runs the chain, could do to a history: changed parts, or a whole chain made anew.

`Forge` takes a bundle's chain apart into events and transactions, has them changed, and puts a chain together again in
which every root, bloom filter and parent hash fits: what is then still wrong, only the rules over the record can see.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import rlp

from ledger.abi import keccak256
from ledger.audit.bundle.content import Bundle
from ledger.audit.proof.body import Body, read_receipt
from ledger.audit.proof.coding import ordered_root
from ledger.audit.proof.header import read_header
from ledger.events import Event, decode_log
from ledger.memory import encode_log
from ledger.stream import bloom_bits

Which = Callable[[Any], bool]
PARENT, TRANSACTIONS, RECEIPTS, BLOOM = 0, 4, 5, 6


@dataclass
class ForgedReceipt:
    """One transaction and what it did."""

    transaction: bytes
    kind: bytes
    status: bytes
    gas: bytes
    events: list[Event]

    def encode(self, addresses: dict[str, str]) -> tuple[bytes, int]:
        """Give the receipt's bytes, and its bloom filter."""
        logs, bloom = [], 0
        for event in self.events:
            contract = "Study" if hasattr(event, "study") else "Consortium"
            log = encode_log(addresses[contract], event)
            for word in (log["address"], *log["topics"]):
                bloom |= bloom_bits(word)
            parts = log["address"], log["topics"], log["data"]
            address, topics, data = parts
            logs.append(
                [bytes.fromhex(address[2:]), [bytes.fromhex(one[2:]) for one in topics], bytes.fromhex(data[2:])]
            )
        return self.kind + rlp.encode([self.status, self.gas, bloom.to_bytes(256, "big"), logs]), bloom


class Forge:
    """A chain that is being made anew."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.addresses = {"Consortium": bundle.deployment.consortium, "Study": bundle.deployment.study}
        self.headers: list[list[bytes]] = [rlp.decode(raw) for raw in bundle.headers]
        self.blocks: dict[int, list[ForgedReceipt]] = {body.number: self._open(body) for body in bundle.bodies}

    def _open(self, body: Body) -> list[ForgedReceipt]:
        header = read_header(self.bundle.headers[body.number - self.bundle.deployment.block])
        receipts, index = [], 0
        for transaction, raw in zip(body.transactions, body.receipts, strict=True):
            kind = raw[:1] if raw[0] <= 0x7F else b""
            status, gas, _, _ = rlp.decode(raw[len(kind) :])
            events = []
            for log in read_receipt(raw).logs:
                contract = next(name for name, address in self.addresses.items() if address == log.address)
                as_json = {
                    "topics": ["0x" + topic.hex() for topic in log.topics],
                    "data": "0x" + log.data.hex(),
                    "blockNumber": hex(body.number),
                    "logIndex": hex(index),
                    "transactionHash": "0x" + keccak256(transaction).hex(),
                    "blockHash": "0x" + header.block.hash.hex(),
                }
                events.append(decode_log(contract, as_json, header.block.timestamp))
                index += 1
            receipts.append(ForgedReceipt(transaction, kind, status, gas, events))
        return receipts

    # -- what can be changed ---------------------------------------------------------------------------------------

    def _receipts(self) -> list[ForgedReceipt]:
        return [receipt for number in sorted(self.blocks) for receipt in self.blocks[number]]

    def all(self, kind: type[Event], which: Which = lambda _: True) -> list[Any]:
        """Every event of a kind."""
        return [event for one in self._receipts() for event in one.events if isinstance(event, kind) and which(event)]

    def receipt_of(self, event: Event) -> ForgedReceipt:
        """What brought an event about."""
        return next(one for one in self._receipts() if any(other is event for other in one.events))

    def edit(self, kind: type[Event], change: Callable[[Any], Event | None], which: Which = lambda _: True) -> "Forge":
        """Change every event of a kind, or take it out."""
        changed = 0
        for receipt in self._receipts():
            after: list[Event] = []
            for event in receipt.events:
                hit = isinstance(event, kind) and which(event)
                changed += hit
                made = change(event) if hit else event
                after += [made] if made is not None else []
            receipt.events = after
        assert changed, f"there is no such {kind.__name__}"
        return self

    def set(self, kind: type[Event], which: Which = lambda _: True, **fields: Any) -> "Forge":
        """Give events of a kind other fields."""
        return self.edit(kind, lambda event: replace(event, **fields), which)

    def drop(self, kind: type[Event], which: Which = lambda _: True) -> "Forge":
        """Take events of a kind out."""
        return self.edit(kind, lambda _: None, which)

    def first(self, kind: type[Event], which: Which = lambda _: True) -> Any:
        """The first event of a kind."""
        return self.all(kind, which)[0]

    def move(self, event: Event, after: Event) -> "Forge":
        """Put an event behind another one, into its transaction's receipt."""
        home = self.receipt_of(event)
        home.events = [other for other in home.events if other is not event]
        return self.insert(event, after)

    def insert(self, event: Event, after: Event) -> "Forge":
        """Put an event in behind another one."""
        receipt = self.receipt_of(after)
        index = next(at for at, other in enumerate(receipt.events) if other is after)
        receipt.events.insert(index + 1, event)
        return self

    # -- the chain anew --------------------------------------------------------------------------------------------

    def forged(self) -> Bundle:
        """Put the chain together: every root, bloom filter and parent hash fits."""
        bodies, headers = [], []
        parent: bytes | None = None
        for offset, fields in enumerate(self.headers):
            number = self.bundle.deployment.block + offset
            made = list(fields)
            if number in self.blocks:
                receipts = self.blocks[number]
                encoded = [receipt.encode(self.addresses) for receipt in receipts]
                body = Body(number, tuple(one.transaction for one in receipts), tuple(raw for raw, _ in encoded))
                bloom = 0
                for _, one in encoded:
                    bloom |= one
                made[TRANSACTIONS], made[RECEIPTS] = ordered_root(body.transactions), ordered_root(body.receipts)
                made[BLOOM] = bloom.to_bytes(256, "big")
                bodies.append(body)
            if parent is not None:
                made[PARENT] = parent
            headers.append(rlp.encode(made))
            parent = keccak256(headers[-1])
        return replace(self.bundle, headers=tuple(headers), bodies=tuple(bodies))


def relink(bundle: Bundle, first: int = 1) -> Bundle:
    """Chain the headers anew from some header on, as whoever runs the chain could."""
    headers = list(bundle.headers)
    for index in range(first, len(headers)):
        fields = rlp.decode(headers[index])
        fields[PARENT] = keccak256(headers[index - 1])
        headers[index] = rlp.encode(fields)
    return replace(bundle, headers=tuple(headers))


def head_of(bundle: Bundle) -> bytes:
    """The hash of a bundle's last block."""
    return read_header(bundle.headers[-1]).block.hash
