"""Every kind of tampering is caught, by the rule whose business it is.

Each forger names one thing that it does, and the rule that must break. `PARTS` are tampered with in the bundle alone:
they are held against the hash that the auditor knows. `CHAINS` are made anew by whoever runs the chain, so that all
hashes fit, and the auditor was even given the forged chain's own hash: what is left are the members' signatures, and
arithmetic.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import rlp
from audit_world import JOINER, NAMES, World, account
from forgery import BLOOM, Forge, head_of, relink

from ledger import events as e
from ledger.abi import interface
from ledger.account import Transaction
from ledger.audit.audit import Conclusion, audit
from ledger.audit.bundle.content import Bundle
from ledger.audit.proof.body import Body
from ledger.types import Fault, seats_of
from swarm.merge import Exclusion

WRONG = b"\xee" * 32


def strange() -> str:
    return account("a stranger").address


def changed_chunk(bundle: Bundle, digest: bytes, change: Callable[[bytes], bytes]) -> Bundle:
    def read(asked: bytes) -> bytes:
        return change(bundle.read_chunk(asked)) if asked == digest else bundle.read_chunk(asked)

    return replace(bundle, read_chunk=read)


def chunk_of(world: World, blob: bytes) -> bytes:
    return world.store.manifest(blob).chunks[0]


def flipped(raw: bytes) -> bytes:
    return bytes([raw[0] ^ 1]) + raw[1:]


# -- the bundle's parts --------------------------------------------------------------------------------------------


def one_byte_of_a_model(world: World, bundle: Bundle) -> Bundle:
    return changed_chunk(bundle, chunk_of(world, world.view().last_final), flipped)


def a_swapped_update(world: World, bundle: Bundle) -> Bundle:
    first, second = [commit.commitment.blob for commit in world.view().round_numbered(1).commits.values()][:2]
    manifests = {**bundle.manifests, first: bundle.manifests[second], second: bundle.manifests[first]}
    return replace(bundle, manifests=manifests)


def an_update_with_anothers_bytes(world: World, bundle: Bundle) -> Bundle:
    first, second = [chunk_of(world, one.commitment.blob) for one in world.view().round_numbered(1).commits.values()][
        :2
    ]
    return changed_chunk(bundle, first, lambda _: bundle.read_chunk(second))


def an_event_removed(_world: World, bundle: Bundle) -> Bundle:
    """A commit's log is taken out of its receipt."""
    forge = Forge(bundle)
    event = forge.first(e.UpdateCommitted)
    receipt = forge.receipt_of(event)
    forge.drop(e.UpdateCommitted, lambda one: one is event)
    body = next(one for one in bundle.bodies if one.number == event.at.block)
    return with_body(bundle, replace(body, receipts=(receipt.encode(forge.addresses)[0],)))


def with_body(bundle: Bundle, body: Body) -> Bundle:
    return replace(bundle, bodies=tuple(body if one.number == body.number else one for one in bundle.bodies))


def a_block_left_out(_world: World, bundle: Bundle) -> Bundle:
    return replace(bundle, bodies=bundle.bodies[:10] + bundle.bodies[11:])


def a_header_left_out(_world: World, bundle: Bundle) -> Bundle:
    return replace(bundle, headers=bundle.headers[:-2] + bundle.headers[-1:])


def the_first_headers_left_out(_world: World, bundle: Bundle) -> Bundle:
    return replace(bundle, headers=bundle.headers[3:])


def two_chains_stitched(_world: World, bundle: Bundle) -> Bundle:
    other = Forge(bundle).set(e.RoundSealed, seed=WRONG).forged()
    half = len(bundle.headers) // 2
    body = bundle.deployment.block + half
    bodies = (
        *(one for one in other.bodies if one.number < body),
        *(one for one in bundle.bodies if one.number >= body),
    )
    return replace(bundle, headers=other.headers[:half] + bundle.headers[half:], bodies=bodies)


def a_proof_against_another_block(_world: World, bundle: Bundle) -> Bundle:
    first, second = bundle.bodies[10], bundle.bodies[11]
    swapped = (replace(first, number=second.number), replace(second, number=first.number))
    return replace(bundle, bodies=(*bundle.bodies[:10], *reversed(swapped), *bundle.bodies[12:]))


def a_signed_transaction_changed(_world: World, bundle: Bundle) -> Bundle:
    event = Forge(bundle).first(e.UpdateCommitted)
    body = next(one for one in bundle.bodies if one.number == event.at.block)
    weight = event.commitment.weight.to_bytes(32, "big")
    heavier = (event.commitment.weight + 50).to_bytes(32, "big")
    return with_body(
        bundle, replace(body, transactions=tuple(raw.replace(weight, heavier) for raw in body.transactions))
    )


def a_receipt_twice(_world: World, bundle: Bundle) -> Bundle:
    body = bundle.bodies[12]
    return with_body(bundle, replace(body, receipts=body.receipts * 2))


def a_reorganised_history(_world: World, bundle: Bundle) -> Bundle:
    """The last five blocks are others than those that the auditor's hash stands for."""
    headers = list(bundle.headers)
    fields = rlp.decode(headers[-5])
    fields[11] = (int.from_bytes(fields[11], "big") + 1).to_bytes(4, "big")
    headers[-5] = rlp.encode(fields)
    return relink(replace(bundle, headers=tuple(headers)), len(headers) - 4)


def events_hidden_behind_a_false_bloom(_world: World, bundle: Bundle) -> Bundle:
    """A block's body is left out, and its header says that there was nothing in it."""
    body = bundle.bodies[20]
    headers = list(bundle.headers)
    at = body.number - bundle.deployment.block
    fields = rlp.decode(headers[at])
    fields[BLOOM] = bytes(256)
    headers[at] = rlp.encode(fields)
    hidden = replace(bundle, headers=tuple(headers), bodies=bundle.bodies[:20] + bundle.bodies[21:])
    return relink(hidden, at + 1)


def a_bloom_that_is_not_its_logs(world: World, bundle: Bundle) -> Bundle:
    return replace(events_hidden_behind_a_false_bloom(world, bundle), bodies=bundle.bodies)


def contracts_at_another_address(world: World, bundle: Bundle) -> Bundle:
    return replace(bundle, deployment=replace(bundle.deployment, study=strange()))


def another_chain_id(world: World, bundle: Bundle) -> Bundle:
    return replace(bundle, deployment=replace(bundle.deployment, chain_id=1))


PARTS: dict[Callable[[World, Bundle], Bundle], str] = {
    one_byte_of_a_model: "files",
    a_swapped_update: "files",
    an_update_with_anothers_bytes: "files",
    an_event_removed: "receipts",
    a_block_left_out: "complete",
    a_header_left_out: "headers",
    the_first_headers_left_out: "headers",
    two_chains_stitched: "headers",
    a_proof_against_another_block: "receipts",
    a_signed_transaction_changed: "transactions",
    a_receipt_twice: "receipts",
    a_reorganised_history: "anchor",
    events_hidden_behind_a_false_bloom: "anchor",
    a_bloom_that_is_not_its_logs: "receipts",
    contracts_at_another_address: "contracts",
    another_chain_id: "signatures",
}


@pytest.mark.parametrize("tamper", PARTS, ids=lambda one: one.__name__)
def test_tampering_with_the_bundle_is_caught_by_its_rule(
    tamper: Callable[[World, Bundle], Bundle], world: World, bundle: Bundle, anchor: bytes
) -> None:
    found = audit(tamper(world, bundle), anchor=anchor)
    assert found.conclusion is Conclusion.BROKEN
    assert PARTS[tamper] in found.broken, found.broken


# -- chains made anew ----------------------------------------------------------------------------------------------


def in_round(number: int) -> Callable[[e.RoundEvent], bool]:
    return lambda event: event.round == number


def a_leader_that_was_not_elected(_world: World, forge: Forge) -> None:
    elected = forge.first(e.LeaderElected, in_round(1))
    other = forge.first(e.UpdateCommitted, lambda one: one.round == 1 and one.seat != elected.seat)
    forge.set(e.LeaderElected, lambda one: one is elected, leader=other.site, seat=other.seat)


def a_seed_of_somebodys_choice(_world: World, forge: Forge) -> None:
    forge.set(e.RoundSealed, in_round(3), seed=WRONG)


def a_forged_reveal(_world: World, forge: Forge) -> None:
    event = forge.first(e.UpdateCommitted, in_round(2))
    forge.set(e.UpdateCommitted, lambda one: one is event, commitment=replace(event.commitment, reveal=WRONG))


def a_withheld_reveal(_world: World, forge: Forge) -> None:
    event = forge.first(e.UpdateCommitted, in_round(0))
    forge.drop(e.UpdateCommitted, lambda one: one is event)


def reordered_reveals(_world: World, forge: Forge) -> None:
    mine = forge.all(e.UpdateCommitted, lambda one: one.site == forge.first(e.UpdateCommitted).site)
    reveals = [one.commitment.reveal for one in mine]
    for event, reveal in zip(mine[:2], (reveals[1], reveals[0]), strict=True):
        forge.set(
            e.UpdateCommitted,
            lambda one, event=event: one is event,
            commitment=replace(event.commitment, reveal=reveal),
        )


def a_dropped_commit(_world: World, forge: Forge) -> None:
    event = forge.all(e.UpdateCommitted, in_round(2))[-1]
    without = ~(1 << event.seat)
    forge.drop(e.UpdateCommitted, lambda one: one is event)
    forge.edit(e.RoundSealed, lambda one: replace(one, committed=one.committed & without), in_round(2))
    forge.edit(e.ModelPublished, lambda one: replace(one, merged=one.merged & without), in_round(2))


def an_attestation_by_a_stranger(_world: World, forge: Forge) -> None:
    event = forge.first(e.OutputAttested, in_round(3))
    forge.set(e.OutputAttested, lambda one: one is event, site=strange(), seat=9)


def an_attestation_by_who_did_not_commit(_world: World, forge: Forge) -> None:
    event = forge.first(e.OutputAttested, in_round(3))
    committed = {one.site for one in forge.all(e.UpdateCommitted, in_round(3))}
    absent = forge.first(e.StudyAccepted, lambda one: one.site not in committed)
    forge.set(e.OutputAttested, lambda one: one is event, site=absent.site, seat=absent.seat)


def an_attestation_twice(_world: World, forge: Forge) -> None:
    event = forge.first(e.OutputAttested, in_round(3))
    forge.insert(replace(event), event)


def a_quorum_that_was_none(_world: World, forge: Forge) -> None:
    event = forge.first(e.OutputAttested, in_round(3))
    forge.drop(e.OutputAttested, lambda one: one is event)


def a_commit_after_the_deadline(_world: World, forge: Forge) -> None:
    forge.move(forge.all(e.UpdateCommitted, in_round(3))[-1], forge.first(e.LeaderElected, in_round(3)))


def a_round_sealed_before_its_time(_world: World, forge: Forge) -> None:
    opened = forge.first(e.RoundOpened, in_round(3))
    forge.drop(
        e.UpdateCommitted, lambda one: one.round == 3 and one.seat == forge.all(e.UpdateCommitted, in_round(3))[-1].seat
    )
    forge.set(e.RoundOpened, lambda one: one is opened, deadline=opened.deadline + 10_000)


def a_leader_failed_before_its_deadline(_world: World, forge: Forge) -> None:
    elected = forge.first(e.LeaderElected, in_round(1))
    forge.set(e.LeaderElected, lambda one: one is elected, deadline=elected.deadline + 10_000)


def a_deadline_of_somebodys_choice(_world: World, forge: Forge) -> None:
    elected = forge.first(e.LeaderElected, in_round(2))
    forge.set(e.LeaderElected, lambda one: one is elected, deadline=elected.deadline - 1)


def a_fault_that_was_none(_world: World, forge: Forge) -> None:
    forge.set(e.LeaderFailed, in_round(1), fault=Fault.REJECTED)


def a_weight_changed_after_the_fact(_world: World, forge: Forge) -> None:
    event = forge.first(e.UpdateCommitted, in_round(1))
    forge.set(e.UpdateCommitted, lambda one: one is event, commitment=replace(event.commitment, weight=77))


def a_weight_over_the_cap(_world: World, forge: Forge) -> None:
    event = forge.first(e.UpdateCommitted, in_round(1))
    forge.set(e.UpdateCommitted, lambda one: one is event, commitment=replace(event.commitment, weight=101))


def epsilon_under_reported(_world: World, forge: Forge) -> None:
    """A site spends a thousand, and says afterwards that it was nothing."""
    event = forge.first(e.UpdateCommitted, in_round(0))
    forge.set(e.UpdateCommitted, lambda one: one is event, commitment=replace(event.commitment, epsilon_spent=1000))
    terms = forge.first(e.StudyProposed).terms
    forge.set(e.StudyProposed, terms=replace(terms, epsilon_budget=5000))


def a_budget_overdrawn(_world: World, forge: Forge) -> None:
    event = forge.all(e.UpdateCommitted)[-1]
    forge.set(e.UpdateCommitted, lambda one: one is event, commitment=replace(event.commitment, epsilon_spent=1))


def another_specification_than_was_accepted(world: World, forge: Forge) -> None:
    forge.edit(
        e.StudyProposed, lambda one: replace(one, spec=one.spec.replace(b'"weight_cap":100', b'"weight_cap":900'))
    )


def other_terms_than_the_specification(_world: World, forge: Forge) -> None:
    forge.edit(e.StudyProposed, lambda one: replace(one, terms=replace(one.terms, weight_cap=900)))


def consent_to_another_specification(_world: World, forge: Forge) -> None:
    event = forge.first(e.StudyAccepted)
    forge.set(e.StudyAccepted, lambda one: one is event, spec_hash=WRONG)


def no_consent_at_all(world: World, forge: Forge) -> None:
    forge.drop(e.StudyAccepted, lambda one: one.site == world.sites[JOINER].address)


def a_commit_after_a_withdrawal(world: World, forge: Forge) -> None:
    """The site that withdrew goes on to be merged."""
    gone = forge.first(e.SiteWithdrew)
    event = forge.first(e.UpdateCommitted, lambda one: one.round == 3)
    forge.set(e.UpdateCommitted, lambda one: one is event, site=gone.site, seat=gone.seat)


def a_member_that_nobody_admitted(world: World, forge: Forge) -> None:
    forge.drop(e.VoteCast)


def a_vote_by_a_stranger(_world: World, forge: Forge) -> None:
    event = forge.first(e.VoteCast)
    forge.set(e.VoteCast, lambda one: one is event, voter=strange())


def another_output_than_was_published(_world: World, forge: Forge) -> None:
    forge.set(e.RoundFinalised, in_round(2), output=WRONG)


def a_model_that_no_merge_makes(_world: World, forge: Forge) -> None:
    """Everybody who is named says the same, and it isn't what the inputs make."""
    for kind in (e.ModelPublished, e.OutputAttested, e.RoundFinalised):
        forge.set(kind, in_round(3), output=WRONG)
    forge.set(e.StudyFinished, output=WRONG)


def an_input_left_out_for_no_reason(_world: World, forge: Forge) -> None:
    forge.edit(e.ModelPublished, lambda one: replace(one, reasons=bytes([99]) * len(one.reasons)), in_round(2))


def a_fit_input_left_out_as_over_the_bound(_world: World, forge: Forge) -> None:
    seats = list(seats_of(forge.first(e.RoundFinalised, in_round(1)).merged))
    merged = sum(1 << seat for seat in seats[1:])
    forge.set(e.ModelPublished, in_round(1), merged=merged, reasons=bytes([Exclusion.OVER_CLIP]))
    forge.set(e.RoundFinalised, in_round(1), merged=merged)


def an_input_over_the_bound_merged(_world: World, forge: Forge) -> None:
    merged = sum(1 << one.seat for one in forge.all(e.UpdateCommitted, in_round(2)))
    forge.set(e.ModelPublished, in_round(2), merged=merged, reasons=b"")
    forge.set(e.RoundFinalised, in_round(2), merged=merged)


def a_study_that_ends_too_soon(_world: World, forge: Forge) -> None:
    final = forge.first(e.RoundFinalised, in_round(2))
    opened = forge.first(e.RoundOpened, in_round(3))
    forge.insert(replace(forge.first(e.StudyFinished), output=final.output), final)
    forge.drop(e.RoundOpened, lambda one: one is opened)


def a_round_without_an_output(_world: World, forge: Forge) -> None:
    forge.drop(e.RoundFinalised, in_round(2))


def an_output_that_is_not_the_last_rounds(_world: World, forge: Forge) -> None:
    forge.set(e.StudyFinished, output=forge.first(e.RoundFinalised, in_round(2)).output)


def an_update_that_is_anothers(_world: World, forge: Forge) -> None:
    first, second = forge.all(e.UpdateCommitted, in_round(1))[:2]
    forge.set(
        e.UpdateCommitted, lambda one: one is second, commitment=replace(second.commitment, blob=first.commitment.blob)
    )


def an_update_that_is_an_old_one(_world: World, forge: Forge) -> None:
    old = forge.first(e.UpdateCommitted, in_round(1))
    new = forge.first(e.UpdateCommitted, lambda one: one.round == 3 and one.site == old.site)
    forge.set(e.UpdateCommitted, lambda one: one is new, commitment=replace(new.commitment, blob=old.commitment.blob))


def a_chain_rewritten_by_whoever_runs_it(_world: World, forge: Forge) -> None:
    """Nothing but one block's time: every commit after it was signed under another history."""
    fields = forge.headers[5]
    fields[11] = (int.from_bytes(fields[11], "big") + 1).to_bytes(4, "big")


def a_seen_hash_changed_to_fit(_world: World, forge: Forge) -> None:
    event = forge.all(e.UpdateCommitted)[-1]
    forge.set(e.UpdateCommitted, lambda one: one is event, commitment=replace(event.commitment, seen_hash=WRONG))


def signed_by_somebody_else(_world: World, forge: Forge) -> None:
    receipt = forge.receipt_of(forge.first(e.OutputAttested, in_round(0)))
    honest = Transaction.from_raw(receipt.transaction)
    forged = account("a stranger").sign(honest.chain_id, honest.nonce, honest.to, honest.call, honest.gas)
    receipt.transaction = forged.raw


def another_vote_than_was_signed(_world: World, forge: Forge) -> None:
    """A rejection is put on record as an attestation."""
    event = forge.first(e.OutputRejected)
    fields = {name: getattr(event, name) for name in ("at", "study", "round", "site", "term", "seat", "output")}
    forge.edit(e.OutputRejected, lambda _: e.OutputAttested(**fields), lambda one: one is event)


def a_function_that_was_never_called(_world: World, forge: Forge) -> None:
    receipt = forge.receipt_of(forge.first(e.StudyAccepted))
    honest = Transaction.from_raw(receipt.transaction)
    decline = interface("Study").functions["decline"]
    call = decline.encode(*interface("Study").functions["accept"].inputs.decode(honest.call[4:])[:2])
    receipt.transaction = account(NAMES[0]).sign(honest.chain_id, honest.nonce, honest.to, call, honest.gas).raw


CHAINS: dict[Callable[[World, Forge], None], str] = {
    a_leader_that_was_not_elected: "election",
    a_seed_of_somebodys_choice: "election",
    a_forged_reveal: "reveals",
    a_withheld_reveal: "election",
    reordered_reveals: "reveals",
    a_dropped_commit: "signatures",
    an_attestation_by_a_stranger: "membership",
    an_attestation_by_who_did_not_commit: "quorum",
    an_attestation_twice: "quorum",
    a_quorum_that_was_none: "quorum",
    a_commit_after_the_deadline: "transitions",
    a_round_sealed_before_its_time: "transitions",
    a_leader_failed_before_its_deadline: "transitions",
    a_deadline_of_somebodys_choice: "deadlines",
    a_fault_that_was_none: "transitions",
    a_weight_changed_after_the_fact: "signatures",
    a_weight_over_the_cap: "commitments",
    epsilon_under_reported: "privacy",
    a_budget_overdrawn: "privacy",
    another_specification_than_was_accepted: "specification",
    other_terms_than_the_specification: "specification",
    consent_to_another_specification: "consent",
    no_consent_at_all: "consent",
    a_commit_after_a_withdrawal: "consent",
    a_member_that_nobody_admitted: "membership",
    a_vote_by_a_stranger: "membership",
    another_output_than_was_published: "quorum",
    a_model_that_no_merge_makes: "merge",
    an_input_left_out_for_no_reason: "exclusions",
    a_fit_input_left_out_as_over_the_bound: "exclusions",
    an_input_over_the_bound_merged: "exclusions",
    a_study_that_ends_too_soon: "transitions",
    a_round_without_an_output: "lineage",
    an_output_that_is_not_the_last_rounds: "lineage",
    an_update_that_is_anothers: "copies",
    an_update_that_is_an_old_one: "copies",
    a_chain_rewritten_by_whoever_runs_it: "history",
    a_seen_hash_changed_to_fit: "history",
    signed_by_somebody_else: "signatures",
    another_vote_than_was_signed: "signatures",
    a_function_that_was_never_called: "signatures",
}


@pytest.mark.parametrize("tamper", CHAINS, ids=lambda one: one.__name__)
def test_a_chain_made_anew_is_caught_by_its_rule_even_by_whom_was_given_its_own_hash(
    tamper: Callable[[World, Forge], None], world: World, bundle: Bundle
) -> None:
    forge = Forge(bundle)
    tamper(world, forge)
    forged = forge.forged()
    found = audit(forged, anchor=head_of(forged))
    proof = {"anchor", "headers", "complete", "receipts", "transactions", "files"}
    assert proof.isdisjoint(found.broken), "the forger is to be as good as can be"
    assert CHAINS[tamper] in found.broken, found.broken


@pytest.mark.parametrize("tamper", CHAINS, ids=lambda one: one.__name__)
def test_a_chain_made_anew_has_not_the_hash_that_a_member_knows(
    tamper: Callable[[World, Forge], None], world: World, bundle: Bundle, anchor: bytes
) -> None:
    forge = Forge(bundle)
    tamper(world, forge)
    assert "anchor" in audit(forge.forged(), anchor=anchor).broken


def test_putting_an_honest_chain_together_again_changes_nothing(bundle: Bundle) -> None:
    assert Forge(bundle).forged().headers == bundle.headers


def test_at_least_twenty_five_kinds_of_tampering_are_tried() -> None:
    assert len(PARTS) + len(CHAINS) >= 25
