"""A site that asks a test's gatekeeper before each action of a round; started in place of `swarm-node run`.

    python held_site.py SOCKET --home DIR ...

It trains and commits after the round before is final, as a site does whose training takes long.
"""

import json
import sys
from pathlib import Path

import trio

from node import participation
from node.cli.main import run
from node.rounds import decide as do
from node.rounds import runner


class HeldRunner(runner.StudyRunner):
    async def _dispatch(self, action: do.Action) -> None:
        number = action.basis.round if isinstance(action, do.Train | do.Commit) else getattr(action, "round", -1)
        ask = {"site": SITE, "action": type(action).__name__, "round": number}
        async with await trio.open_unix_socket(SOCKET) as stream:
            await stream.send_all(json.dumps(ask).encode() + b"\n")
            await stream.receive_some(8)
        await super()._dispatch(action)


SOCKET = sys.argv.pop(1)
SITE = Path(sys.argv[sys.argv.index("--home") + 1]).name
runner.QUICK_TRAINING_SHARE = -1.0  # type: ignore[misc]
participation.StudyRunner = HeldRunner  # type: ignore[misc]
run()
