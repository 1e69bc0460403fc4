"""Reading from and writing to the two contracts, by the names of their functions; for the typed clients only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.artifacts import ContractName
from ledger import abi
from ledger.account import Account, SignedTransaction
from ledger.deployment import Deployment
from ledger.errors import ChainMismatch, ContractError, LedgerError, RpcError, TransactionFailed
from ledger.events import Event, decode_log
from ledger.rpc import Rpc, block_header, data, eth_call, quantity
from ledger.sender import RawReceipt, Sender
from ledger.types import Address

DEFAULT_SEND_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a transaction of ours cost and did; `size` is in bytes on the wire."""

    tx: bytes
    block: int
    gas_used: int
    size: int
    sender: Address
    events: tuple[Event, ...]


class Calls:
    """The contracts of one deployment, behind one node, for one account or for reading only."""

    def __init__(
        self, rpc: Rpc, deployment: Deployment, account: Account | None = None, *, timeout: float = DEFAULT_SEND_TIMEOUT
    ) -> None:
        """Say whom to talk to; nothing is sent yet. `timeout` is how long a write waits for its block, in seconds."""
        self.rpc = rpc
        self.deployment = deployment
        self.account = account
        self._sender = Sender(rpc, account, deployment.chain_id, timeout=timeout) if account is not None else None

    def close(self) -> None:
        """Let writes that wait in other threads give up now; their transactions may still be mined."""
        if self._sender is not None:
            self._sender.close()

    def address_of(self, contract: ContractName) -> Address:
        """Give the address of one of the contracts."""
        return self.deployment.consortium if contract == "Consortium" else self.deployment.study

    def read(self, contract: ContractName, function: str, *values: Any) -> tuple[Any, ...]:
        """Call a view function at the latest block; raises the contract's own errors."""
        shape = abi.interface(contract).functions[function]
        answer = eth_call(self.rpc, {"to": self.address_of(contract), "data": data(shape.encode(*values))}, "latest")
        try:
            return tuple(shape.outputs.decode(answer))
        except abi.MALFORMED as error:
            raise ChainMismatch(
                f"{contract}.{function} answered {answer[:40].hex() or 'nothing'}: the contract at "
                f"{self.address_of(contract)} is not there, or not ours; was the chain reset?"
            ) from error

    def write(self, contract: ContractName, function: str, gas: int, *values: Any) -> Receipt:
        """Send a call and give its receipt; raises the contract's own error where it reverted."""
        if self._sender is None:
            raise LedgerError(f"{function} needs an account to sign with; this client only reads")
        to = self.address_of(contract)
        call = abi.interface(contract).functions[function].encode(*values)
        signed, receipt = self._sender.send(to, call, gas)
        if int(receipt["status"], 16) == 0:
            raise self._reason(signed, receipt, {"to": to, "data": data(call), "gas": quantity(gas)})
        events = tuple(self._events(receipt, self._sender))
        if not events:
            raise ChainMismatch(
                f"{function} was mined and {to} recorded nothing: no contract of ours is there; was the chain reset?"
            )
        return Receipt(
            tx=signed.hash,
            block=int(receipt["blockNumber"], 16),
            gas_used=int(receipt["gasUsed"], 16),
            size=len(signed.raw),
            sender=self._sender.account.address,
            events=events,
        )

    def decode(self, log: Mapping[str, Any], timestamp: int | None = None) -> Event:
        """Decode a raw log of either contract; raises EventInvalid."""
        is_study = str(log.get("address", "")).lower() == self.deployment.study.lower()
        return decode_log("Study" if is_study else "Consortium", log, timestamp)

    def timestamp_of(self, block: int) -> int:
        """Read a block's timestamp."""
        return int(block_header(self.rpc, quantity(block))["timestamp"], 16)

    def _events(self, receipt: RawReceipt, sender: Sender) -> list[Event]:
        ours = {self.deployment.consortium.lower(), self.deployment.study.lower()}
        logs = [log for log in receipt["logs"] if log["address"].lower() in ours]
        known = bool(logs) and logs[0].get("blockTimestamp") is not None
        number = int(receipt["blockNumber"], 16)
        timestamp = None if known or not logs else sender.read(lambda: self.timestamp_of(number))
        return [self.decode(log, timestamp) for log in logs]

    def _reason(self, signed: SignedTransaction, receipt: RawReceipt, call: dict[str, str]) -> LedgerError:
        """Find out why a transaction reverted, by calling the same again where the node still can."""
        call = {"from": receipt["from"], **call}
        block = int(receipt["blockNumber"], 16)
        if int(receipt["gasUsed"], 16) == int(call["gas"], 16):
            return TransactionFailed(f"transaction {data(signed.hash)} ran out of gas ({call['gas']})", signed.hash)
        # The state just before the block is the better witness; a pruned node has only the latest.
        for when in (quantity(block - 1), quantity(block), "latest"):
            try:
                eth_call(self.rpc, call, when)
            except ContractError as error:
                return type(error)(*error.values, tx=signed.hash)
            except RpcError:
                continue
        return TransactionFailed(
            f"transaction {data(signed.hash)} reverted in block {block}, and does not when it is called again",
            signed.hash,
        )
