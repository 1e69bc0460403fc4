"""A running site: key, chain, network and studies put together."""

import signal
from functools import partial
from pathlib import Path

import trio

from ledger.account import Account
from ledger.client import Ledger
from ledger.deployment import Deployment
from ledger.errors import RpcError, TransactionError
from ledger.rpc import NodeRpc
from ledger.stream import EventStream
from node import config as configuration
from node import endpoint, identity, log
from node.api.live import LiveSite
from node.chain import Chain
from node.config import NodeConfig
from node.errors import ConfigurationError, NotMemberError
from node.faults import DieAt
from node.identity import Identity
from node.network.host import open_network
from node.network.port import Hello, Network, PeerFault
from node.participation import Participation
from node.site_folder import SiteFolder
from node.tally import Tally
from node.version import SOFTWARE
from swarm.folder_store import FolderStore

RETRY_SECONDS = 5.0
LOOK_SECONDS = 0.5


async def run_site(home: Path, *, die_at: DieAt | None = None) -> None:
    """Run a site until SIGTERM or SIGINT; raises NodeError, LedgerError or NetworkError where it can't."""
    folder = SiteFolder(home.absolute())
    config = configuration.load(folder.home)
    with folder.lock():
        me = await trio.to_thread.run_sync(identity.unlock, folder.keystore, config.password_at(folder.home))
        _log_to(folder, config)
        folder.stop_request.unlink(missing_ok=True)  # it was for a node before this one
        rpc = endpoint.connect(config)
        ledger = Ledger(rpc, Deployment.load(folder.deployment), Account(me.key))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
            nursery.start_soon(_stop_on_request, folder, nursery.cancel_scope)
            nursery.start_soon(_hang_up, ledger, rpc)
            try:
                await trio.to_thread.run_sync(partial(endpoint.check, ledger, config))
                await _take_part(folder, config, me, ledger, nursery, die_at)
            except RpcError:
                if not nursery.cancel_scope.cancel_called:  # else that was us, hanging up
                    raise
    log.get().info("site_stopped")


async def _take_part(
    folder: SiteFolder,
    config: NodeConfig,
    me: Identity,
    ledger: Ledger,
    nursery: trio.Nursery,
    die_at: DieAt | None,
) -> None:
    """Follow the ledger, open the network and take part in studies, for ever."""
    logger = log.get()
    chain = Chain(ledger, EventStream(ledger), config.poll_seconds)
    store = FolderStore(folder.blobs)
    await nursery.start(chain.follow)
    if me.address not in chain.consortium.members:
        raise NotMemberError(
            f"{me.address} is not a member of consortium {ledger.deployment.consortium}; its members must admit it"
        )
    tally = Tally()
    participation = Participation(folder, config, me, chain, store, die_at, tally)
    network = open_network(
        me.key,
        store,
        Hello(ledger.deployment.chain_id, ledger.deployment.study, SOFTWARE),
        listen=config.listen,
        announce=config.announce,
        may_serve=participation.may_serve,
        on_fault=partial(_note_fault, logger, tally),
    )
    network.set_members(_dialable(chain))
    await nursery.start(network.run)
    nursery.start_soon(_follow_members, chain, network)
    if config.api is not None:
        from node.api.server import serve_api  # a site without the interface does without its libraries

        live = LiveSite(folder, config, me, chain, network, store, tally, nursery.cancel_scope.cancel)
        await nursery.start(serve_api, live, config.api)
    await _publish_addresses(chain, me.address, network.addresses())
    logger.info("site_started", address=me.address, addresses=network.addresses(), block=chain.block)
    await participation.run(network)


async def _hang_up(ledger: Ledger, rpc: NodeRpc) -> None:
    """When the site stops: end what waits for the chain in threads, which nothing else can interrupt."""
    try:
        await trio.sleep_forever()
    finally:
        ledger.close()
        rpc.close()


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.get().info("stopping", signal=signal.Signals(number).name)
            scope.cancel()


async def _stop_on_request(folder: SiteFolder, scope: trio.CancelScope) -> None:
    while not folder.stop_request.exists():
        await trio.sleep(LOOK_SECONDS)
    log.get().info("stopping", request=folder.stop_request.name)
    scope.cancel()


def _log_to(folder: SiteFolder, config: NodeConfig) -> None:
    try:
        log.configure(folder=folder.logs, site=config.name)
    except OSError as error:
        raise ConfigurationError(f"can't write logs to {folder.logs}: {error.strerror}") from None


def _dialable(chain: Chain) -> dict[str, tuple[str, ...]]:
    return {address: member.addresses for address, member in chain.consortium.members.items()}


async def _follow_members(chain: Chain, network: Network) -> None:
    """Keep the access list equal to the ledger's member list."""
    members = _dialable(chain)
    while True:
        await chain.changed()
        if (current := _dialable(chain)) != members:
            members = current
            network.set_members(members)
            log.get().info("members_changed", members=len(members))


async def _publish_addresses(chain: Chain, address: str, addresses: list[str]) -> None:
    """Put this site's addresses on the ledger, unless they are there; the others dial it at them."""
    while (member := chain.consortium.members.get(address)) is not None and member.addresses != tuple(addresses):
        try:
            await chain.submit(partial(chain.ledger.publish_addresses, addresses))
        except (RpcError, TransactionError) as error:
            log.get().warning("addresses_not_published", code=error.code, reason=str(error))
            await trio.sleep(RETRY_SECONDS)
        else:
            log.get().info("addresses_published", addresses=addresses)


def _note_fault(logger: log.Logger, tally: Tally, fault: PeerFault) -> None:
    tally.peer_fault(fault)
    logger.warning("peer_fault", peer=fault.address, kind=fault.kind.value, detail=fault.detail)
