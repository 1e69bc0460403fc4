"""What came of a demo: the data of its envelope, and the tables of its summary."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ledger.client import Ledger
from ledger.events import Event, RoundEvent
from ledger.state import ConsortiumState, RoundState, StudyState
from ledger.types import Address, seats_of
from node.demo.comparison import METRICS, Compared
from node.demo.watch import Watcher
from node.usage import Usage, usage_of
from swarm.evaluation import MODELS, Measured
from swarm.merge import Exclusion

HEADINGS = {"accuracy": "Accuracy", "balanced_accuracy": "balanced accuracy", "auc": "AUC", "log_loss": "log loss"}
COLUMNS = {"local": "own", "swarm": "swarm", "pooled": "pooled"}


@dataclass(frozen=True, slots=True)
class Report:
    """The data of the demo's envelope; `data` holds plain JSON values alone."""

    data: dict[str, Any]

    def show(self, console: Console) -> None:
        """Print the summary."""
        _show_sites(console, self.data["sites"])
        _show_splits(console, self.data["splits"])
        _show_rounds(console, self.data["rounds"])
        _show_ledger(console, self.data)


def make(
    watcher: Watcher, ledger: Ledger, events: list[Event], compared: Compared, files: Mapping[str, Path]
) -> Report:
    """Put the report together from the ledger's record and the sites' evaluations."""
    study, names = watcher.watched, watcher.state.consortium
    spent = usage_of(ledger.rpc, {event.at.tx for event in events})
    return Report(
        {
            "study": {
                "number": study.number,
                "specification": study.spec_hash.hex(),
                "status": study.status.name.lower(),
            },
            "final_model": study.final_output.hex() if study.final_output is not None else None,
            "sites": [_site(names, account, compared) for account in sorted(study.sites, key=names.name_of)],
            "splits": {
                "count": compared.count,
                **{
                    model: {metric: interval and asdict(interval) for metric, interval in metrics.items()}
                    for model, metrics in compared.splits.items()
                },
            },
            "rounds": [_round(watcher, study, one, names, _of_round(events, one, spent)) for one in study.rounds],
            "ledger": {
                **_usage(sum(spent.values(), Usage())),
                "chain_id": ledger.deployment.chain_id,
                "contracts": {"consortium": ledger.deployment.consortium, "study": ledger.deployment.study},
            },
            "files": {what: str(path) for what, path in files.items()},
        }
    )


def _site(names: ConsortiumState, account: Address, compared: Compared) -> dict[str, Any]:
    name = names.name_of(account)
    site = compared.comparison.sites[name]
    return {
        "name": name,
        "address": account,
        "samples": site.train,
        "test_samples": site.test,
        **{model: _metrics(getattr(site, model)) for model in MODELS},
    }


def _metrics(measured: Measured) -> dict[str, Any]:
    auc = measured.intervals.get("auc")
    interval = [auc.low, auc.high] if auc is not None else None
    return {**{metric: getattr(measured.metrics, metric) for metric in METRICS}, "auc_interval": interval}


def _round(watcher: Watcher, study: StudyState, one: RoundState, names: ConsortiumState, used: Usage) -> dict[str, Any]:
    def name(seat: int) -> str:
        return names.name_of(study.participant_at(seat).account)

    final = one.final
    last = one.terms[-1] if one.terms else None
    published = last.publication if last is not None else None
    left_out = seats_of(one.committed & ~published.merged) if published is not None else ()
    reasons = published.reasons if published is not None else b""
    return {
        "number": one.number,
        "attempts": one.attempt + 1,
        "extensions": one.extensions,
        "terms": [
            {
                "term": term.number,
                "leader": names.name_of(term.leader),
                "fault": term.fault.name.lower() if term.fault is not None else None,
                "attested": [name(seat) for seat in sorted(term.attested)],
                "rejected": {name(seat): reason for seat, reason in sorted(term.rejected.items())},
            }
            for term in one.terms
        ],
        "leader": names.name_of(last.leader) if last is not None else None,
        "committed": [name(seat) for seat in seats_of(one.committed)],
        "merged": [name(seat) for seat in seats_of(final.merged)] if final is not None else [],
        "excluded": [
            {"site": name(seat), "reason": _reason(reason)} for seat, reason in zip(left_out, reasons, strict=True)
        ],
        "absent": [name(seat) for seat in seats_of(one.eligible & ~one.committed)],
        "output": final.output.hex() if final is not None else None,
        "seconds": watcher.clock.seconds.get(one.number),
        "ledger": _usage(used),
    }


def _reason(number: int) -> str:
    return Exclusion(number).name.lower() if number in set(Exclusion) else f"reason {number}"


def _of_round(events: list[Event], one: RoundState, spent: Mapping[bytes, Usage]) -> Usage:
    """What the transactions of a round cost; one that belongs to two rounds is the later one's commit."""
    last_round: dict[bytes, int] = {}
    for event in events:
        if isinstance(event, RoundEvent):
            last_round.setdefault(event.at.tx, event.round)
    return sum((spent[tx] for tx, number in last_round.items() if number == one.number), Usage())


def _usage(usage: Usage) -> dict[str, int]:
    return {"transactions": usage.transactions, "gas": usage.gas, "bytes": usage.bytes}


def _show_sites(console: Console, sites: list[dict[str, Any]]) -> None:
    """Two metrics a table: that fits a terminal of 80 columns."""
    for first, second in (METRICS[:2], METRICS[2:]):
        table = Table(title=f"{HEADINGS[first]} and {HEADINGS[second]} on each site's own test patients")
        table.add_column("site", no_wrap=True)
        table.add_column("patients", justify="right")
        for _ in (first, second):
            for model in MODELS:
                table.add_column(COLUMNS[model], justify="right", style="bold" if model == "swarm" else "")
        for site in sites:
            patients = f"{site['samples']}+{site['test_samples']}"
            cells = [_number(site[model][metric]) for metric in (first, second) for model in MODELS]
            table.add_row(site["name"], patients, *cells)
        means = [_mean([site[model][metric] for site in sites]) for metric in (first, second) for model in MODELS]
        table.add_section()
        table.add_row("mean", "", *map(_number, means))
        console.print(table)


def _show_splits(console: Console, splits: dict[str, Any]) -> None:
    table = Table(title=f"Mean over the sites, over {splits['count']} random splits and seeds (95 % interval)")
    table.add_column("model")
    for metric in METRICS:
        table.add_column(HEADINGS[metric], justify="right")
    for model in MODELS:
        table.add_row(COLUMNS[model], *(_interval(splits[model][metric]) for metric in METRICS))
    console.print(table)


def _mean(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(interval: dict[str, float] | None) -> str:
    if interval is None:
        return "-"
    return f"{interval['estimate']:.3f} ± {(interval['high'] - interval['low']) / 2:.3f}"


def _show_rounds(console: Console, rounds: list[dict[str, Any]]) -> None:
    table = Table(title="Rounds (round 0 agrees the sites' statistics)")
    for heading in ("round", "leader", "merged", "what went wrong"):
        table.add_column(heading)
    for heading in ("seconds", "txs", "gas", "bytes"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in rounds:
        wrong = [f"{term['leader']}: {term['fault'].replace('_', ' ')}" for term in one["terms"] if term["fault"]]
        wrong += [f"{item['site']} left out: {item['reason'].replace('_', ' ')}" for item in one["excluded"]]
        wrong += [f"{name} absent" for name in one["absent"]]
        seconds = one["seconds"]
        table.add_row(
            str(one["number"]) if one["number"] else "0",
            one["leader"] or "-",
            str(len(one["merged"])),
            ", ".join(wrong) or "-",
            f"{sum(seconds.values()):.2f}" if seconds else "-",
            str(one["ledger"]["transactions"]),
            f"{one['ledger']['gas']:,}",
            f"{one['ledger']['bytes']:,}",
        )
    console.print(table)


def _show_ledger(console: Console, data: dict[str, Any]) -> None:
    ledger = data["ledger"]
    console.print(
        f"ledger: {ledger['transactions']} transactions, {ledger['gas']:,} gas, {ledger['bytes']:,} bytes of call data;"
        f" chain {ledger['chain_id']}, study contract {ledger['contracts']['study']}"
    )
    console.print(f"final model: [bold]{data['final_model']}[/bold], the same at every site and on the ledger")
    for what, path in data["files"].items():
        console.print(f"  {what:<10} {path}", soft_wrap=True, highlight=False)
