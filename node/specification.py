"""A study's specification, as it is on the ledger."""

from dataclasses import asdict

from ledger.state import StudyState
from ledger.types import Terms
from node.errors import StudyRefused
from swarm.errors import SwarmError
from swarm.spec import StudySpec


def specification(study: StudyState) -> StudySpec:
    """Parse it and hold it against the study's terms; raises StudyRefused where this version can't run it."""
    try:
        spec = StudySpec.from_json(study.spec)
    except SwarmError as error:
        raise StudyRefused(f"the specification can't be run: {error}") from None
    if spec.hash != study.spec_hash or Terms(**asdict(spec.terms())) != study.terms:
        raise StudyRefused("the terms on the ledger are not those of the specification")
    return spec
