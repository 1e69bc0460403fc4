"""The typed client: what it writes takes effect or raises the contract's own error, from several threads too."""

import hashlib
import threading
from dataclasses import replace

import pytest
from ledger_world import SPEC, SPEC_HASH, TERMS, World, account, hash_chain

from ledger import reverts
from ledger.client import Ledger
from ledger.errors import ContractError, LedgerError, RpcRefused, RpcUnreachable, TransactionFailed
from ledger.events import MotionClosed, MotionOpened, SiteAdmitted, SiteRemoved, StudyProposed, VoteCast
from ledger.memory import MemoryChain
from ledger.rpc import Rpc, connect
from ledger.types import ZERO_HASH, Block, MotionState, SiteState, Status

OUTPUT = b"\x0a" * 32


@pytest.mark.parametrize("address", ["ipc", "url"])
def test_a_receipt_says_what_a_write_cost_and_did(world: World, address: str) -> None:
    with connect(getattr(world.devnet, address)) as rpc:
        ledger = Ledger(rpc, world.deployment, world.sites[1].ledger.account)
        study, receipt = ledger.propose(SPEC, TERMS)
        (proposed,) = receipt.events
        assert isinstance(proposed, StudyProposed)
        assert (proposed.study, proposed.spec, proposed.spec_hash, proposed.terms) == (study, SPEC, SPEC_HASH, TERMS)
        assert ledger.account is not None
        assert (receipt.sender, receipt.tx, receipt.block) == (
            ledger.account.address,
            proposed.at.tx,
            proposed.at.block,
        )
        assert receipt.gas_used > 21_000
        assert 500 < receipt.size < 700
        block = ledger.block(receipt.block)
        assert block == Block(receipt.block, proposed.at.block_hash, proposed.at.timestamp)
        assert ledger.head().number >= block.number
        assert ledger.timestamp_of(block.number) == block.timestamp
        assert ledger.client_version().startswith("anvil/")


def test_views_are_typed(world: World) -> None:
    ledger = world.ledger
    study, _ = ledger.propose(SPEC, TERMS)
    view = ledger.view_study(study)
    assert (view.status, view.spec_hash, view.last_final) == (Status.PROPOSED, SPEC_HASH, ZERO_HASH)
    assert (ledger.terms_of(study), ledger.study_count()) == (TERMS, 1)
    assert ledger.view_study(99).status is Status.NONE
    first = ledger.site_at(0)
    assert (ledger.seat_of(first), ledger.is_member(first), ledger.active_seats()) == (0, True, 0b1111)
    assert ledger.site_at(9) == "0x" + "0" * 40
    assert ledger.site_state(study, first) == SiteState(ZERO_HASH, 0, False, 0)
    with pytest.raises(reverts.ConsortiumNotMember) as caught:
        ledger.seat_of(account(3).address)
    assert caught.value.account == account(3).address
    assert caught.value.tx is None


def test_a_site_is_admitted_and_removed_by_votes(world: World) -> None:
    applicant = Ledger(world.devnet.rpc(), world.deployment, account(5_000 + world.deployment.block))
    assert applicant.account is not None
    motion, asked = applicant.request_membership("new site")
    assert isinstance(asked.events[0], MotionOpened)
    for site in world.sites[:3]:
        receipt = site.ledger.vote(motion, True)
    assert [type(event) for event in receipt.events] == [VoteCast, SiteAdmitted, MotionClosed]
    assert world.ledger.members()[4] == applicant.account.address
    addresses = [f"/ip4/10.0.0.{number}/tcp/4001" for number in range(16)]
    assert applicant.publish_addresses(addresses).events[0].multiaddrs == tuple(addresses)  # type: ignore[attr-defined]
    removal, _ = world.ledger.propose_removal(applicant.account.address, "it asked for it")
    for site in world.sites[1:4]:
        receipt = site.ledger.vote(removal, True)
    assert SiteRemoved in [type(event) for event in receipt.events]
    assert not world.ledger.is_member(applicant.account.address)
    with pytest.raises(reverts.ConsortiumNotMember):
        applicant.leave()
    world.sites[3].ledger.leave()
    assert world.ledger.active_seats() == 0b0111


def test_a_motion_that_nobody_decides_is_closed_after_its_time(world: World) -> None:
    motion, _ = world.ledger.propose_removal(world.ledger.site_at(1), "?")
    with pytest.raises(reverts.ConsortiumMotionNotExpired) as caught:
        world.ledger.close_motion(motion)
    assert caught.value.deadline > world.ledger.head().timestamp
    world.devnet.advance(601)
    (closed,) = world.sites[2].ledger.close_motion(motion).events
    assert isinstance(closed, MotionClosed)
    assert closed.state is MotionState.REJECTED


def test_a_round_with_every_call(world: World) -> None:
    study = world.run_study(replace(TERMS, rounds=2, min_sites=3))
    for site in world.sites[:3]:
        world.commit(site, study, 1)
    with pytest.raises(reverts.RoundNotSealable):
        world.ledger.seal(study, 1, 0)
    world.devnet.advance(TERMS.grace_seconds)
    world.ledger.seal(study, 1, 0)
    leader = world.ledger.view_study(study).leader_seat
    with pytest.raises(reverts.StudyTooEarly):
        world.ledger.rotate(study, 1, 0)
    world.devnet.advance(TERMS.merge_seconds + 1)
    world.ledger.rotate(study, 1, 0)
    leader = world.ledger.view_study(study).leader_seat
    world.sites[leader].ledger.publish(study, 1, 1, OUTPUT, 0b0111, b"")
    for seat in {0, 1, 2} - {leader}:
        site = world.sites[seat]
        site.ledger.attest_and_commit(study, 1, 1, OUTPUT, world.commitment(site))
        site.revealed += 1
    view = world.ledger.view_study(study)
    assert (view.round, view.last_final, view.committed.bit_count()) == (2, OUTPUT, 2)
    world.sites[3].ledger.withdraw(study)
    world.commit(world.sites[leader], study, 2)
    view = world.ledger.view_study(study)
    world.sites[view.leader_seat].ledger.publish(study, 2, 0, OUTPUT, 0b0111, b"")
    others = [site for seat, site in enumerate(world.sites[:3]) if seat != view.leader_seat]
    others[0].ledger.attest(study, 2, 0, OUTPUT)
    others[1].ledger.reject(study, 2, 0, OUTPUT, 1)
    assert world.ledger.view_study(study).term == 1
    for site in world.sites[:2]:
        site.ledger.vote_abort(study)
    assert world.sites[2].ledger.vote_abort(study)
    assert world.ledger.view_study(study).status is Status.ABORTED


def test_a_proposal_that_is_declined_lapses(world: World) -> None:
    study, _ = world.ledger.propose(SPEC, replace(TERMS, min_sites=3))
    world.sites[1].ledger.decline(study, SPEC_HASH)
    world.devnet.advance(TERMS.accept_seconds + 1)
    with pytest.raises(reverts.StudyTooFewSites) as caught:
        world.ledger.start(study)
    assert (caught.value.have, caught.value.need) == (0, 3)
    world.ledger.lapse(study)
    assert world.ledger.view_study(study).status is Status.ABORTED


def test_the_largest_specification_fits_and_a_larger_one_is_refused(world: World) -> None:
    study, receipt = world.ledger.propose(b"x" * 65_536, TERMS)
    assert world.ledger.view_study(study).spec_hash == hashlib.sha256(b"x" * 65_536).digest()
    assert receipt.gas_used < 5_000_000
    with pytest.raises(reverts.StudyInvalidSpecification) as caught:
        world.ledger.propose(b"x" * 65_537, TERMS)
    assert (caught.value.length, caught.value.max) == (65_537, 65_536)


def test_a_transaction_that_reverted_raises_the_contracts_error_with_its_hash(world: World) -> None:
    study = world.run_study()
    world.commit(world.sites[0], study, 1)
    with pytest.raises(reverts.RoundAlreadyCommitted) as caught:
        world.sites[0].ledger.commit(study, 1, 0, world.commitment(world.sites[0]))
    assert caught.value.round == 1
    assert caught.value.site == world.ledger.site_at(0)
    assert caught.value.tx is not None
    receipt = world.devnet.rpc().call("eth_getTransactionReceipt", "0x" + caught.value.tx.hex())
    assert receipt["status"] == "0x0"


def test_a_site_that_saw_another_history_is_told_so(world: World) -> None:
    study = world.run_study()
    good = world.commitment(world.sites[0])
    with pytest.raises(reverts.CommitOtherHistory) as caught:
        world.ledger.commit(study, 1, 0, replace(good, seen_hash=b"\x07" * 32))
    assert (caught.value.number, caught.value.actual) == (good.seen_block, good.seen_hash)
    with pytest.raises(reverts.CommitUnknownBlock):
        world.ledger.commit(study, 1, 0, replace(good, seen_block=good.seen_block + 50))
    with pytest.raises(reverts.CommitStaleReveal):
        world.ledger.commit(study, 1, 0, replace(good, reveal=b"\x07" * 32))


def test_a_transaction_that_runs_out_of_gas_says_so(world: World) -> None:
    with pytest.raises(TransactionFailed, match="out of gas"):
        world.ledger.write("Study", "propose", 60_000, SPEC, TERMS)


def test_a_revert_that_does_not_happen_again_says_so(world: World) -> None:
    class Forgetful:
        def __init__(self, rpc: Rpc) -> None:
            self._rpc = rpc

        def call(self, method: str, *params: object) -> object:
            return "0x" if method == "eth_call" else self._rpc.call(method, *params)

    ledger = Ledger(Forgetful(world.devnet.rpc()), world.deployment, account(77))
    with pytest.raises(TransactionFailed, match="does not when it is called again"):
        ledger.leave()


def test_a_node_that_refuses_to_say_why_is_no_reason_to_fail_otherwise(world: World) -> None:
    class Silent:
        def __init__(self, rpc: Rpc) -> None:
            self._rpc = rpc

        def call(self, method: str, *params: object) -> object:
            if method == "eth_call":
                raise RpcRefused(-32000, "missing trie node", {"data": "rubbish"})
            return self._rpc.call(method, *params)

    with pytest.raises(TransactionFailed):
        Ledger(Silent(world.devnet.rpc()), world.deployment, account(78)).leave()
    with pytest.raises(RpcRefused, match="missing trie node"):
        Ledger(Silent(world.devnet.rpc()), world.deployment).study_count()


def test_a_node_that_does_not_date_its_logs_is_asked_for_the_block_and_waited_for(world: World) -> None:
    troubles = [RpcUnreachable("away"), RpcUnreachable("away")]

    class Undated:
        def __init__(self, rpc: Rpc) -> None:
            self._rpc = rpc

        def call(self, method: str, *params: object) -> object:
            if method == "eth_getBlockByNumber" and troubles:
                raise troubles.pop()
            answer = self._rpc.call(method, *params)
            if method == "eth_sendRawTransactionSync":
                for log in answer["logs"]:
                    del log["blockTimestamp"]
            return answer

    ledger = Ledger(Undated(world.devnet.rpc()), world.deployment, world.ledger.account)
    receipt = ledger.publish_addresses(["/ip4/10.0.0.1/tcp/1"])
    assert receipt.events[0].at.timestamp == world.ledger.timestamp_of(receipt.block)
    assert troubles == []


def test_a_client_without_a_key_only_reads(world: World) -> None:
    reading = Ledger(world.devnet.rpc(), world.deployment)
    assert reading.study_count() == 0
    reading.close()
    with pytest.raises(LedgerError, match="needs an account"):
        reading.leave()


def test_threads_and_processes_that_share_a_key_all_get_through(world: World) -> None:
    """Two clients stand for two processes: they count nonces on their own."""
    key = world.sites[0].ledger.account
    clients = [Ledger(world.devnet.rpc(), world.deployment, key) for _ in range(2)]
    receipts, failures = [], list[LedgerError]()

    def write(ledger: Ledger) -> None:
        try:
            for _ in range(8):
                receipts.append(ledger.publish_addresses(["/ip4/10.0.0.1/tcp/1"]))
        except LedgerError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(client,)) for client in clients for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len({receipt.tx for receipt in receipts}) == 32


def test_a_write_begun_before_a_restart_of_the_node_is_finished_after_it(world: World) -> None:
    ledger = world.ledger
    ledger.publish_addresses(["/ip4/10.0.0.1/tcp/1"])
    done = threading.Event()

    def write() -> None:
        for number in range(20):
            ledger.publish_addresses([f"/ip4/10.0.0.{number}/tcp/1"])
        done.set()

    writing = threading.Thread(target=write)
    writing.start()
    world.devnet.restart()
    writing.join()
    assert done.is_set()
    assert int(ledger.rpc.call("eth_getTransactionCount", ledger.account.address, "latest"), 16) == 23  # type: ignore[union-attr]


def test_a_chain_without_our_contracts_can_not_be_read(world: World) -> None:
    with pytest.raises((LedgerError, ContractError)):
        Ledger(MemoryChain(chain_id=4711), world.deployment).check()


def test_a_study_can_be_joined_while_it_runs(world: World) -> None:
    study, _ = world.ledger.propose(SPEC, TERMS)
    for site in world.sites[:3]:
        site.ledger.accept(study, SPEC_HASH, site.links[0])
    world.devnet.advance(TERMS.accept_seconds + 1)
    world.ledger.start(study)
    late = world.sites[3]
    late.links = hash_chain()
    late.ledger.accept(study, SPEC_HASH, late.links[0])
    assert late.ledger.account is not None
    assert world.ledger.site_state(study, late.ledger.account.address) == SiteState(late.links[0], 0, True, 2)
