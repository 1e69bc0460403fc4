"""Errors of the learning.

SwarmError
├── SpecificationError    a study specification that can't be run as written (also ValueError)
├── DataError             local data that doesn't fit the study's schema (also ValueError)
├── UpdateError           an update that must not leave this site (also ValueError)
├── TrainingError         local training failed
├── LoopError             a training loop of somebody's own can't take part
│   └── LayoutDiffers     its model is not the study's (also ValueError)
├── ExportError           a model that can't be written in the form that was asked for
├── MergeError            inputs that the study's rule doesn't merge (also ValueError)
└── BlobError
    ├── BlobInvalid       bytes that aren't what their hash or manifest says (also ValueError)
    └── BlobMissing       a blob or chunk that isn't in the store (also KeyError)
"""


class SwarmError(Exception):
    """Base of every error that the learning raises on purpose."""

    code = "swarm.error"


class SpecificationError(SwarmError, ValueError):
    """A study specification that can't be run as written."""

    code = "swarm.specification"


class DataError(SwarmError, ValueError):
    """Local data that doesn't fit the study's schema."""

    code = "swarm.data"


class UpdateError(SwarmError, ValueError):
    """An update that must not leave this site."""

    code = "swarm.update"


class TrainingError(SwarmError):
    """Local training failed."""

    code = "swarm.training"


class RequestError(SwarmError, ValueError):
    """A request that the training process can't serve as it stands."""

    code = "swarm.request"


class LoopError(SwarmError):
    """A training loop of somebody's own can't take part in its study."""

    code = "swarm.loop"


class LayoutDiffers(LoopError, ValueError):
    """A training loop's model doesn't have the tensors that the study agreed on."""

    code = "swarm.loop.layout"


class ExportError(SwarmError):
    """A model that can't be written in the form that was asked for."""

    code = "swarm.export"


class MergeError(SwarmError, ValueError):
    """Inputs that the study's rule doesn't merge."""

    code = "swarm.merge"


class BlobError(SwarmError):
    """Base of the errors about content-addressed blobs."""

    code = "swarm.blob"


class BlobInvalid(BlobError, ValueError):
    """Bytes that aren't what their hash or manifest says."""

    code = "swarm.blob.invalid"


class BlobMissing(BlobError, KeyError):
    """A blob or chunk that isn't in the store."""

    code = "swarm.blob.missing"

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""
