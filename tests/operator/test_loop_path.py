"""A data scientist's loop beside a real node: the site waits for it by name, its node restarts, and it ends well."""

from pathlib import Path

import pytest
import torch
from operator_world import World, done, refused

from node.study import Study
from swarm.loop.callback import SwarmCallback
from swarm.loop.module import OwnModule
from swarm.memory_store import MemoryStore
from swarm.model_file import import_safetensors
from swarm.weights import read_vector
from tests.node.site_world import await_, running
from tests.swarm.loop_samples import descend, loop_spec, small_module

pytestmark = pytest.mark.slow


def test_a_loop_that_comes_late_trains_through_its_nodes_restart_and_has_the_final_model(world: World) -> None:
    world.found("ada")
    home, model = world.home("ada"), small_module()
    proposed = Study(loop_spec(round={"collect_seconds": 600, "least_seconds": 600})).propose(home)
    proposed.accept()
    swarm = SwarmCallback(
        model, home=home, study=proposed.number, samples=40, evaluate=lambda: {"accuracy": 0.5}, tell=lambda _: None
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with running(home) as site:
        site.until("site_started")
        await_(lambda: here(home), "the sentence that says that the site waits")
        assert f"SwarmCallback names study {proposed.number}" in str(here(home))
        swarm.on_train_begin()
        assert swarm.round == 1
        swarm.on_batch_end(descend(model, optimizer))
        assert here(home) is None
    with running(home):
        while not swarm.finished:
            swarm.on_batch_end(descend(model, optimizer))
        swarm.on_train_end()
        result = proposed.wait(seconds=120)
    assert result["metrics"] == {"accuracy": 0.5}
    exported = proposed.export(world.folder / "model")["files"]
    store = MemoryStore()
    blob = import_safetensors(exported["model.safetensors"], store).blob
    assert blob.hex() == result["model"]
    assert (OwnModule(model).read() == read_vector(store, blob)[0]).all()
    card = Path(exported["model-card.md"]).read_text(encoding="utf-8")
    assert "accuracy: 0.5" in card
    code, message = refused("model", "export", "--home", home, proposed.number, "--out", "onnx", "--format", "onnx")
    assert (code, "only the sites' own programs know" in message) == ("node.operator", True)


def here(home: Path) -> str | None:
    says: str | None = done("status", "--home", home)["studies"][0]["here"]
    return says
