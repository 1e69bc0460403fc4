"""Machines in network namespaces around one that stands for the Internet.

    site namespace --link-- core --link-- router namespace --veth-- site namespaces behind it
                             |
                           chain

A link is a pair of TUN devices and a process between them (`links.py`); the core forwards what nftables lets through.
Nothing of it touches the machine's own network.
"""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.wan.lab import namespaces
from tests.wan.lab.links import WITH_PARENT, Counters, Links, Shape
from tests.wan.lab.namespaces import entering, run_in

CHAIN = "chain"
CORE = "core"
CHAIN_ADDRESS = "10.77.0.1"
CHAIN_PORT = 8545
CHAIN_URL = f"http://{CHAIN_ADDRESS}:{CHAIN_PORT}"
CHAIN_SECONDS = 60.0
CLOCK = Path(__file__).with_name("clock.c")
FRONT = Path(__file__).with_name("front.py")
ROOT = Path(__file__).resolve().parents[3]

_labs = iter(range(1_000_000))


def missing() -> str | None:
    """Say why there can be no lab on this machine; None where there can."""
    if sys.platform != "linux":
        return "network namespaces are Linux'"
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [program for program in ("ip", "nft", "setpriv", "cc") if shutil.which(program) is None]
    if absent:
        return f"this machine lacks {', '.join(absent)} (Debian: iproute2, nftables, util-linux, gcc)"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun here"
    probe = subprocess.run(["unshare", "--net", "nft", "list", "ruleset"], capture_output=True)
    return "this machine allows no network namespaces" if probe.returncode else None


@cache
def wrong_clock() -> Path:
    """Build the library that makes a program's clock wrong; it lasts as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="swarmlab-clock-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = folder / "clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(CLOCK)], check=True)
    return library


@dataclass(slots=True)
class Machine:
    """A machine of a lab: its namespace, its address, and how it is reached."""

    name: str
    namespace: str
    address: str
    shape: Shape | None = None
    router: str | None = None
    clock_ahead: int = 0
    started: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def command(self, *command: str) -> list[str]:
        """A command line that runs in this machine, in a process that ends with the one that starts it."""
        return [*WITH_PARENT, *entering(self.namespace), *self._clock(), *command]

    def environment(self) -> dict[str, str]:
        """What programs of this machine find in their environment."""
        return {**os.environ, "PYTHONPATH": str(ROOT)}

    def _clock(self) -> list[str]:
        """What to put before a command so that its wall clock is wrong; its monotonic clock is not."""
        return ["env", f"LD_PRELOAD={wrong_clock()}", f"CLOCK_AHEAD={self.clock_ahead}"] if self.clock_ahead else []

    def start(
        self, *command: str, stdout: IO[Any] | int | None = None, stderr: IO[Any] | int | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start a program in this machine; it ends with the lab."""
        process = subprocess.Popen(
            self.command(*command), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=self.environment()
        )
        self.started.append(process)
        return process

    def run(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a program in this machine to its end."""
        return subprocess.run(
            self.command(*command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=check,
            env=self.environment(),
        )


class Lab:
    """Machines, links and cuts; a context manager that leaves nothing behind.

    `congestion` is the congestion control of their TCP. Reno's is the one that every kernel lets every namespace have,
    and that suffers most from loss.
    """

    def __init__(self, *, seed: int = 0, congestion: str = "reno") -> None:
        self.machines: dict[str, Machine] = {}
        self._prefix = f"{namespaces.names_of_this_process()}{next(_labs)}-"
        self._seed = seed
        self._congestion = congestion
        self._made: list[str] = []
        self._last = 1
        self._private = 0
        self._cuts: set[tuple[str, str]] = set()
        self._undialled: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        namespaces.remove_stale()
        self._links = Links(self._seed)
        try:
            self._core = self._namespace(CORE)
            self._add_chain()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill every process in the lab, and remove it."""
        self._links.close()
        while self._made:
            namespaces.remove(self._made.pop())
        for machine in self.machines.values():
            for process in machine.started:
                process.wait()

    def start_chain(self, folder: Path) -> str:
        """Run a development chain on its machine; gives the path of its socket, which passes no link.

        Every machine of the lab reaches it at `CHAIN_URL`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "devnet.log").open("wb") as log:
            devnet = self.chain.start(
                *(sys.executable, "-m", "node.cli", "devnet", "start"),
                *("--dir", str(folder), "--port", str(CHAIN_PORT)),
                stderr=log,
            )
        deadline = time.monotonic() + CHAIN_SECONDS
        while True:
            said = (folder / "devnet.log").read_text()
            if " and ipc://" in said:
                return said.partition(" and ipc://")[2].partition("\n")[0]
            if devnet.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the chain did not start: {said}")
            time.sleep(0.02)

    @property
    def chain(self) -> Machine:
        """The machine that the development chain runs on; its link does nothing to what passes."""
        return self.machines[CHAIN]

    # -- machines

    def site(self, name: str, *, behind: str | None = None, clock_ahead: int = 0, **shape: Any) -> Machine:
        """Add a machine; `shape` are the fields of `Shape`. `behind` a router, it has a private address.

        Its programs' wall clock is `clock_ahead` seconds ahead.
        """
        if behind is not None:
            return self._add_behind(name, behind, **shape)
        machine = Machine(name, self._namespace(name), self._new_address(), Shape(**shape), clock_ahead=clock_ahead)
        self.machines[name] = machine
        self._connect(machine)
        return machine

    def router(self, name: str, *, masquerade: str = "masquerade", **shape: Any) -> Machine:
        """Add a router: machines behind it reach the world by its address, and the world can't begin to reach them.

        `masquerade` is nftables' statement: "masquerade" keeps ports where it can, "masquerade fully-random" gives
        each connection a port of its own, as a symmetric NAT does.
        """
        machine = self.site(name, **shape)
        rules = f"""
            table ip nat {{
                chain out {{ type nat hook postrouting priority srcnat; oifname "wan" {masquerade}
                }}
            }}
            table ip guard {{
                chain forward {{ type filter hook forward priority filter; policy accept
                    iifname "wan" ct state != {{ established, related }} drop
                }}
                chain input {{ type filter hook input priority filter; policy accept
                    iifname "wan" ct state != {{ established, related }} ip protocol != icmp drop
                }}
            }}
        """
        self.nft(name, rules)
        return machine

    def _add_behind(self, name: str, router: str, **shape: Any) -> Machine:
        """A machine on a cable of its own to a router; what its link does, the router's link does."""
        if shape:
            raise ValueError("what happens to packets happens on the router's link")
        self._private += 1
        number, gate = self._private, self.machines[router]
        inside, outside = f"192.168.{number}.2", f"192.168.{number}.1"
        machine = Machine(name, self._namespace(name), inside, router=router)
        self.machines[name] = machine
        self._cable(machine.namespace, "lan", gate.namespace, f"lan-{number}")
        run_in(gate.namespace, "ip", "addr", "add", f"{outside}/24", "dev", f"lan-{number}")
        run_in(machine.namespace, "ip", "addr", "add", f"{inside}/24", "dev", "lan")
        run_in(machine.namespace, "ip", "route", "add", "default", "via", outside)
        return machine

    def _connect(self, machine: Machine) -> None:
        assert machine.shape is not None
        self._links.add(machine.name, (machine.namespace, "wan"), (self._core, self._port(machine)))
        self._links.shape(machine.name, machine.shape)
        for namespace, device in ((machine.namespace, "wan"), (self._core, self._port(machine))):
            run_in(namespace, "ip", "link", "set", device, "mtu", "1500", "txqueuelen", "5000", "up")
        self._address(machine, machine.address)
        run_in(machine.namespace, "ip", "route", "add", "default", "dev", "wan")

    def _address(self, machine: Machine, address: str) -> None:
        run_in(machine.namespace, "ip", "addr", "add", f"{address}/32", "dev", "wan")
        run_in(self._core, "ip", "route", "replace", f"{address}/32", "dev", self._port(machine))

    def _add_chain(self) -> None:
        machine = Machine(CHAIN, self._namespace(CHAIN), CHAIN_ADDRESS)
        self.machines[CHAIN] = machine
        self._cable(machine.namespace, "wan", self._core, CHAIN)
        self._address_chain(machine)
        machine.start(sys.executable, "-S", str(FRONT), CHAIN_ADDRESS, str(CHAIN_PORT))

    def _address_chain(self, machine: Machine) -> None:
        run_in(machine.namespace, "ip", "addr", "add", f"{machine.address}/32", "dev", "wan")
        run_in(machine.namespace, "ip", "route", "add", "default", "dev", "wan")
        run_in(self._core, "ip", "route", "add", f"{machine.address}/32", "dev", CHAIN)
        run_in(self._core, "ip", "addr", "add", "10.77.255.254/32", "dev", "lo")
        for namespace, device in ((machine.namespace, "wan"), (self._core, CHAIN)):
            run_in(namespace, "sh", "-c", f"echo 1 >/proc/sys/net/ipv4/conf/{device}/proxy_arp")

    def _cable(self, one: str, device: str, other: str, port: str) -> None:
        namespaces.ip(*("link", "add", device, "netns", one, "type", "veth", "peer", "name", port, "netns", other))
        for namespace, end in ((one, device), (other, port)):
            run_in(namespace, "ip", "link", "set", end, "up")

    def _namespace(self, name: str) -> str:
        full = self._prefix + name
        namespaces.add(full, self._congestion)
        self._made.append(full)
        return full

    def _new_address(self) -> str:
        self._last += 1
        return f"10.77.{self._last // 250}.{self._last % 250 + 1}"

    def _port(self, machine: Machine) -> str:
        return f"to-{list(self.machines).index(machine.name)}"

    # -- what happens to them

    def shape(self, name: str, **shape: Any) -> None:
        """Change some of what a machine's link does."""
        machine = self.machines[name]
        assert machine.shape is not None
        machine.shape = replace(machine.shape, **shape)
        self._links.shape(name, machine.shape)

    def readdress(self, name: str) -> str:
        """Give a machine another address in place of its own; what went to the old one is lost. Gives the new one."""
        machine = self.machines[name]
        old, machine.address = machine.address, self._new_address()
        run_in(machine.namespace, "ip", "addr", "del", f"{old}/32", "dev", "wan")
        run_in(self._core, "ip", "route", "del", f"{old}/32")
        self._address(machine, machine.address)
        run_in(machine.namespace, "ip", "route", "replace", "default", "dev", "wan")
        self._apply_cuts()
        return machine.address

    def cut(self, *names: str, off: Sequence[str] | None = None) -> None:
        """Let nothing pass between machines: between each two of those named, or from each of them to each in `off`."""
        for one in names:
            for other in names if off is None else off:
                if one != other:
                    self._cuts |= {(one, other), (other, one)}
        self._apply_cuts()

    def cut_off(self, name: str) -> None:
        """Let nothing pass between a machine and all others, the chain included."""
        self.cut(name, off=[other for other in self.machines if other != name])

    def cut_one_way(self, source: str, sink: str) -> None:
        """Let nothing pass from one machine to another; the other way is open."""
        self._cuts.add((source, sink))
        self._apply_cuts()

    def cut_dialling(self, source: str, sink: str) -> None:
        """Let one machine begin no connection to another, as a firewall does; those begun by the other are let be."""
        self._undialled.add((source, sink))
        self._apply_cuts()

    def heal(self) -> None:
        """Let everything pass again."""
        self._cuts.clear()
        self._undialled.clear()
        self._apply_cuts()

    def nft(self, name: str, rules: str) -> None:
        """Give rules to a machine's nftables, in its own language."""
        run_in(self.machines[name].namespace, "nft", "-f", "-", text=rules)

    def counters(self, name: str) -> tuple[Counters, Counters]:
        """What has passed a machine's link so far, up and down."""
        return self._links.count(name)

    def cpu_seconds(self) -> float:
        """What the links have cost so far, all of them."""
        return self._links.cpu_seconds(next(iter(self._shaped())))

    def _shaped(self) -> Iterator[str]:
        return (name for name, machine in self.machines.items() if machine.shape is not None)

    def _outside(self, name: str) -> str:
        """The address by which the world knows a machine."""
        machine = self.machines[name]
        return machine.address if machine.router is None else self.machines[machine.router].address

    def _apply_cuts(self) -> None:
        rules = [f"ip saddr {a} ip daddr {b} drop" for a, b in self._addressed(self._cuts)]
        begin = "tcp flags & (syn | ack) == syn"
        rules += [f"ip saddr {a} ip daddr {b} {begin} drop" for a, b in self._addressed(self._undialled)]
        chain = "type filter hook forward priority filter; policy accept;"
        text = "\n".join(
            [
                "table ip cuts { }",
                "delete table ip cuts",
                "table ip cuts {",
                "chain forward {",
                chain,
                *rules,
                "}",
                "}",
                "",
            ]
        )
        run_in(self._core, "nft", "-f", "-", text=text)

    def _addressed(self, pairs: set[tuple[str, str]]) -> list[tuple[str, str]]:
        return sorted((self._outside(source), self._outside(sink)) for source, sink in pairs)
