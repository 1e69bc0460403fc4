"""A chain in virtual time: a block a second out of what waits, by the contracts' twin; and one site's way to it."""

import hashlib
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio
from study_twin import CALLS, StudyTwin
from twin_state import Consortium, Emitted, Environment

from ledger.calls import Receipt
from ledger.deployment import Deployment
from ledger.errors import ContractError, RpcUnreachable, TransactionTimeout
from ledger.events import ConsortiumFounded, Event, SiteAdmitted, UpdateCommitted
from ledger.types import Address, Block, Commitment, Position

CHAIN_ID = 1
CONTRACT = "0x" + "00" * 20
GENESIS_TIME = 1_700_000_000
BLOCK_SECONDS = 1.0
LATE_BLOCKS_SECONDS = 6.0
LONGEST_WAY = 0.4


@dataclass
class Transaction:
    """A call that waits for its block."""

    sender: Address
    function: str
    args: tuple[Any, ...]
    done: trio.Event = field(default_factory=trio.Event)
    receipt: Receipt | None = None
    error: ContractError | None = None


class SimulatedChain:
    """Blocks, events and the pool of transactions that wait; `audit` sees each event as it is mined."""

    def __init__(self, members: tuple[Address, ...], draw: random.Random, audit: Callable[[Event], None]) -> None:
        self.twin = StudyTwin(CHAIN_ID, CONTRACT, Consortium(members))
        self.events: list[Event] = []
        self.blocks: list[Block] = []
        self.refused = 0
        self._draw = draw
        self._audit = audit
        self._pool: list[Transaction] = []
        self._news = trio.Event()
        founding = [Emitted(ConsortiumFounded, {"quorum_bps": 6667, "motion_seconds": 60})]
        founding += [Emitted(SiteAdmitted, {"site": one, "seat": at, "name": one}) for at, one in enumerate(members)]
        self._add_block(GENESIS_TIME - 100, founding)

    def now(self) -> int:
        """Chain time: whole seconds of virtual time."""
        return GENESIS_TIME + int(trio.current_time())

    def do(self, sender: Address, timestamp: int, function: str, *args: Any) -> None:
        """Mine a block with one call, before the simulation begins."""
        self._add_block(timestamp, self.twin.execute(self._environment(sender, timestamp), function, *args))

    def submit(self, transaction: Transaction) -> None:
        """Have a transaction wait for the next block."""
        self._pool.append(transaction)
        self._news.set()

    def commits(self, number: int) -> dict[int, Commitment]:
        """The newest commitment of each seat for a round."""
        commits = (event for event in self.events if isinstance(event, UpdateCommitted) and event.round == number)
        return {event.seat: event.commitment for event in commits}

    async def run(self) -> None:
        """Mine, for ever."""
        while True:
            await self._news.wait()
            await trio.sleep_until((trio.current_time() // BLOCK_SECONDS + 1) * BLOCK_SECONDS)
            self._news = trio.Event()
            self._mine()

    def _mine(self) -> None:
        waiting, self._pool = self._pool, []
        self._draw.shuffle(waiting)
        timestamp = self.now()
        emitted: list[Emitted] = []
        worked: list[Transaction] = []
        for transaction in waiting:
            here = self._environment(transaction.sender, timestamp)
            try:
                emitted += self.twin.execute(here, transaction.function, *transaction.args)
            except ContractError as error:
                transaction.error = error
                self.refused += 1
            else:
                worked.append(transaction)
        number = self._add_block(timestamp, emitted)
        for transaction in worked:
            transaction.receipt = Receipt(bytes(32), number, 1, 1, transaction.sender, ())
        for transaction in waiting:
            transaction.done.set()

    def _add_block(self, timestamp: int, emitted: list[Emitted]) -> int:
        number = len(self.blocks)
        digest = hashlib.sha256(f"block {number}".encode()).digest()
        self.blocks.append(Block(number, digest, timestamp))
        for index, (kind, fields) in enumerate(emitted):
            event = kind(at=Position(number, index, bytes(32), digest, timestamp), **fields)
            self.events.append(event)
            self._audit(event)
        return number

    def _environment(self, sender: Address, timestamp: int) -> Environment:
        return Environment(sender, timestamp, self._blockhash)

    def _blockhash(self, number: int) -> bytes | None:
        head = len(self.blocks)
        return self.blocks[number].hash if max(0, head - 256) <= number < head else None


@dataclass
class Way:
    """One site's way to its chain node, which trouble may close or slow down."""

    draw: random.Random
    closed: int = 0
    late: int = 0

    async def go(self) -> None:
        """Take the time of one direction; raises RpcUnreachable where the node doesn't answer."""
        await trio.sleep(self.draw.uniform(0, LONGEST_WAY))
        if self.closed:
            raise RpcUnreachable("the chain node doesn't answer")


class SimulatedLedger:
    """What `ledger.client.Ledger` is to a site: each call gives what a thread would wait for, as a coroutine."""

    deployment = Deployment(CHAIN_ID, bytes(32), CONTRACT, CONTRACT, 0)

    def __init__(self, chain: SimulatedChain, me: Address, way: Way) -> None:
        self.chain = chain
        self.me = me
        self.way = way

    def __getattr__(self, function: str) -> Callable[..., Coroutine[Any, Any, Receipt]]:
        if function not in CALLS:
            raise AttributeError(function)
        return partial(self.send, function)

    async def send(self, function: str, *args: Any) -> Receipt:
        """Send a call and wait for its block; what is sent is mined, whatever becomes of the sender."""
        await self.way.go()
        transaction = Transaction(self.me, function, args)
        self.chain.submit(transaction)
        await transaction.done.wait()
        try:
            await self.way.go()
        except RpcUnreachable:
            raise TransactionTimeout("sent, and not seen in a block", bytes(32)) from None
        if transaction.error is not None:
            raise transaction.error
        assert transaction.receipt is not None
        return transaction.receipt


class SimulatedStream:
    """What `ledger.stream.EventStream` is to a site; each poll is a coroutine, too."""

    def __init__(self, chain: SimulatedChain, way: Way) -> None:
        self.tip: Block | None = None
        self._chain = chain
        self._way = way
        self._read = 0

    @property
    def head(self) -> int:
        """The newest block that this site's node shows."""
        return -1 if self.tip is None else self.tip.number

    async def poll(self) -> list[Event]:
        """Give the events of the blocks that this site's node shows and that were not read yet."""
        await self._way.go()
        newest = GENESIS_TIME + trio.current_time() - (LATE_BLOCKS_SECONDS if self._way.late else 0.0)
        first = self._read
        while self._read < len(self._chain.events) and self._chain.events[self._read].at.timestamp <= newest:
            self._read += 1
        seen = [block for block in self._chain.blocks[self._next_block() :] if block.timestamp <= newest]
        self.tip = seen[-1] if seen else self.tip
        return self._chain.events[first : self._read]

    def _next_block(self) -> int:
        return 0 if self.tip is None else self.tip.number + 1
