"""A site that has run for many rounds holds what the ledger's record takes, and nothing else that grows."""

import gc
from collections import Counter
from pathlib import Path

import pytest
import sim_swarm
from sim_schedule import Schedule
from sim_site import SimulatedSite
from sim_swarm import simulate

from ledger import events as e
from ledger.types import Address
from node.claims import Claims

ROUNDS = 46
FIRST, LAST = 15, 45
PLAN = Schedule(seed=7, sites=4, min_sites=3, rounds=ROUNDS, statistics=True, late=0, lies=(), mishaps=())
RECORD = {"ledger.state.round.RoundState": 1, "node.claims._Claim": PLAN.sites + 1}
"""What a site keeps of each round, and how many: the round itself, and to whom its blobs may be served."""
PASSING = 3
"""Objects of a kind that a site may hold for the moment."""


def held() -> Counter[str]:
    """How many objects there are of each kind that the packages define."""
    gc.collect()
    kinds = (type(one) for one in gc.get_objects())
    return Counter(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds if _is_ours(kind))


def _is_ours(kind: type) -> bool:
    return str(kind.__module__).startswith(("node.", "ledger.state."))


def test_what_a_site_holds_does_not_grow_with_the_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, Counter[str]] = {}
    take = sim_swarm.Audit.take

    def look(audit: sim_swarm.Audit, event: e.Event) -> None:
        take(audit, event)
        if isinstance(event, e.RoundFinalised) and event.round in (FIRST, LAST):
            seen[event.round] = held()

    serve = SimulatedSite._may_serve

    def serve_after_a_probe(site: SimulatedSite, claims: Claims, asker: Address, blob: bytes) -> bool:
        assert not claims.may_serve(asker, bytes(32))  # nobody's blob: the site looks through all it knows
        return serve(site, claims, asker, blob)

    monkeypatch.setattr(sim_swarm.Audit, "take", look)
    monkeypatch.setattr(SimulatedSite, "_may_serve", serve_after_a_probe)
    report = simulate(PLAN, tmp_path)
    assert len(report.audit.finals) == ROUNDS + 1
    rounds, passing = LAST - FIRST, PASSING * PLAN.sites
    grown = {kind: count - seen[FIRST][kind] for kind, count in seen[LAST].items()}
    for kind, each in RECORD.items():
        assert 0 < grown.pop(kind) <= PLAN.sites * rounds * each + passing
    unexpected = {kind: count for kind, count in grown.items() if count > passing}
    assert {kind for kind in unexpected if kind.startswith("node.")} == set()
    # The rounds' own parts: a commit of each site, and one seal, term, publication and final.
    assert all(count <= PLAN.sites * rounds * PLAN.sites + passing for count in unexpected.values()), unexpected
