"""The callback for Lightning: what it tells the callback beneath, and when."""

import lightning.pytorch as lightning
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from swarm.errors import LoopError
from swarm.loop import lightning as loop_lightning
from swarm.loop.lightning import LightningSwarmCallback

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own


class Classifier(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = torch.nn.Linear(2, 1)

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        return self.model(batch[0]).square().mean()

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        self.log("val_loss", torch.tensor(0.25))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Beneath:
    """Stands in for `SwarmCallback`: it finishes after so many steps, and remembers what it was told."""

    made: "Beneath"
    steps_of_study = 5

    def __init__(self, model: torch.nn.Module, **options: object) -> None:
        self.model, self.options = model, options
        self.told: list[str] = []
        self.losses: list[float] = []
        self.metrics: list[dict[str, float]] = []
        Beneath.made = self

    @property
    def finished(self) -> bool:
        return len(self.losses) >= self.steps_of_study

    def on_train_begin(self) -> None:
        self.told.append("begin")

    def on_batch_end(self, loss: torch.Tensor) -> None:
        self.losses.append(float(loss))

    def on_epoch_end(self, metrics: dict[str, float]) -> None:
        self.metrics.append(metrics)

    def on_train_end(self) -> None:
        self.told.append("end")


@pytest.fixture(autouse=True)
def beneath(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lightning, "SwarmCallback", Beneath)


def fit(callback: LightningSwarmCallback, **options: object) -> Classifier:
    module = Classifier()
    data = DataLoader(TensorDataset(torch.ones(16, 2)), batch_size=4)
    trainer = lightning.Trainer(
        callbacks=[callback],
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,  # type: ignore[arg-type]
    )
    trainer.fit(module, data, data)
    return module


def test_the_study_says_when_to_stop_and_the_module_or_its_part_takes_part() -> None:
    module = fit(LightningSwarmCallback(home="site", study=3, part="model"))
    made = Beneath.made
    assert made.model is module.model
    assert (made.options["home"], made.options["study"], made.options["samples"]) == ("site", 3, 16)
    assert len(made.losses) == Beneath.steps_of_study
    assert made.losses[0] > made.losses[-1] > 0
    assert made.told == ["begin", "end"]


def test_a_step_is_the_optimizers_where_gradients_are_accumulated() -> None:
    fit(LightningSwarmCallback(home="site", study=3), accumulate_grad_batches=2)
    assert len(Beneath.made.losses) == Beneath.steps_of_study
    assert len(Beneath.made.metrics) == 3, "two optimizer steps an epoch"


def test_what_a_validation_logs_is_told_at_the_end_of_the_epoch() -> None:
    fit(LightningSwarmCallback(home="site", study=3, samples=99))
    assert Beneath.made.metrics[0]["val_loss"] == 0.25
    assert Beneath.made.options["samples"] == 99


def test_before_the_training_there_is_nothing_beneath() -> None:
    with pytest.raises(LoopError, match="not begun"):
        _ = LightningSwarmCallback(home="site", study=3).swarm
