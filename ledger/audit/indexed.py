"""A record from the index: what a member's own service judges, which trusts its own chain's node."""

from collections.abc import Iterable, Mapping

from ledger.abi import keccak256
from ledger.audit.proof.body import transaction_bytes
from ledger.audit.record import Record, SignedCall, read_call
from ledger.deployment import Deployment
from ledger.errors import BundleUnmakeable, TransactionInvalid
from ledger.events import Event, UpdateCommitted
from ledger.index import IndexStore, Queries
from ledger.rpc import Rpc, block_header, data, quantity
from ledger.types import Block
from swarm.blobs import BlobStore
from swarm.memory_store import MemoryStore


def indexed_record(
    store: IndexStore,
    study: int,
    blobs: BlobStore | None = None,
    rpc: Rpc | None = None,
    known: Mapping[bytes, SignedCall] | None = None,
) -> Record:
    """Make the record of a study from the index, and from the blobs that are at hand.

    Signed transactions, and the blocks that signers saw, are not in the index: without the node behind `rpc` the rules
    on signatures and history are not decidable. `known` are calls read before, by hash: none is read twice.
    """
    events = tuple(Queries(store).all_events())
    blocks = {event.at.block: Block(event.at.block, event.at.block_hash, event.at.timestamp) for event in events}
    calls: dict[bytes, SignedCall] | None = None
    unreadable: dict[bytes, str] = {}
    if rpc is not None:
        calls = dict(known or {})
        own = [event for event in events if getattr(event, "study", study) == study]
        _read_calls(rpc, store.deployment, own, calls, unreadable)
        blocks |= {block.number: block for block in _seen_blocks(rpc, own, blocks)}
    return Record(
        deployment=store.deployment,
        study=study,
        events=events,
        blocks=blocks,
        calls=calls,
        unreadable=unreadable,
        store=blobs if blobs is not None else MemoryStore(),
    )


def _read_calls(
    rpc: Rpc,
    deployment: Deployment,
    events: Iterable[Event],
    calls: dict[bytes, SignedCall],
    unreadable: dict[bytes, str],
) -> None:
    """Read the transactions that brought events about, and recover who signed them."""
    for tx in dict.fromkeys(event.at.tx for event in events):
        if tx in calls:
            continue
        found = rpc.call("eth_getTransactionByHash", data(tx))
        try:
            raw = transaction_bytes(found) if found is not None else b""
            call = read_call(raw, deployment) if keccak256(raw) == tx else None
        except (BundleUnmakeable, TransactionInvalid) as error:
            unreadable[tx] = str(error)
            continue
        if call is not None:
            calls[tx] = call


def _seen_blocks(rpc: Rpc, events: Iterable[Event], known: Mapping[int, Block]) -> list[Block]:
    """Read the blocks that commits name and that hold no event."""
    seen = {event.commitment.seen_block for event in events if isinstance(event, UpdateCommitted)}
    head = int(rpc.call("eth_blockNumber"), 16)
    headers = (block_header(rpc, quantity(number)) for number in sorted(seen - known.keys()) if number <= head)
    return [Block(int(one["number"], 16), bytes.fromhex(one["hash"][2:]), int(one["timestamp"], 16)) for one in headers]
