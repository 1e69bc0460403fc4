"""Audits from a folder: a site's, or the demo's with its chain; and the verdict on a bundle's file."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.audit.audit import Conclusion, audit
from ledger.audit.bundle.export import make_bundle
from ledger.audit.bundle.file import digest_of, open_bundle, write_bundle
from ledger.audit.report.summary import summarise
from ledger.client import Ledger
from ledger.deployment import Deployment
from ledger.devnet import Devnet
from ledger.errors import AuditFailed, DevnetError
from ledger.failover import Endpoints
from ledger.rpc import NodeRpc, connect
from ledger.types import Block
from node import config as configuration
from node import endpoint
from node.errors import ConfigurationError, OperatorError
from node.files import write_atomically
from node.site_folder import SiteFolder
from swarm.blobs import BlobStore
from swarm.folder_store import FolderStore
from swarm.model_file import model_hash

REPORTS = (".html", ".pdf")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a bundle is made from: a ledger, and stores of blobs."""

    ledger: Ledger
    stores: tuple[BlobStore, ...]


@contextmanager
def open_source(home: Path) -> Iterator[Source]:
    """Open a site's folder, or a demo's, whose chain is started for as long as it's needed.

    Raises ConfigurationError where the folder is neither, DeploymentInvalid, ChainMismatch or RpcError.
    """
    home = home.absolute()
    sites = sorted(path.parent for path in (home / "sites").glob("*/config.toml"))
    if (home / "config.toml").is_file():
        with _of_site(home, [home], endpoint.connect(configuration.load(home), home)) as source:
            yield source
    elif sites and (home / "chain").is_dir():
        with _demo_chain(home / "chain", sites[0]) as rpc, _of_site(sites[0], sites, rpc) as source:
            yield source
    else:
        raise ConfigurationError(f"{home} is neither a site's folder nor one that a demo left")


@contextmanager
def _demo_chain(folder: Path, site: Path) -> Iterator[NodeRpc | Endpoints]:
    """Start a demo's chain, unless the demo still runs it for its sites."""
    try:
        devnet = Devnet.start(folder)
    except DevnetError as error:
        if "running" not in str(error):
            raise
        yield endpoint.connect(configuration.load(site), site)
        return
    with devnet:
        yield connect(devnet.ipc)


@contextmanager
def _of_site(home: Path, stores: list[Path], rpc: NodeRpc | Endpoints) -> Iterator[Source]:
    config = configuration.load(home)
    deployment = Deployment.load(SiteFolder(home).deployment)
    folders = [SiteFolder(path).blobs for path in stores]
    with closing(rpc):
        ledger = Ledger(rpc, deployment)
        endpoint.check(ledger, config)
        yield Source(ledger, tuple(FolderStore(folder) for folder in folders if folder.is_dir()))


def export(home: Path, study: int, out: Path, *, blobs: bool) -> dict[str, Any]:
    """Write a study's bundle; raises OperatorError where a file is in the way or can't be written."""
    with open_source(home) as source:
        if out.exists():
            raise OperatorError(f"{out} exists; choose another file")
        bundle = make_bundle(source.ledger, study, source.stores, blobs=blobs)
        try:
            digest = write_bundle(bundle, out)
        except OSError as error:
            raise OperatorError(f"can't write {out}: {error.strerror}") from None
        last = source.ledger.block(bundle.deployment.block + len(bundle.headers) - 1)
    return {
        "file": str(out),
        "bytes": out.stat().st_size,
        "digest": digest,
        "study": study,
        "blocks": len(bundle.headers),
        "manifests": len(bundle.manifests),
        "chunks": len(bundle.chunks),
        "last_block": last.number,
        "last_hash": "0x" + last.hash.hex(),
    }


def tell_block(home: Path, number: int | None) -> dict[str, Any]:
    """Say what this site's own node gives as the hash of a block, the newest where none is named."""
    with open_source(home) as source:
        block: Block = source.ledger.head() if number is None else source.ledger.block(number)
    return {"block": block.number, "hash": "0x" + block.hash.hex(), "timestamp": block.timestamp}


def verify(file: Path, *, model: Path | None, block: str | None, reports: tuple[Path, ...]) -> dict[str, Any]:
    """Audit a bundle's file and give the summary; raises AuditFailed with it unless it concludes that all holds."""
    anchor = _anchor(block)
    for report in reports:
        if report.suffix not in REPORTS:
            raise ConfigurationError(f"{report}: a report is one of {', '.join(REPORTS)}")
    with open_bundle(file) as bundle:
        done = audit(bundle, anchor=anchor, model=_hash_of(model))
        summary = summarise(done, anchor=anchor, digest=digest_of(bundle))
    for report in reports:
        _write_report(summary, report)
    if done.conclusion is not Conclusion.HOLDS:
        raise AuditFailed(done.sentence(), summary)
    return summary


def _anchor(block: str | None) -> bytes | None:
    if block is None:
        return None
    try:
        anchor = bytes.fromhex(block.removeprefix("0x"))
    except ValueError:
        anchor = b""
    if len(anchor) != 32:
        raise ConfigurationError(f"--block {block[:80]}: a block's hash has 64 hex digits")
    return anchor


def _hash_of(model: Path | None) -> bytes | None:
    if model is None:
        return None
    try:
        return model_hash(model)
    except OSError as error:
        raise OperatorError(f"can't read {model}: {error.strerror}") from None


def _write_report(summary: dict[str, Any], report: Path) -> None:
    if report.suffix == ".html":
        from ledger.audit.report.html import render

        content = render(summary).encode()
    else:
        from matplotlib import get_data_path

        from ledger.audit.report.pdf import render as render_pdf

        content = render_pdf(summary, Path(get_data_path(), "fonts", "ttf"))
    try:
        write_atomically(report, content)
    except OSError as error:
        raise OperatorError(f"can't write {report}: {error.strerror}") from None
