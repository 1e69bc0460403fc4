"""Members that can't reach each other talk through a third."""

import trio
from network_world import LARGE, Site, until
from relay_world import hidden_site, publish, relay_site, relayed, running_behind, view

ANY = 1 << 30


async def connected_through(one: Site, other: Site, *relays: Site) -> None:
    addresses = {relay.address for relay in relays}
    await until(lambda: view(one, other).relay in addresses and view(other, one).relay in addresses)


async def test_two_hidden_sites_pull_blobs_from_each_other_through_a_relay() -> None:
    relay, one, other = relay_site(0), hidden_site(1), hidden_site(2)
    mine, theirs = one.store.give(LARGE, 1), other.store.give(LARGE, 2)
    async with running_behind([relay], [one, other]):
        await connected_through(one, other, relay)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: one.network.pull(theirs.blob, [other.address], max_bytes=ANY))
            nursery.start_soon(lambda: other.network.pull(mine.blob, [one.address], max_bytes=ANY))
    assert one.store.has(theirs.blob)
    assert other.store.has(mine.blob)
    assert {*one.kinds(), *other.kinds()} <= {"unreachable"}  # which they were, until a relay took their calls
