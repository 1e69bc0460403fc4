"""Sites that can't be dialled, on one machine: nobody is told at which port they listen."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import trio
from network_world import QUICK, Site, make_libp2p, until

from node.network.port import Address, PeerView
from node.network.relay.limits import RelayLimits, UseRelays

NOWHERE = "/ip4/127.0.0.1/tcp/1"
CLOSE = replace(QUICK, relay_after=0.05, look=0.05, ask=0.1)


def relay_site(number: int, limits: RelayLimits | None = None) -> Site:
    return make_libp2p(number, tuning=CLOSE, relay=limits or RelayLimits())


def hidden_site(number: int) -> Site:
    """A site that says of itself only where nobody answers, as one behind a router does."""
    return make_libp2p(number, tuning=CLOSE, use_relays=UseRelays.ALWAYS, announce=(NOWHERE,))


def view(site: Site, of: Site | Address) -> PeerView:
    wanted = of if isinstance(of, str) else of.address
    return next(view for view in site.network.peers() if view.address == wanted)


def relayed(site: Site) -> list[str]:
    return [text for text in site.network.addresses() if "/p2p-circuit/" in text]


@asynccontextmanager
async def running_behind(relays: Sequence[Site], hidden: Sequence[Site]) -> AsyncIterator[None]:
    """Run the sites: relays are dialled where they are, hidden ones where relays take calls for them."""
    async with trio.open_nursery() as nursery:
        for site in (*relays, *hidden):
            await nursery.start(site.network.run)
        publish(relays, hidden)
        await until(lambda: all(len(relayed(site)) == min(2, len(relays)) for site in hidden))
        publish(relays, hidden)
        yield
        nursery.cancel_scope.cancel()


def publish(relays: Sequence[Site], hidden: Sequence[Site]) -> None:
    members = {site.address: site.network.addresses() for site in relays}
    members |= {site.address: relayed(site) for site in hidden}
    for site in (*relays, *hidden):
        site.network.set_members(members)
