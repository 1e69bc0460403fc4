"""The swarm, live: who trains, who leads, who is waited for."""

from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ledger.events import (
    Event,
    LeaderElected,
    LeaderFailed,
    OutputRejected,
    RoundExtended,
    RoundFinalised,
    RoundRetried,
)
from ledger.state import ConsortiumState, StudyState
from ledger.types import Phase
from node.demo.watch import Watcher
from node.operator.standing import waits_for

BAR_WIDTH = 40


class Display:
    """A picture that redraws itself in a terminal; elsewhere a line for every event that matters."""

    def __init__(self, console: Console, watcher: Watcher, rounds: int) -> None:
        self._console = console
        self._watcher = watcher
        self._rounds = rounds
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None
        self._down: set[str] = set()

    def __enter__(self) -> "Display":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line above the picture."""
        self._console.print(text, highlight=False)

    def tell(self, event: Event) -> None:
        """Say what a newcomer would want to know of an event."""
        sentence = _sentence(event, self._watcher.state.consortium, self._watcher.watched)
        if sentence is not None:
            self.say(sentence)

    def refresh(self, down: set[str]) -> None:
        """Redraw; `down` are the names of the sites whose process is not running."""
        self._down = down
        if self._live is not None:
            self._live.update(self._picture())

    def _picture(self) -> RenderableType:
        study, names = self._watcher.watched, self._watcher.state.consortium
        if not study.rounds:
            waiting = [member.name for account, member in names.members.items() if account not in study.sites]
            return Text(f"  study {study.number} proposed; waiting for {', '.join(waiting)} to accept")
        present = study.round
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(f"  round {present.number}/{self._rounds}", style="bold"),
            ProgressBar(total=self._rounds, completed=present.number, width=BAR_WIDTH),
            Text(waits_for(study, names), style="dim"),
        )
        table = Table.grid(padding=(0, 3))
        for account, participant in study.sites.items():
            name = names.name_of(account)
            table.add_row("   ", Text(name), _doing(study, participant.seat, account, name in self._down))
        return Group(head, table)


def _doing(study: StudyState, seat: int, account: str, down: bool) -> Text:
    present, bit = study.round, 1 << seat
    if down:
        return Text("down", style="bold red")
    if study.phase is Phase.COLLECTING:
        return Text("committed", style="green") if present.committed & bit else Text("training", style="yellow")
    if present.leader == account:
        return Text("leading", style="bold cyan")
    if seat in study.upcoming:
        return Text("attested, and committed its next update", style="green")
    if present.term is not None and seat in present.term.attested:
        return Text("attested", style="green")
    return Text("verifying", style="yellow") if study.phase is Phase.REVIEWING else Text("waiting", style="dim")


def _sentence(event: Event, names: ConsortiumState, study: StudyState) -> str | None:
    match event:
        case LeaderElected(term=term) if term > 0:
            return f"[cyan]round {event.round}: {names.name_of(event.leader)} leads instead (term {term})[/cyan]"
        case LeaderFailed():
            fault = event.fault.name.lower().replace("_", " ")
            return f"[red]round {event.round}: leader {names.name_of(event.leader)} failed: {fault}[/red]"
        case OutputRejected():
            return f"[red]round {event.round}: {names.name_of(event.site)} rejects the merged model[/red]"
        case RoundExtended():
            return f"[yellow]round {event.round}: too few updates in time; the deadline moved[/yellow]"
        case RoundRetried():
            return f"[yellow]round {event.round}: no leader is left; collecting again[/yellow]"
        case RoundFinalised():
            leader = names.name_of(study.round_numbered(event.round).terms[-1].leader)
            what = (
                "the sites' statistics are agreed" if event.round == 0 else f"final, {event.merged.bit_count()} merged"
            )
            return f"round {event.round:>3}: {what}; leader {leader}; {event.output.hex()[:12]}"
        case _:
            return None
