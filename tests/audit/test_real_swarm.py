"""A study of real sites, audited: their own folders are exported, and what they did passes every rule."""

from dataclasses import replace
from pathlib import Path

import pytest
from forgery import Forge, head_of

from ledger import events as e
from ledger.audit.audit import Conclusion, audit
from ledger.audit.bundle.file import open_bundle
from ledger.audit.verdict import Outcome
from node.operator.audit import export, open_source, tell_block, verify
from node.site_folder import SiteFolder
from node.study_folder import StudyFolder
from tests.faults.swarm_rig import swarm

pytestmark = pytest.mark.slow


def test_a_swarm_that_lost_a_leader_on_the_way_passes_and_a_forger_of_it_does_not(tmp_path: Path) -> None:
    dies = ["--die-at", "before-publish@2"]
    with swarm(tmp_path, rounds=3, sites=4, options=lambda name: dies, retention_rounds=10, min_sites=2) as rig:
        rig.until_event(e.LeaderFailed, 2)
        rig.until_finished()
        member, exporter = rig.scene.homes[:2]
        told = tell_block(member, None)
        file = tmp_path / "study.audit"
        export(exporter, rig.scene.study, file, blobs=True)
        model = next(
            folder.model_path
            for home in rig.scene.homes
            if (folder := StudyFolder(SiteFolder(home).study(rig.scene.study))).model_path.exists()
        )
        summary = verify(file, model=model, block=told["hash"], reports=())
        with open_source(exporter) as source:
            assert source.ledger.deployment == rig.scene.deployment
    assert summary["conclusion"] == "holds"
    outcomes = {one["rule"]: one["outcome"] for one in summary["rules"]}
    assert set(outcomes.values()) <= {"holds", "not decidable"}
    assert {rule for rule, outcome in outcomes.items() if outcome == "not decidable"} <= {
        "fairness",
        "merge",
        "copies",
        "exclusions",
    }
    assert any(term["fault"] == "merge timeout" for one in summary["rounds"] for term in one["terms"])
    anchor = bytes.fromhex(told["hash"][2:])
    with open_bundle(file) as bundle:
        honest = audit(bundle, anchor=anchor)
        assert honest.named("signatures").outcome is Outcome.HOLDS
        forge = Forge(bundle)
        event = forge.first(e.UpdateCommitted, lambda one: one.round == 1)
        forge.set(e.UpdateCommitted, lambda one: one is event, commitment=replace(event.commitment, weight=1))
        forged = forge.forged()
        assert "anchor" in audit(forged, anchor=anchor).broken
        assert {"signatures", "history"} <= set(audit(forged, anchor=head_of(forged)).broken)
        assert honest.conclusion is Conclusion.HOLDS
