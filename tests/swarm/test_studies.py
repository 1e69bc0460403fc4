"""The studies that come with the program."""

import pytest

from swarm import studies
from swarm.errors import SpecificationError
from swarm.memory_store import MemoryStore
from swarm.models import write_initial


@pytest.mark.parametrize("name", studies.NAMES)
def test_a_study_can_be_proposed_as_it_is(name):
    spec = studies.draft(name)
    assert spec.study.name == name
    complete = spec.with_initial(write_initial(spec, MemoryStore()).blob)
    assert type(spec).from_json(complete.canonical()) == complete


def test_the_breast_cancer_study_has_the_network_that_peers_were_measured_with():
    spec = studies.draft("breast-cancer")
    assert write_initial(spec, MemoryStore()).elements == 4130


def test_an_unknown_study_is_refused():
    with pytest.raises(SpecificationError, match="no study that comes with the program is called 'flu'"):
        studies.draft("flu")
