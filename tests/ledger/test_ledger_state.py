"""Folding the events gives what the contract's own views say, at every point of any history."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_world import SPEC_HASH, TERMS, World, account, found, hash_chain, position

from ledger import events as e
from ledger.devnet import Devnet
from ledger.errors import ContractError, EventInvalid
from ledger.events import Event
from ledger.state import LedgerState, contribution, elect, fold, genesis_seed, mix, next_seed, quorum
from ledger.stream import EventStream
from ledger.types import Fault, MotionKind, MotionState, Phase, Status, bitmap_of, seats_of

OUTPUT, OTHER = b"\x0a" * 32, b"\x0b" * 32


# -- the whole life of a study, on the real contract -----------------------------------------------------------------


class Follower:
    """Reads the ledger's events and holds the fold against the contract's views."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.events: list[Event] = []
        self.state = LedgerState()
        self.stream = EventStream(world.ledger)

    def check(self) -> LedgerState:
        fresh = self.stream.poll()
        self.events += fresh
        self.state = self.state.fold(fresh)
        ledger = self.world.ledger
        assert self.state.consortium.active_seats == ledger.active_seats()
        assert self.state.consortium.threshold == ledger.threshold()
        for number, study in self.state.studies.items():
            assert study.view() == ledger.view_study(number)
            assert study.terms == ledger.terms_of(number)
            for account_, participant in study.sites.items():
                on_chain = ledger.site_state(number, account_)
                assert (participant.link, participant.epsilon_spent) == (on_chain.link, on_chain.epsilon_spent)
                assert participant.from_round == on_chain.from_round
        return self.state


def test_a_study_from_proposal_to_its_last_model(world: World) -> None:
    follower = Follower(world)
    study = world.run_study(replace(TERMS, statistics=True, rounds=1))
    assert follower.check().studies[study].phase is Phase.COLLECTING
    for number in (0, 1):
        for site in world.sites:
            world.commit(site, study, number)
        state = follower.check().studies[study]
        leader = state.round.term
        assert leader is not None
        assert state.phase is Phase.MERGING
        assert leader.seat == elect(state.round.seed, 0, state.round.sealed)
        world.sites[leader.seat].ledger.publish(
            study,
            number,
            0,
            OUTPUT,
            0b0111 | 1 << leader.seat,
            bytes([4] * (4 - (0b0111 | 1 << leader.seat).bit_count())),
        )
        state = follower.check().studies[study]
        assert (state.phase, state.quorum, state.voters) == (Phase.REVIEWING, 3, 0b1111)
        for site in [one for seat, one in enumerate(world.sites) if seat != leader.seat][:2]:
            site.ledger.attest(study, number, 0, OUTPUT)
        follower.check()
    done = follower.check().studies[study]
    assert (done.status, done.final_output, done.last_final) == (Status.FINISHED, OUTPUT, OUTPUT)
    assert [one.final.output for one in done.rounds if one.final is not None] == [OUTPUT, OUTPUT]
    assert [participant.revealed for participant in done.sites.values()] == [2, 2, 2, 2]
    assert fold(follower.events) == follower.state


def test_seeds_follow_from_what_is_on_record(world: World) -> None:
    study = world.run_study()
    for site in world.sites:
        world.commit(site, study, 1)
    state = Follower(world).check().studies[study]
    seed = genesis_seed(world.deployment.chain_id, world.deployment.study, study, SPEC_HASH)
    reveals = ((seat, commit.commitment.reveal) for seat, commit in state.round.commits.items())
    assert state.seed == state.round.seals[0].seed == next_seed(seed, mix(reveals), 1, 0)


def test_a_publication_that_fails_voids_the_commits_made_on_it_and_keeps_the_place_on_the_chain(world: World) -> None:
    follower = Follower(world)
    study = world.run_study()
    for site in world.sites:
        world.commit(site, study, 1)
    leader = world.ledger.view_study(study).leader_seat
    world.sites[leader].ledger.publish(study, 1, 0, OUTPUT, 0b1111, b"")
    first, second, third = [site for seat, site in enumerate(world.sites) if seat != leader]
    first.ledger.attest_and_commit(study, 1, 0, OUTPUT, world.commitment(first))
    first.revealed += 1
    early = follower.check().studies[study]
    assert len(early.upcoming) == 1
    for site in (second, third):
        site.ledger.reject(study, 1, 0, OUTPUT, 1)
    state = follower.check().studies[study]
    assert first.ledger.account is not None
    assert (len(state.upcoming), len(state.voided)) == (0, 1)
    assert state.sites[first.ledger.account.address].revealed == first.revealed
    assert [term.fault for term in state.round.terms] == [Fault.REJECTED, None]
    assert state.round.failed == bitmap_of(leader)
    assert state.round.term is not None
    assert state.round.term.seat == elect(state.round.seed, 1, 0b1111 & ~bitmap_of(leader))
    assert bitmap_of(state.round.term.seat) | state.candidates == 0b1111 & ~bitmap_of(leader)


OPERATIONS = ("commit", "publish", "attest", "attest_and_commit", "reject", "rotate", "seal", "advance", "withdraw")
SENSIBLE = {Phase.COLLECTING: "commit", Phase.MERGING: "publish", Phase.REVIEWING: "attest"}
RARE = ("leave", "join", "abort", "lapse", "start", "decline")


def attempt(world: World, study: int, operation: str, who: int, choice: int) -> None:
    """Do one thing; what the contract refuses is refused."""
    site = world.sites[who % len(world.sites)]
    ledger, view = site.ledger, world.ledger.view_study(study)
    output = view.output if choice else OTHER
    if operation == "go on":
        operation = SENSIBLE.get(view.phase, "start")
        if operation == "attest" and choice % 2 and view.round < TERMS.rounds:
            operation = "attest_and_commit"
    try:
        match operation:
            case "commit":
                world.commit(site, study, view.round, view.attempt)
            case "publish":
                left_out = bitmap_of(*list(seats_of(view.committed))[: choice == 1])
                merged, reasons = view.committed & ~left_out, bytes([1] * left_out.bit_count())
                leader = world.sites[view.leader_seat].ledger
                leader.publish(study, view.round, view.term, OUTPUT, merged, reasons)
            case "attest":
                ledger.attest(study, view.round, view.term, output)
            case "attest_and_commit":
                ledger.attest_and_commit(study, view.round, view.term, output, world.commitment(site))
                site.revealed += 1
            case "reject":
                ledger.reject(study, view.round, view.term, output, choice)
            case "rotate":
                ledger.rotate(study, view.round, view.term)
            case "seal":
                ledger.seal(study, view.round, view.attempt)
            case "advance":
                world.devnet.advance(1 + 7 * choice)
            case "withdraw" if choice == 0:
                ledger.withdraw(study)
            case "leave" if choice < 3:
                ledger.leave()
            case "join":
                site.links, site.revealed = hash_chain(), 0
                ledger.accept(study, SPEC_HASH, site.links[0])
            case "abort" if choice < 3:
                ledger.vote_abort(study)
            case "lapse":
                ledger.lapse(study)
            case "start":
                ledger.start(study)
            case "decline":
                ledger.decline(study, SPEC_HASH)
    except ContractError:
        return


@pytest.mark.slow
@given(
    st.integers(2, 5),
    st.integers(0, 3),
    st.booleans(),
    st.lists(
        st.tuples(
            st.sampled_from(("go on",) * 50 + ("reject", "rotate", "advance", "seal") * 4 + OPERATIONS + RARE),
            st.integers(0, 4),
            st.integers(0, 9),
        ),
        max_size=80,
    ),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_fold_is_what_the_contract_says_after_every_step_of_any_history(
    devnet: Devnet, members: int, absent: int, statistics: bool, steps: list[tuple[str, int, int]]
) -> None:
    world = found(devnet, members)
    study, _ = world.ledger.propose(b'{"a":"study"}', replace(TERMS, statistics=statistics))
    follower = Follower(world)
    follower.check()
    for site in world.sites[: max(1, members - absent)]:
        site.ledger.accept(study, SPEC_HASH, site.links[0])
        follower.check()
    for operation, who, choice in steps:
        attempt(world, study, operation, who, choice)
        follower.check()
    assert fold(follower.events) == follower.state


# -- the pure rules --------------------------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32), st.integers(0, 65535), st.integers(1, 2**256 - 1))
def test_the_leader_is_always_one_of_the_candidates(seed: bytes, term: int, candidates: int) -> None:
    assert candidates >> elect(seed, term, candidates) & 1


def test_nobody_is_elected_out_of_nobody() -> None:
    with pytest.raises(ValueError, match="no candidates"):
        elect(bytes(32), 0, 0)


def test_every_candidate_leads_about_as_often() -> None:
    counts = dict.fromkeys(range(0, 10, 2), 0)
    for term in range(2000):
        counts[elect(b"\x01" * 32, term, 0b0101010101)] += 1
    assert min(counts.values()) > 320  # 400 expected, standard deviation 18


@given(st.permutations([(seat, bytes([seat]) * 32) for seat in range(5)]))
def test_the_order_of_reveals_does_not_matter(reveals: list[tuple[int, bytes]]) -> None:
    assert mix(reveals) == mix(sorted(reveals))


def test_a_copied_reveal_does_not_cancel_the_original() -> None:
    assert mix([(0, OUTPUT), (1, OUTPUT)]) != bytes(32)
    assert mix([(3, OUTPUT)]) == contribution(3, OUTPUT)


@pytest.mark.parametrize(
    ("voters", "bps", "needed"), [(0, 6667, 1), (3, 6667, 3), (4, 6667, 3), (4, 5001, 3), (1, 10000, 1)]
)
def test_a_quorum_is_rounded_up_and_never_none(voters: int, bps: int, needed: int) -> None:
    assert quorum(voters, bps) == needed


# -- the consortium --------------------------------------------------------------------------------------------------

ONE, TWO = account(1).address, account(2).address


def test_members_come_go_and_come_back_to_their_seat() -> None:
    history: list[Event] = [
        e.ConsortiumFounded(at=position(1, 0), quorum_bps=6667, motion_seconds=60),
        e.SiteAdmitted(at=position(1, 1), site=ONE, seat=0, name="one"),
        e.MotionOpened(
            at=position(2, 0), motion=1, kind=MotionKind.ADMIT, subject=TWO, opener=TWO, text="two", deadline=99
        ),
        e.VoteCast(at=position(3, 0), motion=1, voter=ONE, approve=True),
        e.SiteAdmitted(at=position(3, 1), site=TWO, seat=1, name="two"),
        e.MotionClosed(at=position(3, 2), motion=1, state=MotionState.PASSED),
        e.AddressesPublished(at=position(4, 0), site=TWO, multiaddrs=("/ip4/10.0.0.2/tcp/1",)),
        e.SiteLeft(at=position(5, 0), site=TWO, seat=1),
    ]
    before, after = fold(history[:3]).consortium, fold(history).consortium
    assert (list(before.open_motions), before.active_seats, before.threshold) == ([1], 0b01, 1)
    assert (list(after.open_motions), list(after.members), list(after.former)) == ([], [ONE], [TWO])
    assert after.motions[1].votes == {ONE: True}
    again = fold([*history, e.SiteAdmitted(at=position(6, 0), site=TWO, seat=1, name="two again")]).consortium
    assert (again.active_seats, again.former) == (0b11, {})
    assert again.members[TWO].addresses == ("/ip4/10.0.0.2/tcp/1",)
    assert again.name_of(TWO) == "two again"
    assert again.name_of(account(3).address) == account(3).address


# -- what a site asks of a study ---------------------------------------------------------------------------------


def test_a_study_knows_its_rounds_its_sites_and_its_blobs(world: World) -> None:
    study = world.run_study(replace(TERMS, rounds=2))
    for seat, site in enumerate(world.sites):
        site.ledger.commit(study, 1, 0, world.commitment(site, blob=bytes([seat + 1]) * 32))
        site.revealed += 1
    follower = Follower(world)
    leader = world.ledger.view_study(study).leader_seat
    world.sites[leader].ledger.publish(study, 1, 0, OUTPUT, 0b0111 | 1 << leader, b"\x05" * (leader != 3))
    state = follower.check().studies[study]
    assert state.round.left_out == ({} if leader == 3 else {3: 5})
    assert state.round.leader == world.ledger.site_at(leader)
    assert state.output_of(1) is None
    first = next(site for seat, site in enumerate(world.sites) if seat != leader)
    first.ledger.attest_and_commit(study, 1, 0, OUTPUT, world.commitment(first, blob=b"\x09" * 32))
    state = follower.check().studies[study]
    assert all(state.knows(bytes([number]) * 32) for number in (1, 2, 3, 4, 9))
    assert state.knows(OUTPUT)
    assert not state.knows(OTHER)
    for seat, site in enumerate(world.sites):
        if seat != leader and site is not first and state.view().round == 1:
            site.ledger.attest(study, 1, 0, OUTPUT)
            state = follower.check().studies[study]
    assert (state.output_of(1), state.output_of(2), state.output_of(0)) == (OUTPUT, None, None)
    assert (state.round_numbered(1).final is not None, state.round_numbered(2)) == (True, state.round)
    with pytest.raises(KeyError, match="round 3"):
        state.round_numbered(3)
    assert state.participant_at(2).account == world.ledger.site_at(2)
    with pytest.raises(KeyError, match="seat 9"):
        state.participant_at(9)


# -- histories that can't be -----------------------------------------------------------------------------------------


def test_an_event_that_does_not_come_after_the_last_one_is_refused() -> None:
    state = fold([e.ConsortiumFounded(at=position(2), quorum_bps=6667, motion_seconds=60)])
    with pytest.raises(EventInvalid, match="does not come after"):
        state.apply(e.ConsortiumFounded(at=position(2), quorum_bps=6667, motion_seconds=60))


@pytest.mark.parametrize(
    "event",
    [
        e.SiteLeft(at=position(), site=ONE, seat=0),
        e.VoteCast(at=position(), motion=1, voter=ONE, approve=True),
        e.StudyFinished(at=position(), study=1, output=OUTPUT),
        Event(at=position()),
    ],
)
def test_an_event_about_nothing_known_is_refused(event: Event) -> None:
    with pytest.raises(EventInvalid):
        fold([event])


@pytest.mark.parametrize(
    "event",
    [
        e.LeaderElected(at=position(9), study=1, round=1, leader=ONE, term=0, seat=0, deadline=9),
        e.SiteWithdrew(at=position(9), study=1, site=ONE, seat=0),
    ],
)
def test_an_event_that_can_not_come_next_is_refused(event: Event) -> None:
    proposed = e.StudyProposed(
        at=position(1), study=1, proposer=ONE, spec_hash=SPEC_HASH, terms=TERMS, accept_deadline=9, spec=b"{}"
    )
    with pytest.raises(EventInvalid, match="can't come next"):
        fold([proposed, event])
