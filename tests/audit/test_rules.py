"""Rules whose answer is a number: copies by angle, and how evenly leadership fell."""

from dataclasses import replace

import numpy as np
import pytest
from audit_world import ELEMENTS, LAYOUT, World
from forgery import Forge, head_of
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ledger import events as e
from ledger.audit.audit import Audit, audit, questions
from ledger.audit.bundle.content import Bundle
from ledger.audit.rules.copies import NEAR_COPY
from ledger.audit.rules.election import LEVEL, distribution, judge_fairness, two_sided
from ledger.audit.verdict import Outcome, Tally
from swarm.manifest import BlobKind
from swarm.memory_store import MemoryStore


def with_update(world: World, bundle: Bundle, values: np.ndarray) -> Audit:
    """The history in which the second committer of round 1 committed this instead of its own update."""
    store = MemoryStore()
    rule = world.spec.merge_rule(LAYOUT)
    chunk = np.rint(values).astype("<i4").data
    made = store.create(BlobKind.UPDATE, rule.dtype, LAYOUT, [chunk], scale_bits=rule.scale_bits)
    forge = Forge(bundle)
    second = forge.all(e.UpdateCommitted, lambda one: one.round == 1)[1]
    commitment = replace(second.commitment, blob=made.blob)
    forge.set(e.UpdateCommitted, lambda one: one is second, commitment=commitment)
    forged = forge.forged()
    digest = made.chunks[0]

    def read(asked: bytes) -> bytes:
        return store.read_chunk(made.blob, 0) if asked == digest else bundle.read_chunk(asked)

    forged = replace(
        forged,
        manifests={**forged.manifests, made.blob: made.encode()},
        chunks=forged.chunks | {digest},
        read_chunk=read,
    )
    return audit(forged, anchor=head_of(forged))


def update_of_the_first(world: World) -> np.ndarray:
    commits = world.view().round_numbered(1).all_commits()
    first = min(commits, key=lambda commit: commit.at)
    return np.frombuffer(world.store.read_chunk(first.commitment.blob, 0), "<i4").astype(np.float64)


@pytest.mark.parametrize("factor", [0.25, 0.9, 1.5])
def test_a_copy_is_told_whatever_its_size(factor: float, world: World, bundle: Bundle) -> None:
    found = with_update(world, bundle, update_of_the_first(world) * factor)
    assert "copies" in found.broken
    assert "cosine" in found.named("copies").broken[0].what


def test_a_copy_with_a_little_noise_is_told(world: World, bundle: Bundle) -> None:
    mine = update_of_the_first(world)
    noise = np.random.default_rng(999).normal(size=ELEMENTS) * np.linalg.norm(mine) / np.sqrt(ELEMENTS) * 0.01
    assert "copies" in with_update(world, bundle, mine + noise).broken


def test_an_update_that_is_merely_alike_is_nobodys_copy(world: World, bundle: Bundle) -> None:
    mine = update_of_the_first(world)
    noise = np.random.default_rng(999).normal(size=ELEMENTS) * np.linalg.norm(mine) / np.sqrt(ELEMENTS) * 0.2
    found = with_update(world, bundle, mine + noise)
    assert "copies" not in found.broken
    assert 0.95 < found.named("copies").figures["highest cosine"] < NEAR_COPY


@given(draws=st.integers(1, 60), sites=st.integers(2, 9), data=st.data())
def test_with_equal_chances_the_test_of_fairness_is_the_binomial_one(
    draws: int, sites: int, data: st.DataObject
) -> None:
    won = data.draw(st.integers(0, draws))
    expected = stats.binomtest(won, draws, 1 / sites).pvalue
    assert two_sided([1 / sites] * draws, won) == pytest.approx(expected, rel=1e-6)


@given(chances=st.lists(st.floats(0.05, 1), min_size=1, max_size=30))
def test_with_unequal_chances_it_is_exact_too(chances: list[float]) -> None:
    probabilities = distribution(chances)
    assert probabilities.sum() == pytest.approx(1)
    assert (probabilities * np.arange(len(chances) + 1)).sum() == pytest.approx(sum(chances))


def fairness_of(world: World, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, winners: list[int]) -> Tally:
    sites = tuple(f"0x{seat:040x}" for seat in range(4))
    monkeypatch.setattr("ledger.audit.rules.election._draws", lambda _: [(sites, sites[seat]) for seat in winners])
    tally = judge_fairness(audit(bundle, anchor=None).record)
    assert tally is not None
    return tally


def test_a_site_that_leads_always_is_no_chance(world: World, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = fairness_of(world, bundle, monkeypatch, [2] * 20)
    assert tally.verdict("fairness").outcome is Outcome.BROKEN
    assert "20 times of 20" in tally.broken[0].what


def test_an_even_draw_is_chance(world: World, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = fairness_of(world, bundle, monkeypatch, [0, 1, 2, 3] * 10)
    assert tally.verdict("fairness").outcome is Outcome.HOLDS
    assert all(one["p"] == 1 for one in tally.figures.values())


def test_few_draws_decide_nothing(world: World, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LEVEL < 0.25**6
    assert fairness_of(world, bundle, monkeypatch, [2] * 6).verdict("fairness").outcome is Outcome.UNDECIDABLE


def test_what_leaders_left_out_is_counted_by_leader(world: World, bundle: Bundle, anchor: bytes) -> None:
    figures = audit(bundle, anchor=anchor).named("exclusions").figures
    assert sum(sum(sites.values()) for sites in figures.values()) == 1
    assert all("over_clip" in reason for sites in figures.values() for reason in sites)


def test_who_did_not_commit_is_counted(world: World, bundle: Bundle, anchor: bytes) -> None:
    figures = audit(bundle, anchor=anchor).named("absence").figures
    missing = {one["name"]: one["eligible"] - one["committed"] for one in figures.values()}
    assert {name for name, count in missing.items() if count} == {"Jena"}


def test_every_verdict_is_of_a_rule_that_is_explained(bundle: Bundle, anchor: bytes) -> None:
    assert {one.rule for one in audit(bundle, anchor=anchor).verdicts} <= set(questions())
