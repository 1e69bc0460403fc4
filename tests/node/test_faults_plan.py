"""Choosing the point at which a site dies."""

import os

import pytest

from node.errors import ConfigurationError
from node.faults import DieAt
from node.rounds.decide import AttestAndCommit, Basis, Commit, Publish, Train, Wait

BASIS = Basis(3, b"b" * 32, None)


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    signals: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append(number))
    return signals


@pytest.mark.parametrize(
    ("plan", "moment", "action", "dies"),
    [
        ("before-publish@3", "before", Publish(3, 0, 0), True),
        ("before-publish@3", "after", Publish(3, 0, 0), False),
        ("before-publish@3", "before", Publish(3, 0, 1), False),
        ("before-publish@2", "before", Publish(3, 0, 0), False),
        ("after-commit@3", "after", Commit(BASIS, 0), True),
        ("after-commit@3", "after", AttestAndCommit(2, 0, b"", BASIS), True),
        ("after-attest@2", "after", AttestAndCommit(2, 0, b"", BASIS), True),
        ("after-attest@3", "after", AttestAndCommit(2, 0, b"", BASIS), False),
        ("before-train@3", "before", Train(BASIS), True),
        ("before-train@3", "before", Wait(None, ""), False),
    ],
)
def test_a_site_dies_at_that_point_only(deaths: list[int], plan: str, moment: str, action: Publish, dies: bool) -> None:
    DieAt.parse(plan).check(moment, action)
    assert bool(deaths) == dies


@pytest.mark.parametrize(
    "text", ["", "publish@3", "before-publish", "before-@3", "during-publish@3", "before-publish@x"]
)
def test_a_plan_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--die-at"):
        DieAt.parse(text)
