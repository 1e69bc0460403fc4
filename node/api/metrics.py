"""What Prometheus collects, made from one observation, in a registry of its own."""

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from ledger.state import StudyState
from ledger.types import Address
from node.api.live import Observation
from node.rounds.stopwatch import Activity
from node.version import SOFTWARE

MICRO = 1e-6
PHASES = (*Activity, "waiting")


def render(seen: Observation, *, me: Address, free_bytes: int, age_of_head: float, is_paused: bool) -> bytes:
    """Write the metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collected([*_site(seen, me, free_bytes, age_of_head, is_paused), *_peers(seen, me)]))
    registry.register(_Collected([*_rounds(seen, me), *_activity(seen), *_faults(seen)]))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _site(seen: Observation, me: Address, free: int, age: float, is_paused: bool) -> Iterator[Metric]:
    build = GaugeMetricFamily("swarm_build", "The software that runs; always 1.", labels=["software"])
    build.add_metric([SOFTWARE], 1)
    yield build
    member = float(me in seen.consortium.members)
    yield GaugeMetricFamily("swarm_member", "1 while this site is a member of the consortium.", value=member)
    yield GaugeMetricFamily("swarm_members", "Members of the consortium.", value=len(seen.consortium.members))
    yield GaugeMetricFamily("swarm_paused", "1 while its operator has paused this site.", value=float(is_paused))
    yield GaugeMetricFamily("swarm_disk_free_bytes", "Free bytes of the disk with the site's folder.", value=free)
    head = seen.cursor.block if seen.cursor is not None else 0
    yield GaugeMetricFamily("swarm_chain_head", "The newest block that this site has read.", value=head)
    yield GaugeMetricFamily("swarm_chain_head_age_seconds", "Age of that block by its timestamp.", value=age)
    yield GaugeMetricFamily("swarm_chain_reachable", "1 while the Ethereum node answers.", value=float(seen.reachable))
    yield CounterMetricFamily("swarm_rpc_errors", "Failed attempts to read the chain.", value=seen.rpc_errors)


def _peers(seen: Observation, me: Address) -> Iterator[Metric]:
    yield GaugeMetricFamily("swarm_connected_peers", "Members that are connected now.", value=len(seen.connected))
    labels = ["peer", "name"]
    connected = GaugeMetricFamily("swarm_peer_connected", "1 while the member is connected.", labels=labels)
    sent = CounterMetricFamily("swarm_peer_sent_bytes", "Bytes sent to the member.", labels=labels)
    received = CounterMetricFamily("swarm_peer_received_bytes", "Bytes received from the member.", labels=labels)
    for account in sorted({*seen.consortium.members, *seen.traffic} - {me}):
        of = [account, seen.consortium.name_of(account)]
        connected.add_metric(of, float(account in seen.connected))
        if (traffic := seen.traffic.get(account)) is not None:
            sent.add_metric(of, traffic.sent)
            received.add_metric(of, traffic.received)
    yield from (connected, sent, received)


def _rounds(seen: Observation, me: Address) -> Iterator[Metric]:
    """What the ledger says of this site's studies: these figures survive a restart."""
    final = CounterMetricFamily("swarm_rounds_final", "Rounds of a study that are final.", labels=["study"])
    present = GaugeMetricFamily("swarm_round", "A study's present round.", labels=["study"])
    faults = CounterMetricFamily("swarm_leader_faults", "Leaders' terms that failed.", labels=["study", "kind"])
    epsilon = GaugeMetricFamily("swarm_epsilon_spent", "Privacy budget this site has spent.", labels=["study"])
    for number, study in seen.studies.items():
        if me not in study.sites:
            continue
        label = str(number)
        final.add_metric([label], sum(one.final is not None for one in study.rounds))
        if study.rounds:
            present.add_metric([label], study.round.number)
        for kind, count in _leader_faults(study).items():
            faults.add_metric([label, kind], count)
        epsilon.add_metric([label], study.sites[me].epsilon_spent * MICRO)
    yield from (final, present, faults, epsilon)


def _leader_faults(study: StudyState) -> Counter[str]:
    terms = (term for one in study.rounds for term in one.terms)
    return Counter(term.fault.name.lower() for term in terms if term.fault is not None)


def _activity(seen: Observation) -> Iterator[Metric]:
    """Where the seconds of this site's rounds went since it was started."""
    rounds = SummaryMetricFamily("swarm_round_seconds", "Seconds from one final round to the next.", labels=["study"])
    phases = CounterMetricFamily(
        "swarm_round_phase_seconds",
        "Seconds of rounds by what this site did; they may overlap.",
        labels=["study", "phase"],
    )
    training = CounterMetricFamily("swarm_training_seconds", "Seconds of training.", labels=["study"])
    for number, (count, seconds) in seen.round_seconds.items():
        rounds.add_metric([str(number)], count, seconds.get("seconds", 0.0))
        training.add_metric([str(number)], seconds.get(Activity.TRAINING, 0.0))
        for phase in PHASES:
            phases.add_metric([str(number), str(phase)], seconds.get(phase, 0.0))
    yield from (rounds, phases, training)


def _faults(seen: Observation) -> Iterator[Metric]:
    peers = CounterMetricFamily("swarm_peer_faults", "What was wrong with other members.", labels=["kind"])
    for kind, count in seen.peer_faults.items():
        peers.add_metric([kind], count)
    failures = CounterMetricFamily("swarm_action_failures", "What failed at this site.", labels=["action", "code"])
    for (action, code), count in seen.failures.items():
        failures.add_metric([action.lower(), code], count)
    refusals = CounterMetricFamily("swarm_ledger_refusals", "What the contracts refused this site.", labels=["code"])
    for code, count in seen.refusals.items():
        refusals.add_metric([code], count)
    yield from (peers, failures, refusals)
