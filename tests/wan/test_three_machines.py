"""The transcript in docs/three-machines.md is what still happens."""

from pathlib import Path

import pytest

from ledger.types import Status
from tests.wan.lab import missing
from tests.wan.three_machines import DOCUMENT, FOUNDERS, LATE, SITES, prompts, walk

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]


def test_three_operators_come_from_nothing_to_a_finished_study_and_a_fourth_joins_in_the_middle(tmp_path: Path) -> None:
    walked = walk(tmp_path)
    assert walked.study is not None
    assert walked.study.status is Status.FINISHED
    assert walked.study.final_output is not None
    assert walked.models == dict.fromkeys(SITES, walked.study.final_output.hex())
    assert [walked.first_round[name] for name in FOUNDERS] == [0, 0, 0]
    assert 4 <= walked.first_round[LATE] <= 5
    assert prompts(walked.lines) == prompts(DOCUMENT.read_text(encoding="utf-8").splitlines())
