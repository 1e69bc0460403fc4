"""Two sites behind two routers that let nobody in: through a relay, and past it where the routers allow."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wan.lab import Lab, missing
from tests.wan.nat_rig import NatRig, NatSite

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

KEEPS_PORTS = "masquerade"
DRAWS_PORTS = "masquerade fully-random"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


def behind_routers(rig: NatRig, lab: Lab, masquerade: str) -> tuple[NatSite, NatSite, NatSite]:
    """A relay in the open, and two sites behind a router each."""
    for name in ("home", "clinic"):
        lab.router(f"router-{name}", masquerade=masquerade, delay_ms=20)
    relay = rig.start(lab.site("relay", delay_ms=20), relay=True)
    one = rig.start(lab.site("one", behind="router-home"))
    other = rig.start(lab.site("other", behind="router-clinic"))
    rig.publish()
    return relay, one, other


def test_routers_that_draw_ports_leave_two_sites_to_the_relay(lab: Lab, tmp_path: Path) -> None:
    with NatRig(lab, tmp_path) as rig:
        relay, one, other = behind_routers(rig, lab, DRAWS_PORTS)
        rig.until(lambda: one.way_to(relay) == other.way_to(relay) == "direct", "connected to the relay")
        rig.until(lambda: one.way_to(other) == other.way_to(one) == relay.address, "connected through the relay")
        assert one.pulls(other.blob, other) is True
        assert other.pulls(one.blob, one) is True
        assert relay.pulls(one.blob, one) is True  # a connection that the hidden site began serves both ways
        assert one.way_to(other) == relay.address
        assert all(len(site.addresses()) == 2 for site in (one, other))


def test_routers_that_keep_ports_let_two_sites_meet(lab: Lab, tmp_path: Path) -> None:
    with NatRig(lab, tmp_path) as rig:
        _, one, other = behind_routers(rig, lab, KEEPS_PORTS)
        rig.until(lambda: one.way_to(other) == other.way_to(one) == "direct", "connected past the relay")
        lab.cut_off("relay")
        assert one.pulls(other.blob, other) is True
        assert other.pulls(one.blob, one) is True
        assert one.way_to(other) == "direct"
