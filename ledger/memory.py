"""A chain in memory, behind the same port as a real node: for tests, and for showing a client every kind of trouble."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from ledger import abi
from ledger.account import Transaction
from ledger.errors import RpcRefused, RpcUnreachable
from ledger.events import Event
from ledger.rpc import Rpc, data, quantity
from ledger.stream import bloom_bits
from ledger.types import Address

RawLog = dict[str, Any]
Execute = Callable[[Transaction], Sequence[RawLog]]


def encode_log(address: Address, event: Event) -> RawLog:
    """Write an event as the raw log that its contract would emit; the chain adds where it stands."""
    shapes = [shape for name in ("Consortium", "Study") for shape in abi.interface(name).events.values()]
    shape = next(shape for shape in shapes if shape.name == type(event).__name__)
    topics = [parameter.encode([getattr(event, name)]) for name, parameter in shape.topics]
    body = shape.data.encode([getattr(event, item.name) for item in shape.data.items])
    return {"address": address, "topics": [data(shape.topic), *map(data, topics)], "data": data(body)}


@dataclass(slots=True)
class _Block:
    number: int
    hash: str
    parent: str
    timestamp: int
    logs: list[RawLog] = field(default_factory=list)
    transactions: list[str] = field(default_factory=list)

    def header(self) -> dict[str, Any]:
        bloom = 0
        for log in self.logs:
            bloom |= bloom_bits(log["address"])
        return {
            "number": quantity(self.number),
            "hash": self.hash,
            "parentHash": self.parent,
            "timestamp": quantity(self.timestamp),
            "logsBloom": quantity(bloom),
            "transactions": list(self.transactions),
        }


class MemoryChain:
    """Mines a block for each transaction, or when told to; `execute` gives a transaction's logs, or raises to revert.

    `waits` says whether it knows eth_sendRawTransactionSync, `dates_logs` whether its logs have their block's time,
    `block_seconds` how far apart its blocks are. Safe to use from several threads.
    """

    def __init__(
        self,
        *,
        chain_id: int = 1,
        execute: Execute | None = None,
        waits: bool = True,
        automine: bool = True,
        dates_logs: bool = True,
        block_seconds: int = 1,
    ) -> None:
        self.chain_id = chain_id
        self._block_seconds = block_seconds
        self.automine = automine
        self._execute: Execute = execute if execute is not None else lambda _: ()
        self._waits = waits
        self._dates_logs = dates_logs
        self._lock = threading.RLock()
        self._salt = 0
        self._pool: dict[str, Transaction] = {}
        self._receipts: dict[str, dict[str, Any]] = {}
        self._nonces: dict[str, int] = {}
        self._blocks: list[_Block] = []
        self._add_block([], [])

    def call(self, method: str, *params: Any) -> Any:
        """Answer as a node would; raises RpcRefused."""
        answer = getattr(self, f"_{method}", None)
        if answer is None:
            raise RpcRefused(-32601, f"Method not found: {method}")
        with self._lock:
            return answer(*params)

    def mine(self, *logs: RawLog) -> int:
        """Mine everything that waits, and these logs besides; gives the block's number."""
        with self._lock:
            return self._mine(logs)

    def reset(self) -> None:
        """Begin another history, as a devnet does that was started anew."""
        with self._lock:
            self._salt += 1
            for store in (self._pool, self._receipts, self._nonces):
                store.clear()
            self._blocks.clear()
            self._add_block([], [])

    def rewrite(self, depth: int) -> None:
        """Put other blocks in the place of the newest ones."""
        with self._lock:
            self._salt += 1
            del self._blocks[-depth:]
            for _ in range(depth):
                self._add_block([], [])

    def drop_pool(self) -> None:
        """Forget the transactions that wait, as a node does that restarts."""
        with self._lock:
            self._pool.clear()

    def _add_block(self, logs: list[RawLog], transactions: list[str]) -> _Block:
        number = len(self._blocks)
        parent = self._blocks[-1].hash if self._blocks else data(bytes(32))
        digest = abi.keccak256(f"{number} {parent} {self._salt} {transactions} {logs}".encode())
        timestamp = 1_700_000_000 + number * self._block_seconds
        block = _Block(number, data(digest), parent, timestamp, logs, transactions)
        for index, log in enumerate(logs):
            log["blockNumber"], log["blockHash"], log["logIndex"] = quantity(number), block.hash, quantity(index)
            log.setdefault("transactionHash", data(bytes(32)))
            if self._dates_logs:
                log["blockTimestamp"] = quantity(block.timestamp)
        self._blocks.append(block)
        return block

    def _mine(self, extra: Sequence[RawLog]) -> int:
        logs: list[RawLog] = []
        done: list[tuple[str, Transaction, list[RawLog], bool]] = []
        for digest, transaction in list(self._pool.items()):
            if transaction.nonce != self._nonces.get(transaction.sender, 0):
                continue
            del self._pool[digest]
            self._nonces[transaction.sender] = transaction.nonce + 1
            try:
                own = [{**log, "transactionHash": digest} for log in self._execute(transaction)]
                done.append((digest, transaction, own, True))
            except RpcRefused:
                own = []
                done.append((digest, transaction, own, False))
            logs += own
        block = self._add_block([*logs, *(dict(log) for log in extra)], [digest for digest, *_ in done])
        for digest, transaction, own, worked in done:
            self._receipts[digest] = {
                "transactionHash": digest,
                "blockNumber": quantity(block.number),
                "blockHash": block.hash,
                "status": quantity(worked),
                "gasUsed": quantity(21_000),
                "from": transaction.sender,
                "logs": own,
            }
        return block.number

    # -- the methods of a node -----------------------------------------------------------------------------------

    def _eth_chainId(self) -> str:  # noqa: N802
        return quantity(self.chain_id)

    def _eth_blockNumber(self) -> str:  # noqa: N802
        return quantity(len(self._blocks) - 1)

    def _eth_getBlockByNumber(self, number: str, _full: bool) -> dict[str, Any] | None:  # noqa: N802
        index = len(self._blocks) - 1 if number == "latest" else int(number, 16)
        return self._blocks[index].header() if index < len(self._blocks) else None

    def _eth_getLogs(self, query: Mapping[str, Any]) -> list[RawLog]:  # noqa: N802
        if "blockHash" in query:
            blocks = [block for block in self._blocks if block.hash == query["blockHash"]]
            if not blocks:
                raise RpcRefused(-32000, "unknown block")
        else:
            blocks = self._blocks[int(query["fromBlock"], 16) : int(query["toBlock"], 16) + 1]
        wanted = {address.lower() for address in query["address"]}
        return [dict(log) for block in blocks for log in block.logs if log["address"].lower() in wanted]

    def _eth_getTransactionCount(self, account: str, when: str) -> str:  # noqa: N802
        nonce = self._nonces.get(account, 0)
        waiting = {transaction.nonce for transaction in self._pool.values() if transaction.sender == account}
        while when == "pending" and nonce in waiting:
            nonce += 1
        return quantity(nonce)

    def _eth_sendRawTransaction(self, raw: str) -> str:  # noqa: N802
        transaction = Transaction.from_raw(bytes.fromhex(raw[2:]))
        digest = data(abi.keccak256(bytes.fromhex(raw[2:])))
        if digest in self._pool:
            raise RpcRefused(-32003, "transaction already imported")
        if transaction.nonce < self._nonces.get(transaction.sender, 0):
            raise RpcRefused(-32003, "nonce too low")
        if any((other.sender, other.nonce) == (transaction.sender, transaction.nonce) for other in self._pool.values()):
            raise RpcRefused(-32003, "replacement transaction underpriced")
        self._pool[digest] = transaction
        if self.automine:
            self._mine(())
        return digest

    def _eth_sendRawTransactionSync(self, raw: str) -> dict[str, Any]:  # noqa: N802
        if not self._waits:
            raise RpcRefused(-32601, "Method not found: eth_sendRawTransactionSync")
        digest = self._eth_sendRawTransaction(raw)
        if digest not in self._receipts:
            raise RpcRefused(4, "Transaction confirmation timeout")
        return self._receipts[digest]

    def _eth_getTransactionReceipt(self, digest: str) -> dict[str, Any] | None:  # noqa: N802
        return self._receipts.get(digest)

    def _eth_getTransactionByHash(self, digest: str) -> dict[str, Any] | None:  # noqa: N802
        return {"hash": digest} if digest in self._pool or digest in self._receipts else None


class Trouble(Enum):
    """What can go wrong with one call."""

    UNREACHABLE = auto()  # the call is never sent
    CUT_BEFORE = auto()  # the connection dies before the node has read the call
    CUT_AFTER = auto()  # the node acts, and its answer is lost
    BEHIND = auto()  # the node answers as it would have some blocks ago


class TroubledRpc:
    """A node with trouble: `next_trouble` is asked before each call, and says what befalls it."""

    def __init__(self, rpc: Rpc, next_trouble: Callable[[str], Trouble | None], *, behind: int = 3) -> None:
        self._rpc = rpc
        self._next_trouble = next_trouble
        self._behind = behind

    def call(self, method: str, *params: Any) -> Any:
        """Call the real node, unless trouble comes first."""
        trouble = self._next_trouble(method)
        if trouble is Trouble.UNREACHABLE:
            raise RpcUnreachable("nobody listens", may_have_acted=False)
        if trouble is Trouble.CUT_BEFORE:
            raise RpcUnreachable("the connection broke")
        answer = self._rpc.call(method, *params)
        if trouble is Trouble.CUT_AFTER:
            raise RpcUnreachable("the connection broke")
        if trouble is Trouble.BEHIND:
            return self._stale(method, answer)
        return answer

    def _stale(self, method: str, answer: Any) -> Any:
        if method == "eth_blockNumber":
            return quantity(max(0, int(answer, 16) - self._behind))
        return None if method in ("eth_getTransactionReceipt", "eth_getTransactionByHash") else answer
