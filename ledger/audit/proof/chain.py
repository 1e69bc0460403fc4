"""From a bundle to a record: every step of the proof is a rule of its own, with a verdict.

What makes an omission show: the header of every block is there, chained by parent hashes down from the block whose hash
the auditor knows. A header's bloom filter tells for certain that an account wrote no log in its block. Wherever it
can't tell, the block's receipts must be there, all of them, since their root is computed from the whole list. So no
event of ours can be left out without a hash that doesn't fit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Final

from contracts import artifacts
from ledger.abi import checksum_address, constructor, keccak256
from ledger.account import Transaction
from ledger.audit.bundle.content import Bundle, BundleStore
from ledger.audit.proof.body import Body, Receipt, read_receipt
from ledger.audit.proof.coding import encode, ordered_root, unsigned
from ledger.audit.proof.header import Header, read_header
from ledger.audit.record import Record, SignedCall, read_call
from ledger.audit.verdict import Tally, Verdict
from ledger.errors import EventInvalid, TransactionInvalid
from ledger.events import Event, decode_log
from ledger.stream import bloom_bits
from ledger.types import Address


@dataclass(frozen=True, slots=True)
class ProofRule:
    """What one step of the proof checks, and why."""

    name: str
    checks: str
    why: str


ANCHOR: Final = ProofRule(
    "anchor",
    "The history ends in a block whose hash the auditor got from somebody else than the exporter.",
    "All other proofs hang on this one hash: without it, a whole chain may have been made up.",
)
HEADERS: Final = ProofRule(
    "headers",
    "The headers of all blocks, from the contracts' first to the last, are chained by their parents' hashes.",
    "A header of another chain, or a missing one, breaks the chain.",
)
COMPLETE: Final = ProofRule(
    "complete",
    "Every block whose bloom filter doesn't rule out an event of the contracts is there with all its receipts.",
    "An event that is left out would else not be missed.",
)
RECEIPTS: Final = ProofRule(
    "receipts",
    "The receipts of each such block give its header's receipts root, and their logs its bloom filter.",
    "Events that no block holds are made up.",
)
TRANSACTIONS: Final = ProofRule(
    "transactions",
    "The transactions of each such block give its header's transactions root.",
    "They carry the sites' signatures.",
)
CONTRACTS: Final = ProofRule(
    "contracts",
    "Both contracts were created by this version's code, byte for byte, and belong to each other.",
    "Another program at that address may write any event that it likes.",
)
FILES: Final = ProofRule(
    "files",
    "Every manifest and chunk in the bundle has the hash by which it is called.",
    "A model or an update that was changed has another hash.",
)
PROOF_RULES: Final = (ANCHOR, HEADERS, COMPLETE, RECEIPTS, TRANSACTIONS, CONTRACTS, FILES)


@dataclass(frozen=True, slots=True)
class Proven:
    """What a bundle proves: the record, and how each step of the proof went."""

    record: Record
    verdicts: tuple[Verdict, ...]
    headers: tuple[Header, ...]


def prove(bundle: Bundle, anchor: bytes | None, model: bytes | None = None) -> Proven:
    """Take a bundle apart; raises BundleInvalid where its parts can't even be read."""
    headers = tuple(read_header(raw) for raw in bundle.headers)
    by_number = {header.block.number: header for header in headers}
    receipts = {body.number: tuple(map(read_receipt, body.receipts)) for body in bundle.bodies}
    logs = _Logs(bundle, by_number, receipts)
    store = BundleStore(bundle)
    verdicts = (
        _anchor(headers, logs.events, bundle.study, anchor),
        _headers(bundle, headers),
        _complete(bundle, headers),
        _receipts(bundle, by_number, receipts, logs.problems),
        _transactions(bundle, by_number),
        _contracts(bundle, receipts),
        _files(bundle, store),
    )
    record = Record(
        deployment=bundle.deployment,
        study=bundle.study,
        events=logs.events,
        blocks={header.block.number: header.block for header in headers},
        calls=logs.calls,
        unreadable=logs.unreadable,
        store=store,
        model=model,
    )
    return Proven(record, verdicts, headers)


class _Logs:
    """The events and signed calls of a bundle's bodies, in the order of the chain."""

    def __init__(
        self, bundle: Bundle, headers: Mapping[int, Header], receipts: Mapping[int, tuple[Receipt, ...]]
    ) -> None:
        self._names: dict[Address, str] = {bundle.deployment.consortium: "Consortium", bundle.deployment.study: "Study"}
        self._deployment = bundle.deployment
        self.problems: list[str] = []
        self.calls: dict[bytes, SignedCall] = {}
        self.unreadable: dict[bytes, str] = {}
        events: list[Event] = []
        for body in bundle.bodies:
            if body.number in headers:
                events += self._events(body, headers[body.number], receipts[body.number])
        self.events = tuple(events)

    def _events(self, body: Body, header: Header, receipts: tuple[Receipt, ...]) -> list[Event]:
        events: list[Event] = []
        index = 0
        for raw, receipt in zip(body.transactions, receipts, strict=False):
            tx = keccak256(raw)
            if receipt.succeeded:
                self._note_call(raw, tx)
            for log in receipt.logs:
                if log.address in self._names:
                    as_json = {
                        "topics": ["0x" + topic.hex() for topic in log.topics],
                        "data": "0x" + log.data.hex(),
                        "blockNumber": hex(body.number),
                        "logIndex": hex(index),
                        "transactionHash": "0x" + tx.hex(),
                        "blockHash": "0x" + header.block.hash.hex(),
                    }
                    try:
                        events.append(decode_log(self._names[log.address], as_json, header.block.timestamp))
                    except EventInvalid as error:
                        self.problems.append(str(error))
                index += 1
        return events

    def _note_call(self, raw: bytes, tx: bytes) -> None:
        try:
            call = read_call(raw, self._deployment)
        except TransactionInvalid as error:
            self.unreadable[tx] = str(error)
            return
        if call is not None:
            self.calls[tx] = call


def _verdict(rule: ProofRule, tally: Tally, said: str) -> Verdict:
    tally.said = said
    return tally.verdict(rule.name)


def _anchor(headers: tuple[Header, ...], events: tuple[Event, ...], study: int, anchor: bytes | None) -> Verdict:
    tally = Tally()
    last = max((event.at.block for event in events if getattr(event, "study", None) == study), default=0)
    found = next((header.block.number for header in headers if header.block.hash == anchor), None)
    if anchor is None:
        tally.leave_open(
            "no block hash was given: nothing ties this history to the real chain; ask a member that isn't the "
            "exporter for a block's hash (swarm-node audit block), and give it with --block"
        )
        return tally.verdict(ANCHOR.name)
    tally.check(found is not None, f"no block of this history has the hash {anchor.hex()}: it is another chain's")
    if found is not None and found < last:
        tally.leave_open(f"the given hash is block {found}'s: what came after it, up to block {last}, isn't proven")
    return _verdict(ANCHOR, tally, f"the given hash is that of block {found}, at or after the study's last event")


def _headers(bundle: Bundle, headers: tuple[Header, ...]) -> Verdict:
    tally = Tally()
    first = bundle.deployment.block
    begins = bool(headers) and headers[0].block.number == first
    tally.check(begins, f"the headers don't begin with block {first}, the contracts' first")
    for before, after in pairwise(headers):
        follows = after.block.number == before.block.number + 1 and after.parent == before.block.hash
        where = f"block {after.block.number} doesn't follow on block {before.block.number}"
        tally.check(follows, f"{where}: they are of two chains, or one between is missing", block=after.block.number)
    return _verdict(HEADERS, tally, f"{len(headers)} headers, each naming the one before by its hash")


def _complete(bundle: Bundle, headers: tuple[Header, ...]) -> Verdict:
    tally = Tally()
    there = [body.number for body in bundle.bodies]
    tally.check(there == sorted(set(there)), "bodies are out of order, or there twice")
    known = {header.block.number for header in headers}
    tally.check(known.issuperset(there), "there are bodies of blocks without a header")
    bits = [bloom_bits(address) for address in (bundle.deployment.consortium, bundle.deployment.study)]
    bodies = set(there)
    for header in headers:
        if any(header.may_hold(one) for one in bits):
            number = header.block.number
            tally.check(number in bodies, f"block {number} may hold events, and its receipts are missing", block=number)
    return _verdict(COMPLETE, tally, f"{len(bodies)} blocks may hold events and are there; the others can't hold any")


def _receipts(
    bundle: Bundle,
    headers: Mapping[int, Header],
    receipts: Mapping[int, tuple[Receipt, ...]],
    problems: list[str],
) -> Verdict:
    tally = Tally()
    for problem in problems:
        tally.check(False, problem)
    for body in bundle.bodies:
        header, number = headers.get(body.number), body.number
        if header is None:
            continue
        counts = len(body.receipts) == len(body.transactions)
        tally.check(counts, f"block {number} has another number of receipts than of transactions", block=number)
        root = ordered_root(body.receipts) == header.receipts_root
        tally.check(root, f"the receipts of block {number} aren't those that its header commits to", block=number)
        bloom = _bloom(receipts[number]) == header.bloom
        tally.check(bloom, f"the bloom filter of block {number} isn't that of its logs", block=number)
    return _verdict(RECEIPTS, tally, f"{len(bundle.bodies)} blocks hold exactly these receipts")


def _bloom(receipts: tuple[Receipt, ...]) -> int:
    logs = [log for receipt in receipts for log in receipt.logs]
    words = [log.address for log in logs] + ["0x" + topic.hex() for log in logs for topic in log.topics]
    return reduce(lambda bloom, text: bloom | bloom_bits(text), words, 0)


def _transactions(bundle: Bundle, headers: Mapping[int, Header]) -> Verdict:
    tally = Tally()
    for body in bundle.bodies:
        header, number = headers.get(body.number), body.number
        if header is not None:
            root = ordered_root(body.transactions) == header.transactions_root
            tally.check(
                root, f"the transactions of block {number} aren't those that its header commits to", block=number
            )
    return _verdict(TRANSACTIONS, tally, f"{len(bundle.bodies)} blocks hold exactly these transactions")


def _contracts(bundle: Bundle, receipts: Mapping[int, tuple[Receipt, ...]]) -> Verdict:
    tally = Tally()
    deployment = bundle.deployment
    created = _created(bundle, receipts)
    for name, address in (("Consortium", deployment.consortium), ("Study", deployment.study)):
        code = created.get(address)
        if (
            not tally.check(code is not None, f"no transaction of this history created {name} at {address}")
            or code is None
        ):
            continue
        artifact = artifacts.load("Consortium" if name == "Consortium" else "Study")
        ours = code.startswith(artifact.bytecode)
        tally.check(
            ours, f"what was created at {address} isn't this version's {name}; use the version that deployed it"
        )
        if name == "Study" and ours:
            argument = constructor(artifact.abi).encode([deployment.consortium])
            belongs = code[len(artifact.bytecode) :] == argument
            tally.check(belongs, "the studies were created for another consortium")
    return _verdict(CONTRACTS, tally, "both contracts were created by this version's code, and belong to each other")


def _created(bundle: Bundle, receipts: Mapping[int, tuple[Receipt, ...]]) -> dict[Address, bytes]:
    """Give the code, with its arguments, by which each contract in the bodies was created, by its address."""
    created: dict[Address, bytes] = {}
    for body in bundle.bodies:
        for raw, receipt in zip(body.transactions, receipts[body.number], strict=False):
            try:
                transaction = Transaction.from_raw(raw)
            except TransactionInvalid:
                continue
            if transaction.to is None and receipt.succeeded:
                created[created_address(transaction.sender, transaction.nonce)] = transaction.call
    return created


def created_address(sender: Address, nonce: int) -> Address:
    """Give the address of the contract that an account's transaction of this nonce creates."""
    return checksum_address(keccak256(encode([bytes.fromhex(sender[2:]), unsigned(nonce)]))[12:])


def _files(bundle: Bundle, store: BundleStore) -> Verdict:
    tally = Tally(checked=len(bundle.manifests) + len(bundle.chunks))
    for problem in store.problems:
        tally.check(False, problem)
    used = {chunk for manifest in store.manifests.values() for chunk in manifest.chunks}
    stray = bundle.chunks - used
    tally.check(not stray, f"{len(stray)} chunks belong to no manifest")
    return _verdict(
        FILES, tally, f"{len(bundle.manifests)} manifests and {len(bundle.chunks)} chunks are what they are called"
    )
