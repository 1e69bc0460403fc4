"""Making a bundle from a chain's node and the blobs of a site."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ledger.abi import checksum_address
from ledger.audit.bundle.content import Bundle
from ledger.audit.proof.body import Body, receipt_bytes, transaction_bytes
from ledger.audit.proof.chain import created_address
from ledger.audit.proof.coding import ordered_root
from ledger.audit.proof.header import header_bytes, read_header
from ledger.client import Ledger
from ledger.errors import BundleUnmakeable, RpcRefused
from ledger.rpc import Rpc, block_header, quantity
from ledger.state import LedgerState, StudyState
from ledger.stream import EventStream, bloom_bits
from ledger.types import Address
from swarm.blobs import BlobStore
from swarm.errors import BlobError, SpecificationError
from swarm.manifest import Manifest
from swarm.spec import StudySpec


def make_bundle(ledger: Ledger, study: int, stores: Sequence[BlobStore], *, blobs: bool = False) -> Bundle:
    """Put together what proves a study, up to the chain's newest block.

    Manifests are taken from the stores as far as they are there, and with `blobs` their chunks. Raises
    BundleUnmakeable, or RpcError.
    """
    head = ledger.head().number
    state = LedgerState().fold(event for event in EventStream(ledger).poll() if event.at.block <= head)
    if study not in state.studies:
        raise BundleUnmakeable(f"there is no study {study} on the ledger; it has {len(state.studies)}")
    headers, bodies = _blocks(ledger, head)
    manifests, chunks = _files(state.studies[study], stores)

    def read_chunk(digest: bytes) -> bytes:
        store, blob, index = chunks[digest]
        return store.read_chunk(blob, index)

    return Bundle(
        deployment=ledger.deployment,
        study=study,
        headers=headers,
        bodies=bodies,
        manifests=manifests,
        chunks=frozenset(chunks) if blobs else frozenset(),
        read_chunk=read_chunk,
    )


def _blocks(ledger: Ledger, head: int) -> tuple[tuple[bytes, ...], tuple[Body, ...]]:
    """Read every header from the deployment's block on, and the bodies that an auditor needs."""
    deployment, rpc = ledger.deployment, ledger.rpc
    bits = [bloom_bits(address) for address in (deployment.consortium, deployment.study)]
    uncreated = {deployment.consortium, deployment.study}
    headers, bodies = [], []
    for number in range(deployment.block, head + 1):
        raw = header_bytes(block_header(rpc, quantity(number)))
        header = read_header(raw)
        headers.append(raw)
        wanted = any(header.may_hold(one) for one in bits)
        if wanted or uncreated:
            full = rpc.call("eth_getBlockByNumber", quantity(number), True)
            created = uncreated & set(_creations(full))
            uncreated -= created
            if wanted or created:
                bodies.append(_body(rpc, number, full, header.transactions_root, header.receipts_root))
    return tuple(headers), tuple(bodies)


def _creations(block: Mapping[str, Any]) -> Iterator[Address]:
    for transaction in block["transactions"]:
        if transaction.get("to") is None:
            sender = checksum_address(bytes.fromhex(transaction["from"][2:]))
            yield created_address(sender, int(transaction["nonce"], 16))


def _body(rpc: Rpc, number: int, block: Mapping[str, Any], transactions_root: bytes, receipts_root: bytes) -> Body:
    transactions = tuple(transaction_bytes(one) for one in block["transactions"])
    receipts = tuple(receipt_bytes(one) for one in _receipts(rpc, number, block))
    if ordered_root(transactions) != transactions_root or ordered_root(receipts) != receipts_root:
        raise BundleUnmakeable(
            f"the chain's node gives transactions or receipts of block {number} that don't fit its header"
        )
    return Body(number, transactions, receipts)


def _receipts(rpc: Rpc, number: int, block: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    try:
        receipts: list[Mapping[str, Any]] = rpc.call("eth_getBlockReceipts", quantity(number))
    except RpcRefused:  # older nodes don't have the method
        hashes = [transaction["hash"] for transaction in block["transactions"]]
        receipts = [rpc.call("eth_getTransactionReceipt", digest) for digest in hashes]
    return receipts


_Chunks = dict[bytes, tuple[BlobStore, bytes, int]]


def _files(study: StudyState, stores: Sequence[BlobStore]) -> tuple[dict[bytes, bytes], _Chunks]:
    """Find the blobs that the ledger ties to the study, and where their chunks are."""
    manifests: dict[bytes, bytes] = {}
    chunks: _Chunks = {}
    for blob in sorted(_blobs_of(study)):
        found = next(((store, manifest) for store in stores if (manifest := _manifest(store, blob)) is not None), None)
        if found is None:
            continue
        store, manifest = found
        manifests[blob] = manifest.encode()
        for index, digest in enumerate(manifest.chunks):
            chunks.setdefault(digest, (store, blob, index))
    return manifests, chunks


def _manifest(store: BlobStore, blob: bytes) -> Manifest | None:
    try:
        return store.manifest(blob) if store.has(blob) else None
    except (BlobError, OSError):
        return None


def _blobs_of(study: StudyState) -> set[bytes]:
    """Every blob that the ledger ties to a study."""
    found = {commit.commitment.blob for one in study.rounds for commit in one.all_commits()}
    found |= {commit.commitment.blob for commit in (*study.upcoming.values(), *study.voided)}
    found |= {term.publication.output for one in study.rounds for term in one.terms if term.publication is not None}
    try:
        return found | {StudySpec.from_json(study.spec).initial}
    except SpecificationError:
        return found
