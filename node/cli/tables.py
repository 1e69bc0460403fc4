"""Results of commands, put in words and tables for a person."""

from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_PHASES = ("collecting", "merging", "reviewing", "lost")
_STATUS = {"running": "green", "finished": "bold green", "proposed": "yellow", "aborted": "red"}


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _when(timestamp: int | None) -> str:
    if timestamp is None:
        return "-"
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _names(names: list[str]) -> str:
    return escape(", ".join(names)) or "-"


def members(data: dict[str, Any]) -> None:
    """The members, and the motions that are open."""
    console = _console()
    table = Table(title=f"Members; a motion needs {data['threshold']} approvals", title_justify="left")
    for column in ("name", "address", "seat", "since", "dialled at"):
        table.add_column(column, overflow="fold")
    for member in data["members"]:
        name = escape(member["name"]) + (" [dim](this site)[/dim]" if member["me"] else "")
        multiaddrs = escape("\n".join(member["multiaddrs"])) or "-"
        table.add_row(name, member["address"], str(member["seat"]), _when(member["since"]), multiaddrs)
    console.print(table)
    for motion in data["motions"]:
        motion_in_words(motion)


def motion_in_words(motion: dict[str, Any]) -> None:
    """A motion: what for, who voted, until when."""
    asks = "to join" if motion["kind"] == "admit" else f"to be removed: {motion['reason']}"
    text = f"motion {motion['motion']}, {motion['state']}: {motion['name']} ({motion['subject']}) {asks}"
    _console().print(
        f"[bold]{escape(text)}[/bold]\n"
        f"  approved by {_names(motion['approved'])}; refused by {_names(motion['refused'])}; "
        f"not voted {_names(motion['not_voted'])}; until {_when(motion['deadline'])}"
    )


def studies(data: dict[str, Any]) -> None:
    """Every study in a line."""
    if not data["studies"]:
        _console().print("no study has been proposed")
        return
    table = Table(title="Studies", title_justify="left")
    for column in ("study", "specification", "proposed by", "status", "round", "this site", "waits for"):
        table.add_column(column, overflow="fold")
    for one in data["studies"]:
        number = "-" if one["round"] is None else f"{one['round']}/{one['rounds']}"
        colour = _STATUS.get(one["status"], "white")
        status = f"[{colour}]{one['status']}[/{colour}]"
        waits = escape(one["waits_for"]) if one["status"] in ("proposed", "running") else "-"
        proposer, answer = escape(one["proposer"]), one["answer"]
        table.add_row(str(one["study"]), one["spec_hash"][:8], proposer, status, number, answer, waits)
    _console().print(table)


def standing(data: dict[str, Any]) -> None:
    """Where one study stands."""
    console = _console()
    console.print(
        f"[bold]study {data['study']}[/bold], specification {data['spec_hash']}\n"
        f"  proposed by {escape(data['proposer'])}; {data['status']}; this site: {data['answer']}\n"
        f"  accepted by {_names(data['accepted'])}; declined by {_names(data['declined'])}; "
        f"no answer yet from {_names(data['unanswered'])}"
    )
    if data["status"] in ("proposed", "running"):
        number = "" if data["round"] is None else f"round {data['round']} of {data['rounds']}, "
        console.print(
            f"  {number}{escape(data['waits_for'])}, since {_when(data['since'])}, until {_when(data['until'])}"
        )
    if data["here"]:
        console.print(f"  [yellow]at this site: {escape(data['here'])}[/yellow]")
    if data["final_model"]:
        console.print(f"  final model {data['final_model']}")


def pausing(data: dict[str, Any]) -> None:
    """That a site is paused."""
    why = f": {escape(data['reason'])}" if data["reason"] else ""
    _console().print(f"[yellow]paused[/yellow] since {_when(data['since'])}{why}; swarm-node resume ends it")


def description(data: dict[str, Any]) -> None:
    """What a study would do here, what the policy says to it, and what changed."""
    console = Console(highlight=False)
    table = Table(title=f"What {escape(data['name'])!r} does at this site", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for part in data["in_words"]:
        table.add_row(part["about"], escape(part["says"]))
    console.print(table)
    for change in data.get("differences", ()):
        if change is data["differences"][0]:
            console.print(f"changed since study {data['agreed_before']}, which this site accepted:")
        console.print(f"  {escape(change['field'])}: {escape(change['before'])} -> {escape(change['after'])}")
    if data.get("agreed_before") is not None and not data["differences"]:
        console.print(f"nothing differs from study {data['agreed_before']}, which this site accepted")
    for breach in data["policy"]:
        console.print(f"[red]this site's policy forbids it:[/red] {escape(breach['rule'])}: {escape(breach['says'])}")
    if not data["policy"]:
        console.print("[green]this site's policy allows it[/green]")


def inspection(data: dict[str, Any]) -> None:
    """A study on the ledger: where it stands, and what it would do here."""
    standing(data)
    description(data)


def finding(check: str, verdict: str, says: str) -> None:
    """One line of a doctor's report."""
    colour = {"ok": "green", "warning": "yellow", "failed": "bold red"}.get(verdict, "dim")
    _console().print(f"[{colour}]{verdict:>8}[/{colour}]  [bold]{check:<13}[/bold] {escape(says)}")


def verdict(data: dict[str, Any]) -> None:
    """What came of a canary."""
    console = _console()
    console.print(f"[bold]study {data['study']}[/bold], {escape(data['name'])}: {data['status']}")
    if data["waits_for"]:
        console.print(f"  not over yet: {escape(data['waits_for'])}")
    sites = Table(title="Sites", title_justify="left")
    for column in ("site", "committed", "merged", "attested", "update after", "transactions", "gas", "call data"):
        sites.add_column(column, overflow="fold")
    for one in data["sites"]:
        attested = "rejected" if one["rejected"] else _yes(one["attested"], no="not needed")
        after = ", ".join(f"{seconds} s" for seconds in one["update_after"].values()) or "-"
        cost = (str(one["transactions"]), f"{one['gas']:,}", f"{one['bytes']:,} B")
        sites.add_row(escape(one["name"]), _yes(one["committed"]), _yes(one["merged"]), attested, after, *cost)
    console.print(sites)
    rounds = Table(title="Seconds, by the chain's clock", title_justify="left")
    for column in ("round", "leader", "all", *_PHASES):
        rounds.add_column(column)
    for one in data["rounds"]:
        seconds = map(str, (one["seconds"] or dict.fromkeys(("all", *_PHASES), "-")).values())
        rounds.add_row(str(one["round"]), escape(one["leader"] or "-"), *seconds)
    console.print(rounds)
    for number, spent in data["here"].items():
        here = [f"{name} {value:.2f} s" for name, value in spent.items() if name not in ("seconds", "sent", "received")]
        console.print(f"round {number} at this site: {', '.join(here)}; {_exchanged(spent)}")
    if data["absent"]:
        console.print(f"did not take part: {_names(data['absent'])}")
    for sentence in (*data["slow"], *data["faults"]):
        console.print(escape(sentence))
    console.print(escape(_outlook(data["estimate"])))
    if data["passed"] is not None:
        console.print("[green]it went well[/green]" if data["passed"] else "[red]it did not go well[/red]")


def _yes(value: bool | None, *, no: str = "no") -> str:
    return "-" if value is None else "yes" if value else no


def _exchanged(spent: dict[str, float]) -> str:
    return f"{spent.get('sent', 0):,.0f} bytes sent, {spent.get('received', 0):,.0f} received"


def _outlook(estimate: dict[str, Any]) -> str:
    if estimate["seconds_per_round"] is None:
        return "how long the study would take isn't known yet"
    pace = f"a round takes about {max(estimate['seconds_per_round'], 1):.0f} s or less"
    if estimate["seconds"] is None:
        return f"{pace}; name the whole study with --for to have its time estimated"
    return f"{pace}; all {estimate['rounds']} rounds of {estimate['study']} about {estimate['seconds']:.0f} s"
