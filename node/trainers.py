"""Who trains a study at this site: the program's own process, or for a custom model the data scientist's loop."""

from pathlib import Path

from node.config import NodeConfig
from node.loop import Loop
from node.replies import Trains
from node.trainer import Trainer
from swarm.folder_store import FolderStore
from swarm.spec import StudySpec


def trainer_of(spec: StudySpec, folder: Path, config: NodeConfig, home: Path, blobs: Path) -> Trains:
    """Give whoever trains this study; it is written down in `folder`, its models and updates are in `blobs`."""
    if spec.model.custom:
        return Loop(spec, folder, FolderStore(blobs))
    return Trainer(folder / "spec.json", config.data_at(home), blobs, config.worker)
