"""A whole study in one process, without network and chain, by the functions that real nodes use.

The final model is, byte for byte, the one that the network makes of the same sites and the same absences.
"""

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

from swarm.blobs import BlobStore
from swarm.data.dataset import SiteData
from swarm.errors import MergeError
from swarm.memory_store import MemoryStore
from swarm.merge import check_input, merge_updates
from swarm.moments import check_moments, merge_moments
from swarm.site import Contribution, Site
from swarm.spec import StudySpec

Absences = Mapping[int, Set[str]]
Watch = Callable[["SimulatedRound"], None]


@dataclass(frozen=True, slots=True)
class SimulatedRound:
    """One round: what each site contributed, and the blob that came of it."""

    number: int
    contributions: dict[str, Contribution]
    output: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """A finished study: its rounds (round 0 is the statistics round, if there is one), and where its blobs are."""

    spec: StudySpec
    rounds: tuple[SimulatedRound, ...]
    store: BlobStore

    @property
    def final_model(self) -> bytes:
        """Blob of the final model."""
        return self.rounds[-1].output

    @property
    def moments(self) -> bytes | None:
        """Blob of the agreed statistics."""
        return self.rounds[0].output if self.rounds[0].number == 0 else None

    @property
    def clipped_share(self) -> float:
        """Share of the updates that the clip changed."""
        updates = [one for rnd in self.rounds if rnd.number for one in rnd.contributions.values()]
        return sum(one.clipped for one in updates) / len(updates)


def run(
    spec: StudySpec,
    sites: Mapping[str, SiteData],
    *,
    store: BlobStore | None = None,
    absent: Absences | None = None,
    threads: int = 1,
    watch: Watch | None = None,
) -> Simulation:
    """Run every round of a study; a draft gets its initial model first.

    `absent` names the sites whose input is missing from a round's merge, by round number (0 for the statistics
    round). `threads` are those of the merge. `watch` sees each round as it ends. Raises what the sites raise, and
    MergeError where fewer than the study's `min_sites` are left or an input isn't fit to be merged.
    """
    kept = MemoryStore() if store is None else store
    missing = absent or {}
    taking_part = {name: Site(spec, data, kept) for name, data in sites.items()}
    initial = next(iter(taking_part.values())).initial()
    if not spec.model.initial:
        spec = spec.with_initial(initial)
    elif spec.initial != initial:
        raise MergeError(f"the initial model is {initial.hex()}, the specification's is {spec.model.initial}")
    rounds: list[SimulatedRound] = []

    def conclude(number: int, contributions: dict[str, Contribution], output: bytes) -> None:
        rounds.append(SimulatedRound(number, contributions, output))
        if watch is not None:
            watch(rounds[-1])

    moments: bytes | None = None
    if spec.data.standardise:
        present = _present(spec, taking_part, missing, 0)
        contributions = {name: site.moments() for name, site in present.items()}
        moments = _merge_moments(kept, spec, contributions)
        conclude(0, contributions, moments)
    model = initial
    for number in range(1, spec.training.rounds + 1):
        present = _present(spec, taking_part, missing, number)
        contributions = {name: site.train(number, model, moments) for name, site in present.items()}
        model = _merge_updates(kept, spec, model, present, contributions, threads)
        conclude(number, contributions, model)
    return Simulation(spec, tuple(rounds), kept)


def _present(spec: StudySpec, sites: Mapping[str, Site], missing: Absences, number: int) -> dict[str, Site]:
    present = {name: site for name, site in sites.items() if name not in missing.get(number, frozenset())}
    if len(present) < spec.round.min_sites:
        raise MergeError(f"round {number}: {len(present)} sites take part; the study needs {spec.round.min_sites}")
    return present


def _merge_moments(store: BlobStore, spec: StudySpec, contributions: Mapping[str, Contribution]) -> bytes:
    for name, contribution in contributions.items():
        reason = check_moments(store, contribution.blob, spec.data.columns)
        if reason is not None:
            raise MergeError(f"the statistics of {name} can't be merged: {reason.name}")
    return merge_moments(store, [contribution.blob for contribution in contributions.values()]).blob


def _merge_updates(
    store: BlobStore,
    spec: StudySpec,
    base: bytes,
    sites: Mapping[str, Site],
    contributions: Mapping[str, Contribution],
    threads: int,
) -> bytes:
    rule = spec.merge_rule(next(iter(sites.values())).layout)
    for name, contribution in contributions.items():
        reason = check_input(store, contribution.blob, rule)
        if reason is not None:
            raise MergeError(f"the update of {name} can't be merged: {reason.name}")
    inputs = [(contribution.blob, contribution.weight) for contribution in contributions.values()]
    return merge_updates(store, base, inputs, rule, threads=threads).blob
