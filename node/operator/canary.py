"""A canary: one round of a study with the real sites, network and chain, whose model nobody uses.

It is a study like any other, under a name of its own: proposed, accepted by whoever wants to, run by the nodes as they
are, and kept apart in its own folder. Only its verdict is looked at.
"""

from typing import Any

from node.operator import studies
from node.operator.desk import Desk
from swarm.spec import StudySpec

SUFFIX = "-canary"
MAX_NAME = 64


def canary_of(spec: StudySpec, answer_within: int) -> StudySpec:
    """One round of a study, under the same terms and from the same model; open for answers as long as that."""
    record = spec.model_dump(mode="json")
    record["study"]["name"] = spec.study.name[: MAX_NAME - len(SUFFIX)] + SUFFIX
    record["study"]["description"] = f"One round of {spec.study.name}, to see whether and how fast it runs."
    record["training"]["rounds"] = 1
    record["round"]["accept_seconds"] = answer_within
    return StudySpec.model_validate(record)


def start(desk: Desk, spec: StudySpec, answer_within: int) -> dict[str, Any]:
    """Put a study's canary on the ledger, for every member to answer."""
    return {"of": spec.study.name, **studies.propose(desk, canary_of(spec, answer_within))}
