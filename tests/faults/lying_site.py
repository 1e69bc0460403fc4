"""A site that lies when it leads; the fault tests start it in place of `swarm-node run`.

    python lying_site.py LIE@ROUND,LIE@ROUND,... --home DIR ...

It lies in a round's first term only, so that every site may be such a one and the next leader is honest.
"""

import hashlib
import sys
from typing import Any

import trio

from node import participation
from node.cli.main import run
from node.rounds.decide import Publish
from node.rounds.review import Entry, Gathered, Reviewer
from node.rounds.runner import StudyRunner
from swarm.merge import Exclusion


class WrongOutput(Reviewer):
    """Publishes the hash of something else than the merge."""

    async def merge(self, number: int, base: bytes | None, merged: tuple[Entry, ...]) -> bytes:
        return hashlib.sha256(await super().merge(number, base, merged)).digest()


class Omission(Reviewer):
    """Leaves an honest site out and says that it couldn't be reached, once all others can know better."""

    async def gather(self, number: int, entries: tuple[Entry, ...], give_up: float) -> Gathered:
        gathered = await super().gather(number, entries, give_up)
        me = self._inputs._network.address
        victim = [entry for entry in gathered.merged if entry.site != me][-1]
        for other in gathered.merged:
            if other.site != me:
                await self._await_copy(victim, number, other.site)
        others = tuple(entry for entry in gathered.merged if entry is not victim)
        return Gathered(others, {**gathered.excluded, victim.seat: Exclusion.UNREACHABLE})

    async def _await_copy(self, victim: Entry, number: int, site: str) -> None:
        """Ask a site for the victim's update until it has it."""
        finding: Exclusion | None = Exclusion.UNREACHABLE
        while finding is not None:
            self._inputs.forget(victim.commitment.blob)
            finding = await self._inputs.fetch(victim.commitment.blob, number, [site])
            await trio.sleep(0.02)


LIES: dict[str, type[Reviewer]] = {"wrong-output": WrongOutput, "omission": Omission}


def liar(lies: dict[int, type[Reviewer]]) -> type[StudyRunner]:
    class LyingRunner(StudyRunner):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            rule = self._spec.merge_rule(self._site.store.manifest(self._spec.initial).tensors)
            parts = self._inputs, self._site.store, rule, self._stopwatch
            self._honest = self._reviewer
            self._liars = {number: lie(*parts) for number, lie in lies.items()}

        async def _publish(self, action: Publish) -> None:
            if action.term == 0:
                self._reviewer = self._liars.get(action.round, self._honest)
            try:
                await super()._publish(action)
            finally:
                self._reviewer = self._honest

    return LyingRunner


def main() -> None:
    plan = [lie.partition("@") for lie in sys.argv.pop(1).split(",")]
    lies = {int(number): LIES[lie] for lie, _, number in plan}
    participation.StudyRunner = liar(lies)  # type: ignore[misc]
    run()


main()
