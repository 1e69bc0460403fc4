"""What the examples show is so: each is run as a newcomer runs it, with its chain, its sites and its loops."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_loop_of_ones_own_takes_part() -> None:
    said = run("own_loop.py")
    found = re.findall(r"^(site-\d): 60 patients; .* alone (\d\.\d+), with the swarm (\d\.\d+)$", said, re.MULTILINE)
    assert sorted(site for site, _, _ in found) == ["site-1", "site-2", "site-3"], said
    assert {shared for _, _, shared in found} == {found[0][2]}, "one model at all sites"
    assert min(float(shared) for _, _, shared in found) > 0.9
    assert re.search(r"^every site has the same final model: [0-9a-f]{16}$", said, re.MULTILINE)


def test_a_lightning_module_takes_part() -> None:
    said = run("lightning_loop.py")
    found = re.findall(r"^(site-\d): 60 patients; .*: (\d\.\d+)$", said, re.MULTILINE)
    assert sorted(site for site, _ in found) == ["site-1", "site-2", "site-3"], said
    assert min(float(auc) for _, auc in found) > 0.9
    assert re.search(r"^every site has the same final model: [0-9a-f]{16}$", said, re.MULTILINE)


def test_a_study_is_written_simulated_proposed_run_and_handed_on() -> None:
    said = run("study_from_nothing.py")
    (simulated,) = re.findall(r"^simulated: .* final model ([0-9a-f]{16})$", said, re.MULTILINE)
    found = re.findall(r"^hospital-\d: model ([0-9a-f]{16}), AUC .* (\d\.\d+)$", said, re.MULTILINE)
    assert [model for model, _ in found] == [simulated] * 3, "the network made what was simulated"
    assert min(float(auc) for _, auc in found) > 0.9
    assert "handed on as model-card.md, model.safetensors, standardisation.json" in said
