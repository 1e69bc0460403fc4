"""Check the contracts: `python -m contracts.check` compares them with the artifacts on record, and tests them."""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from contracts import build
from contracts.build import HERE, SOLC_VERSION

_NODE_MODULES: Final = HERE / "node_modules"


class ForgeMissingError(RuntimeError):
    """There is no forge on this machine."""

    def __init__(self) -> None:
        super().__init__(f"no forge here: run `npm ci --ignore-scripts` in {HERE}")


def find_forge() -> Path:
    """Find forge's own binary: npm's command of that name is a script that leaves forge behind when it is killed."""
    for name in ("forge", "forge.exe"):
        for path in sorted(_NODE_MODULES.glob(f"@foundry-rs/forge-*/bin/{name}")):
            return path
    raise ForgeMissingError


def forge(*arguments: str) -> bool:
    """Run forge in the contracts' folder, and say whether it was content; shows what it printed where it was not."""
    done = subprocess.run(
        [find_forge(), *arguments], cwd=HERE, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout + done.stderr)
    return done.returncode == 0


CHECKS: Final[dict[str, Callable[[], bool]]] = {
    "format": partial(forge, "fmt", "--check"),
    "lint": partial(forge, "lint", "src", "--deny", "warnings"),
    f"artifacts are what solc {SOLC_VERSION} makes of the sources": lambda: build.main(["--check"]) == 0,
    "tests, and gas as on record": partial(forge, "test"),
}


def main() -> int:
    """Run every check, with a line for each on standard error."""
    failed = 0
    for name, check in CHECKS.items():
        begin = time.monotonic()
        passed = check()
        failed += not passed
        sys.stderr.write(f"contracts: {name} ... {'ok' if passed else 'FAILED'} ({time.monotonic() - begin:.0f} s)\n")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ForgeMissingError, build.CompilerMissingError) as error:
        sys.exit(f"contracts: {error}")
