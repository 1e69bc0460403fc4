"""`swarm-node chain`: a consortium's own chain."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.envelope import conclude
from node.cli.options import PATH, json_option
from node.errors import ConfigurationError

if TYPE_CHECKING:
    from ledger.qbft import Chain, NodeKey, Validator

REHEARSAL = "one hand holds every validator's key: this chain is a rehearsal, and whoever holds them can rewrite it"


@click.group()
def chain() -> None:
    """Set up a consortium's own chain: Hyperledger Besu with QBFT, one validator at each hospital.

    Each hospital makes its validator's key (chain key) and tells the others its public key and address; then each
    one makes the same files from the same list (chain init). Four validators survive the loss of one.
    """


@chain.command("key")
@click.option("--out", "folder", type=PATH, required=True, help="Folder for the key; it may hold none yet.")
@json_option
def chain_key(folder: Path, as_json: bool) -> None:
    """Make this hospital's validator key, and print the public key that the other hospitals need.

    The private key goes to the file "key", which only its owner may read. It is not encrypted, since Besu takes no
    other: whoever reads it can sign blocks in this hospital's name. It is never printed and never overwritten.

    Example: swarm-node chain key --out validator
    """

    def command() -> dict[str, object]:
        from node.chain_folder import KEY, new_key, write_key

        key = new_key()
        write_key(key, folder)
        click.echo(f"public key  {key.public}", err=as_json)
        click.echo(f"address     {key.public.address}", err=as_json)
        click.echo(f"The private key is in {folder / KEY}, not encrypted: keep it on this machine.", err=True)
        return {"public_key": str(key.public), "address": key.public.address, "key_file": str(folder / KEY)}

    conclude(command, as_json=as_json)


@chain.command("init")
@click.option(
    "--validator",
    "stated",
    multiple=True,
    metavar="NAME=HOST[:PORT]@PUBLICKEY",
    help="One hospital's validator; repeat it for each. The order doesn't matter.",
)
@click.option("--validators", "count", type=click.IntRange(1, 256), help="Rehearse with as many, keys included.")
@click.option(
    "--host-pattern",
    default="127.0.0.1",
    show_default=True,
    help="Their hosts in a rehearsal; {n} is 1, 2, ..., and without it ports count up from 30303.",
)
@click.option("--chain-id", type=int, required=True, help="The chain's number, not another chain's.")
@click.option("--block-seconds", type=int, default=2, show_default=True, help="Seconds between blocks.")
@click.option("--account", "accounts", multiple=True, help="Serve only this account and others named so.")
@click.option("--out", "folder", type=PATH, required=True, help="Folder for the files; the one that is /etc/besu.")
@json_option
def chain_init(
    stated: tuple[str, ...],
    count: int | None,
    host_pattern: str,
    chain_id: int,
    block_seconds: int,
    accounts: tuple[str, ...],
    folder: Path,
    as_json: bool,
) -> None:
    """Make a chain's genesis file and, for each validator, what its Besu reads.

    From public keys alone: every hospital runs this with the same list and gets the same bytes. Compare the SHA-256
    that it prints by telephone before you start. With --validators it draws all keys itself, for a rehearsal: then
    one hand holds them all.

    \b
    Example: swarm-node chain init --chain-id 76113 --out chain \\
               --validator alpha=10.1.0.5@8f2a... --validator beta=10.2.0.5@51c0... \\
               --validator gamma=10.3.0.5@d3e9... --validator delta=10.4.0.5@07bb...
    """

    def command() -> dict[str, object]:
        from ledger.qbft import Chain
        from node.chain_folder import write_chain, write_rehearsal

        keys, validators = _validators(stated, count, host_pattern)
        planned = Chain(chain_id, block_seconds, tuple(validators), accounts)
        if keys:
            write_rehearsal(planned, keys, folder)
        else:
            write_chain(planned, folder)
        return _tell(planned, folder, is_rehearsal=bool(keys), as_json=as_json)

    conclude(command, as_json=as_json)


def _validators(
    stated: Sequence[str], count: int | None, pattern: str
) -> "tuple[dict[Validator, NodeKey], list[Validator]]":
    """The validators that were asked for, with the keys that were drawn for them, if any."""
    from ledger.qbft import Validator
    from node.chain_folder import rehearsal

    if bool(stated) == bool(count):
        raise ConfigurationError("give each hospital's --validator, or --validators N for a rehearsal; not both")
    if count is None:
        return {}, [Validator.parse(text) for text in stated]
    keys = rehearsal(count, pattern)
    return keys, list(keys)


def _tell(planned: "Chain", folder: Path, *, is_rehearsal: bool, as_json: bool) -> dict[str, Any]:
    """Print what was made, and give it for the envelope."""
    from ledger.qbft import fingerprint

    warnings = [*planned.warnings(), *([REHEARSAL] if is_rehearsal else [])]
    digest = fingerprint(planned)
    click.echo(f"chain {planned.chain_id}: {folder}", err=as_json)
    for validator in planned.validators:
        click.echo(f"  {validator.name}  {validator.address}  {validator.endpoint}", err=as_json)
    click.echo(f"SHA-256 of SHA256SUMS: {digest}", err=as_json)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    return {
        "chain_id": planned.chain_id,
        "folder": str(folder),
        "sha256": digest,
        "survives_faults": planned.faults,
        "validators": [{"name": one.name, "address": one.address, "enode": one.enode} for one in planned.validators],
        "warnings": warnings,
    }
