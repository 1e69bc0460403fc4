"""A LightningModule in a swarm: one callback more.

    python examples/lightning_loop.py          # needs: pip install 'swarm-learning-network[lightning]'

starts a development chain and three hospitals on this machine, each with this program as its training loop beside its
node. In a hospital, the loop alone is started beside `swarm-node run`:

    python examples/lightning_loop.py --home site --study 1
"""

import argparse
import logging
from pathlib import Path

import lightning.pytorch as lightning
import torch
from own_loop import SITES, auc, load, make_model, make_study, say
from torch import nn
from torch.utils.data import DataLoader

from swarm.loop.lightning import LightningSwarmCallback
from swarm.spec import StudySpec


class Classifier(lightning.LightningModule):
    """The model of `own_loop.py`, in a LightningModule."""

    def __init__(self) -> None:
        super().__init__()
        self.model = make_model()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        """The loss of one batch."""
        features, labels = batch
        return nn.functional.binary_cross_entropy_with_logits(self.model(features)[:, 0], labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Its state stays at this hospital."""
        return torch.optim.Adam(self.parameters(), lr=0.01)


def make_lightning_study() -> StudySpec:
    """The same agreement under another name."""
    record = make_study().model_dump(mode="json")
    record["study"]["name"] = "lightning-loop"
    return StudySpec.model_validate(record)


def take_part(home: Path, study: int, shard: int, shards: int) -> None:
    """The loop: `callbacks` is all that it needs for the swarm, and the study says when to stop."""
    lightning.seed_everything(shard)
    torch.set_num_threads(1)
    train, test = load(shard, shards)
    module = Classifier()
    swarm = LightningSwarmCallback(
        home=home, study=study, part="model", evaluate=lambda: {"auc": auc(module.model, test)}
    )
    trainer = lightning.Trainer(
        callbacks=[swarm],
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(train, batch_size=15, shuffle=True))
    found = auc(module.model, test)
    say(f"{home.name}: {len(train)} patients; AUC on {len(test)} patients of all hospitals: {found:.3f}")


def main() -> None:
    """Run one hospital's loop, or without `--home` everything."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="the site's folder; without it, all sites are started here")
    parser.add_argument("--study", type=int, default=1)
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--shards", type=int, default=SITES)
    options = parser.parse_args()
    if options.home is not None:
        take_part(options.home, options.study, options.shard, options.shards)
        return
    from node.demo.loops import run_with_loops

    results = run_with_loops(make_lightning_study(), Path(__file__), SITES)
    print(f"every site has the same final model: {', '.join(sorted({one['model'][:16] for one in results.values()}))}")


if __name__ == "__main__":
    main()
