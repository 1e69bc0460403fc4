"""The ledger, typed: one method for each function of the contracts."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from contracts import artifacts
from contracts.artifacts import ContractName
from ledger.calls import Calls, Receipt
from ledger.errors import ChainMismatch
from ledger.events import Event, MotionOpened, StudyProposed
from ledger.rpc import block_header, quantity
from ledger.types import Address, Block, Commitment, SiteState, StudyView, Terms, seats_of

_Event = TypeVar("_Event", bound=Event)

# Gas limits, twice of what was measured: gas costs nothing here, but a block must hold many transactions.
_GAS_SMALL: Final = 250_000
_GAS_ROUND: Final = 350_000
_GAS_PER_BYTE: Final = 100


class ConsortiumClient(Calls):
    """The functions of the Consortium contract."""

    def request_membership(self, name: str) -> tuple[int, Receipt]:
        """Ask to become a member; gives the motion's number."""
        gas = _GAS_SMALL + _GAS_PER_BYTE * len(name.encode())
        return _motion(self.write("Consortium", "requestMembership", gas, name))

    def propose_removal(self, site: Address, reason: str) -> tuple[int, Receipt]:
        """Ask the members to remove a site; gives the motion's number."""
        gas = _GAS_SMALL + _GAS_PER_BYTE * len(reason.encode())
        return _motion(self.write("Consortium", "proposeRemoval", gas, site, reason))

    def vote(self, motion: int, approve: bool) -> Receipt:
        """Approve or refuse a motion."""
        return self.write("Consortium", "vote", _GAS_SMALL, motion, approve)

    def close_motion(self, motion: int) -> Receipt:
        """Close a motion whose deadline has passed."""
        return self.write("Consortium", "closeMotion", _GAS_SMALL, motion)

    def leave(self) -> Receipt:
        """Leave the consortium."""
        return self.write("Consortium", "leave", _GAS_SMALL)

    def publish_addresses(self, multiaddrs: Sequence[str]) -> Receipt:
        """Publish the multiaddrs under which this site can be dialled, in place of those before."""
        gas = _GAS_SMALL + sum(1000 + _GAS_PER_BYTE * len(item.encode()) for item in multiaddrs)
        return self.write("Consortium", "publishAddresses", gas, list(multiaddrs))

    def threshold(self) -> int:
        """Votes that a motion needs."""
        return int(self.read("Consortium", "threshold")[0])

    def active_seats(self) -> int:
        """Bitmap of the seats of the members."""
        return int(self.read("Consortium", "activeSeats")[0])

    def seat_of(self, site: Address) -> int:
        """Give the seat of a member; raises ConsortiumNotMember."""
        return int(self.read("Consortium", "seatOf", site)[0])

    def site_at(self, seat: int) -> Address:
        """Say who holds, or held, a seat; the zero address where nobody ever did."""
        return str(self.read("Consortium", "siteAt", seat)[0])

    def is_member(self, account: Address) -> bool:
        """Say whether an account is a member now."""
        return bool(self.read("Consortium", "isMember", account)[0])

    def members(self) -> dict[int, Address]:
        """Give the members by seat; their names and addresses are in ConsortiumState."""
        return {seat: self.site_at(seat) for seat in seats_of(self.active_seats())}


class StudyClient(Calls):
    """The functions of the Study contract."""

    def propose(self, spec: bytes, terms: Terms) -> tuple[int, Receipt]:
        """Propose a study by its canonical specification; gives the study's number."""
        receipt = self.write("Study", "propose", _GAS_ROUND + _GAS_PER_BYTE * len(spec), spec, terms)
        return _first(receipt, StudyProposed).study, receipt

    def accept(self, study: int, spec_hash: bytes, tip: bytes) -> Receipt:
        """Accept that very specification, with the tip of a fresh hash chain."""
        return self.write("Study", "accept", _GAS_ROUND, study, spec_hash, tip)

    def decline(self, study: int, spec_hash: bytes) -> Receipt:
        """Decline a proposed study."""
        return self.write("Study", "decline", _GAS_ROUND, study, spec_hash)

    def start(self, study: int) -> Receipt:
        """Start a study that enough sites accepted, after the accept deadline."""
        return self.write("Study", "start", _GAS_ROUND, study)

    def lapse(self, study: int) -> Receipt:
        """Abort a proposal that too few sites accepted, after its deadline."""
        return self.write("Study", "lapse", _GAS_ROUND, study)

    def withdraw(self, study: int) -> Receipt:
        """Leave a running study for good."""
        return self.write("Study", "withdraw", _GAS_ROUND, study)

    def vote_abort(self, study: int) -> Receipt:
        """Vote to abort a running study."""
        return self.write("Study", "voteAbort", _GAS_ROUND, study)

    def commit(self, study: int, round: int, attempt: int, commitment: Commitment) -> Receipt:
        """Commit an update."""
        return self.write("Study", "commit", _GAS_ROUND, study, round, attempt, commitment)

    def attest_and_commit(self, study: int, round: int, term: int, output: bytes, commitment: Commitment) -> Receipt:
        """Attest to the output of `round` and commit the update of the next round at once."""
        return self.write("Study", "attestAndCommit", _GAS_ROUND, study, round, term, output, commitment)

    def seal(self, study: int, round: int, attempt: int) -> Receipt:
        """Push a round on whose waiting is over."""
        return self.write("Study", "seal", _GAS_ROUND, study, round, attempt)

    def publish(self, study: int, round: int, term: int, output: bytes, merged: int, reasons: bytes) -> Receipt:
        """Publish the merged model: its hash, the bitmap merged, and a reason for each commit left out."""
        return self.write("Study", "publish", _GAS_ROUND, study, round, term, output, merged, reasons)

    def attest(self, study: int, round: int, term: int, output: bytes) -> Receipt:
        """Attest to the published output."""
        return self.write("Study", "attest", _GAS_ROUND, study, round, term, output)

    def reject(self, study: int, round: int, term: int, output: bytes, reason: int) -> Receipt:
        """Reject the published output."""
        return self.write("Study", "reject", _GAS_ROUND, study, round, term, output, reason)

    def rotate(self, study: int, round: int, term: int) -> Receipt:
        """End a term whose deadline has passed, or whose leader is no member any more."""
        return self.write("Study", "rotate", _GAS_ROUND, study, round, term)

    def view_study(self, study: int) -> StudyView:
        """Say where a study stands; status NONE where there is no study of this number."""
        view: StudyView = self.read("Study", "viewStudy", study)[0]
        return view

    def terms_of(self, study: int) -> Terms:
        """Give the terms of a study; all zero where there is none of this number."""
        terms: Terms = self.read("Study", "termsOf", study)[0]
        return terms

    def site_state(self, study: int, site: Address) -> SiteState:
        """Give a site's link on its hash chain, and what it has spent."""
        return SiteState(*self.read("Study", "siteState", study, site))

    def study_count(self) -> int:
        """Number of studies; they are numbered from 1."""
        return int(self.read("Study", "studyCount")[0])


class Ledger(ConsortiumClient, StudyClient):
    """A consortium's ledger behind one node. Safe to use from several threads; writes of one key go one at a time.

    Every write waits until its transaction is in a block and raises the contract's own error (ledger.reverts) where it
    was refused.
    """

    def check(self) -> None:
        """Make sure that the node serves the chain and the contracts of the deployment; raises ChainMismatch."""
        expected = self.deployment
        chain_id = int(self.rpc.call("eth_chainId"), 16)
        if chain_id != expected.chain_id:
            raise ChainMismatch(f"the node serves chain {chain_id}, the deployment is on chain {expected.chain_id}")
        genesis = self.genesis()
        if genesis != expected.genesis:
            raise ChainMismatch(
                f"the chain begins with {genesis.hex()[:16]}, the deployment's with {expected.genesis.hex()[:16]}: "
                "it was reset or is another; deploy again, or ask for the deployment file of this chain"
            )
        self._check_code("Consortium")
        self._check_code("Study")
        consortium = self.read("Study", "consortium")[0]
        if consortium != expected.consortium:
            raise ChainMismatch(f"the studies at {expected.study} belong to the consortium {consortium}")

    def _check_code(self, contract: ContractName) -> None:
        address = self.address_of(contract)
        code = bytes.fromhex(self.rpc.call("eth_getCode", address, "latest")[2:])
        if not code:
            raise ChainMismatch(f"there is no contract at {address}, where {contract} should be")
        if not artifacts.load(contract).is_runtime(code):
            raise ChainMismatch(
                f"the contract at {address} is not this version's {contract}; install the version that deployed it"
            )

    def genesis(self) -> bytes:
        """Read the hash of the chain's first block."""
        return bytes.fromhex(block_header(self.rpc, "0x0")["hash"][2:])

    def head(self) -> Block:
        """Read the latest block."""
        return _block(block_header(self.rpc, "latest"))

    def block(self, number: int) -> Block:
        """Read a block by its number; raises ChainMismatch where there is none."""
        return _block(block_header(self.rpc, quantity(number)))

    def client_version(self) -> str:
        """Say what the node runs, e.g. "anvil/v1.7.1": a development chain is nobody's real ledger."""
        return str(self.rpc.call("web3_clientVersion"))


def _block(header: Any) -> Block:
    return Block(int(header["number"], 16), bytes.fromhex(header["hash"][2:]), int(header["timestamp"], 16))


def _first(receipt: Receipt, kind: type[_Event]) -> _Event:
    for event in receipt.events:
        if isinstance(event, kind):
            return event
    raise ChainMismatch(f"the transaction recorded no {kind.__name__}; the contract is not ours")


def _motion(receipt: Receipt) -> tuple[int, Receipt]:
    return _first(receipt, MotionOpened).motion, receipt
