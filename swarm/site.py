"""A site's part in a study: its statistics, its updates, its evaluation; in a real node and in a simulation."""

from dataclasses import asdict, dataclass
from typing import Any

from swarm.blobs import BlobStore
from swarm.data.dataset import SiteData
from swarm.errors import TrainingError
from swarm.manifest import Layout
from swarm.metrics import Metrics, measure
from swarm.models import write_initial
from swarm.moments import Standardisation, standardisation, write_moments
from swarm.privacy.egress import prepare_moments, prepare_update
from swarm.spec import StudySpec
from swarm.training import FlatModel, Inputs, Progress, Trained, as_columns, predict, train
from swarm.weights import Floats, read_vector


@dataclass(frozen=True, slots=True)
class Contribution:
    """What a site offers to a round: a blob, its sample weight, and what its commit must state.

    `norm` is the update's L2 norm before the clip, `loss` the mean over the local steps.
    """

    blob: bytes
    weight: int
    epsilon_micro: int = 0
    seconds: float = 0.0
    steps: int = 0
    loss: float = 0.0
    norm: float = 0.0
    clipped: bool = False

    def record(self) -> dict[str, Any]:
        """Give it as a training process tells its node."""
        return {**asdict(self), "blob": self.blob.hex()}


def contribute(
    spec: StudySpec, layout: Layout, trained: Trained, before: Floats, store: BlobStore, *, samples: int
) -> Contribution:
    """Treat what was learned from `samples` records since the base `before`, and keep the update that may leave.

    Its weight is the number of records, up to the study's cap, however many steps were taken. Raises UpdateError.
    """
    update = prepare_update(trained.vector, before, rule=spec.merge_rule(layout), privacy=spec.privacy, samples=samples)
    return Contribution(
        blob=update.write(store).blob,
        weight=min(samples, spec.merge.weight_cap),
        epsilon_micro=update.epsilon_micro,
        seconds=trained.seconds,
        steps=trained.steps,
        loss=trained.loss,
        norm=update.norm,
        clipped=update.clipped,
    )


class Site:
    """One site in one study, with its data in memory and its blobs in a store."""

    def __init__(self, spec: StudySpec, data: SiteData, store: BlobStore) -> None:
        self.spec = spec
        self.data = data
        self._store = store
        self._model = FlatModel.of(spec)
        self._inputs: tuple[bytes | None, Inputs] | None = None

    @property
    def layout(self) -> Layout:
        """The model's tensors."""
        return self._model.layout

    @property
    def weight(self) -> int:
        """The site's sample weight: its training records, up to the study's cap."""
        return min(len(self.data.train), self.spec.merge.weight_cap)

    def initial(self) -> bytes:
        """Keep the study's first model in the store; give its blob."""
        return write_initial(self.spec, self._store).blob

    def moments(self) -> Contribution:
        """Sum up the training features for the statistics round; raises UpdateError where nothing may leave."""
        columns = as_columns(self.data.train.features, self.spec.data)
        moments = prepare_moments(columns, privacy=self.spec.privacy, samples=len(self.data.train))
        return Contribution(write_moments(self._store, moments).blob, self.weight)

    def train(
        self, round_number: int, base: bytes, moments: bytes | None, *, progress: Progress | None = None
    ) -> Contribution:
        """Train on the base model for one round, and keep the update that may leave.

        `moments` is the statistics round's output. Raises TrainingError, UpdateError, BlobMissing or BlobInvalid.
        """
        before = self._read(base)
        trained = train(self.spec, self._model, before, self._training(moments), round_number, progress=progress)
        return contribute(self.spec, self.layout, trained, before, self._store, samples=len(self.data.train))

    def evaluate(self, model: bytes, moments: bytes | None) -> Metrics:
        """Measure a model on the test part; raises like `train`."""
        test = self.data.test
        inputs = Inputs.of(test, self.spec, self._standardisation(moments))
        predictions = predict(self.spec, self._model, self._read(model), inputs)
        return measure(test.labels, predictions, self.spec.data.classes)

    def _read(self, blob: bytes) -> Floats:
        vector, layout = read_vector(self._store, blob)
        if layout != self.layout:
            raise TrainingError(f"model {blob.hex()} isn't one of this study's architecture")
        return vector

    def _training(self, moments: bytes | None) -> Inputs:
        if self._inputs is None or self._inputs[0] != moments:
            agreed = self._standardisation(moments)
            self._inputs = (moments, Inputs.of(self.data.train, self.spec, agreed))
        return self._inputs[1]

    def _standardisation(self, moments: bytes | None) -> Standardisation | None:
        if not self.spec.data.standardise or moments is None:
            return None
        agreed = standardisation(self._store, moments)
        if len(agreed.mean) != self.spec.data.columns:
            raise TrainingError(f"statistics {moments.hex()} are not those of this study's columns")
        return agreed
