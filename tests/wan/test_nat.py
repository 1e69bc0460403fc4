"""Two sites behind two routers that let nobody in: through a relay, and past it where the routers allow."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.swarm_rig import specification, swarm_on
from tests.wan.lab import CHAIN_URL, Lab, missing
from tests.wan.nat_rig import NatRig, NatSite
from tests.wan.wan_rig import RUN, FarRig

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]

KEEPS_PORTS = "masquerade"
DRAWS_PORTS = "masquerade fully-random"
MIB = 1 << 20


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


def add_routers(lab: Lab, masquerade: str) -> None:
    for name in ("home", "clinic"):
        lab.router(f"router-{name}", masquerade=masquerade, delay_ms=20)


def behind_routers(rig: NatRig, lab: Lab, masquerade: str) -> tuple[NatSite, NatSite]:
    """Two sites behind a router each."""
    add_routers(lab, masquerade)
    return rig.start(lab.site("one", behind="router-home")), rig.start(lab.site("other", behind="router-clinic"))


def test_routers_that_draw_ports_leave_two_sites_to_relays_of_which_one_may_die(lab: Lab, tmp_path: Path) -> None:
    with NatRig(lab, tmp_path) as rig:
        relays = [rig.start(lab.site(name, delay_ms=20), relay=True) for name in ("relay", "spare")]
        one, other = behind_routers(rig, lab, DRAWS_PORTS)
        by_address = {relay.address: relay for relay in relays}
        rig.until(lambda: {one.way_to(other), other.way_to(one)} <= by_address.keys(), "connected through a relay")
        assert one.pulls(other.blob, other) is True
        assert all(relay.pulls(one.blob, one) is True for relay in relays)  # a call that one began serves both ways

        used = by_address.pop(one.way_to(other))
        rig.stop(used.process)
        rig.until(lambda: {one.way_to(other), other.way_to(one)} <= by_address.keys(), "through the other relay")
        assert other.pulls(one.blob, one) is True


def test_routers_that_keep_ports_let_two_sites_meet(lab: Lab, tmp_path: Path) -> None:
    with NatRig(lab, tmp_path) as rig:
        relay = rig.start(lab.site("relay", delay_ms=20), relay=True)
        one, other = behind_routers(rig, lab, KEEPS_PORTS)
        rig.until(lambda: one.way_to(other) == other.way_to(one) == "direct", "connected past the relay")
        rig.stop(relay.process)
        assert one.pulls(other.blob, other) is True
        assert other.pulls(one.blob, one) is True
        assert one.way_to(other) == "direct"


def test_a_study_is_finished_with_two_of_its_three_sites_behind_routers(lab: Lab, tmp_path: Path) -> None:
    add_routers(lab, DRAWS_PORTS)
    machines = {
        "open": lab.site("open", delay_ms=20),
        "hidden": lab.site("hidden", behind="router-home"),
        "concealed": lab.site("concealed", behind="router-clinic"),
    }
    settings = {"rpc": CHAIN_URL, "listen": "/ip4/0.0.0.0/tcp/4001", "poll_seconds": 0.25}
    configs = {**dict.fromkeys(machines, settings), "open": {**settings, "relay": {"offer": True}}}
    programs = {name: machine.command(*RUN) for name, machine in machines.items()}
    chain = lab.start_chain(tmp_path / "chain")
    with swarm_on(f"ipc://{chain}", tmp_path, specification(3, 3), programs, configs=configs) as rig:
        far = FarRig(lab, rig)
        rig.until_finished()
        rig.until(
            lambda: all("/p2p-circuit/" in far.addresses_of(name) for name in ("hidden", "concealed")),
            "both hidden sites published at the relay",
        )
        rig.check_models(list(machines))
        assert all(rig.merged(number) == set(machines) for number in range(1, 4))
        assert "/p2p-circuit/" not in far.addresses_of("open")
