"""The auditors' service as an operator starts it: from a folder, or from a deployment file and a node's address."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.api.app import guarded, make_app
from ledger.api.rates import AT_ONCE, PER_SECOND, Rates
from ledger.api.server import Listen, Up, serve
from ledger.api.service import started
from ledger.client import Ledger
from ledger.deployment import Deployment
from ledger.explorer.pages import add_pages
from ledger.index import PROVISIONAL_BLOCKS
from ledger.rpc import connect
from node.endpoint import is_development_chain
from node.errors import ConfigurationError
from node.operator.audit import open_source

DATABASE = "explorer.sqlite"
DEVELOPMENT = (
    "This is a development chain: one party's machine, which can rewrite its history. It proves nothing to an auditor."
)


@dataclass(frozen=True, slots=True)
class ExplorerOptions:
    """What the command was given; None where an option wasn't."""

    home: Path | None
    deployment: Path | None
    rpc: str | None
    db: Path | None
    listen: str
    certificate: Path | None = None
    private_key: Path | None = None
    behind_proxy: bool = False
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    rate: float = PER_SECOND
    provisional: int | None = None


def explore(options: ExplorerOptions, is_up: Callable[[str], None]) -> dict[str, Any]:
    """Serve until told to stop; gives what was served. Raises ConfigurationError before anything is opened."""
    listen = Listen.parse(options.listen, options.certificate, options.private_key)
    _check_exposure(listen, options)
    with _open_ledger(options) as (ledger, database):
        warning = DEVELOPMENT if is_development_chain(ledger.client_version()) else ""
        provisional = PROVISIONAL_BLOCKS if options.provisional is None else options.provisional
        with started(ledger, database, provisional=provisional, warning=warning) as service:
            app = make_app(service)
            add_pages(app)
            rates = Rates(options.rate, max(AT_ONCE, 4 * options.rate))
            hosts = (*options.hosts, *(() if listen.is_local else (listen.host,)))
            guard = guarded(app, service, is_local=listen.is_local, hosts=hosts, origins=options.origins, rates=rates)
            urls: list[str] = []

            def begun(up: Up) -> None:
                urls.append(up.url)
                is_up(up.url)

            serve(guard, listen, service.live, begun)
            snapshot = service.view.snapshot
    block = snapshot.newest.number if snapshot.newest is not None else None
    return {
        "url": urls[0] if urls else None,
        "database": str(database),
        "events": snapshot.folded.events,
        "block": block,
    }


def _check_exposure(listen: Listen, options: ExplorerOptions) -> None:
    """Refuse to serve strangers by accident, in the clear, or to whatever name they were told."""
    if listen.is_local:
        return
    if listen.certificate is None and not options.behind_proxy:
        raise ConfigurationError(
            f"--listen {options.listen} lets other machines read this: give --certificate and --private-key, or "
            "--behind-proxy where a proxy before it has TLS"
        )
    if not options.hosts:
        raise ConfigurationError(f"--listen {options.listen} needs --host NAME: the name that readers type")


@contextmanager
def _open_ledger(options: ExplorerOptions) -> Iterator[tuple[Ledger, Path]]:
    """Give the ledger, for reading only, and where its index is."""
    if options.deployment is not None or options.rpc is not None:
        if options.deployment is None or options.rpc is None:
            raise ConfigurationError("--deployment and --rpc go together: the contracts, and a node to ask")
        deployment = Deployment.load(options.deployment)
        try:
            rpc = connect(options.rpc)
        except ValueError as error:
            raise ConfigurationError(f"--rpc: {error}") from None
        with closing(rpc):
            ledger = Ledger(rpc, deployment)
            ledger.check()
            yield ledger, options.db or Path.cwd() / DATABASE
    elif options.home is not None:
        with open_source(options.home) as source:
            yield source.ledger, options.db or options.home / DATABASE
    else:
        raise ConfigurationError("give --home with a site's or a demo's folder, or --deployment and --rpc")
