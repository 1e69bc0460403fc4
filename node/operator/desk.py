"""An operator's desk: a site's folder opened for one command, and the ledger as it stands."""

import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ledger.account import Account
from ledger.client import Ledger
from ledger.deployment import Deployment
from ledger.events import Event
from ledger.state import ConsortiumState, LedgerState, StudyState
from ledger.stream import EventStream
from ledger.types import Address
from node import config as configuration
from node import endpoint, identity, log
from node.config import NodeConfig
from node.errors import IdentityError, OperatorError
from node.identity import Identity
from node.site_folder import SiteFolder


@dataclass(slots=True)
class Desk:
    """A site's folder, its configuration, the ledger, and everything that the ledger said so far."""

    folder: SiteFolder
    config: NodeConfig
    me: Identity | None
    address: Address
    ledger: Ledger
    stream: EventStream
    state: LedgerState = field(default_factory=LedgerState)

    @property
    def consortium(self) -> ConsortiumState:
        """Members and motions."""
        return self.state.consortium

    def catch_up(self) -> list[Event]:
        """Fold in what is new on the ledger, and give it."""
        events = self.stream.poll()
        self.state = self.state.fold(events)
        return events

    def study(self, number: int) -> StudyState:
        """A study by its number; raises OperatorError where there is none."""
        if number not in self.state.studies:
            raise OperatorError(f"there is no study {number}; `swarm-node study list` shows those on the ledger")
        return self.state.studies[number]

    def site(self, name: str) -> Address:
        """The account of a member, by its name or account; raises OperatorError where it is not one member's."""
        found = [
            account
            for account, member in self.consortium.members.items()
            if name == member.name or name.lower() == account.lower()
        ]
        if len(found) != 1:
            problem = "no member is" if not found else "several members are"
            raise OperatorError(f"{problem} called {name!r}; `swarm-node members` shows names and accounts")
        return found[0]

    def name_at(self, study: StudyState, seat: int) -> str:
        """The name of the site on a seat of a study."""
        return self.consortium.name_of(study.participant_at(seat).account)

    def chain_time(self) -> float:
        """The newest block's time, or this machine's where later: says when to ask the contract, not what holds."""
        return max(float(self.ledger.head().timestamp), time.time())


@contextmanager
def open_desk(home: Path, *, signing: bool) -> Iterator[Desk]:
    """Open a site's folder and read the ledger; `signing` decrypts its key, so that it can write to the ledger.

    Raises ConfigurationError, IdentityError, DeploymentInvalid, ChainMismatch or RpcError.
    """
    log.configure(logging.WARNING)
    folder = SiteFolder(home.absolute())
    config = configuration.load(folder.home)
    deployment = Deployment.load(folder.deployment)
    me = identity.unlock(folder.keystore, config.password_at(folder.home)) if signing else None
    address = me.address if me is not None else identity.address_of(folder.keystore)
    with closing(endpoint.connect(config, folder.home)) as rpc:
        ledger = Ledger(rpc, deployment, Account(me.key) if me is not None else None)
        endpoint.check(ledger, config)
        desk = Desk(folder, config, me, address, ledger, EventStream(ledger))
        desk.catch_up()
        yield desk


def signer(desk: Desk) -> Identity:
    """The key of a desk that was opened for signing."""
    if desk.me is None:
        raise IdentityError("this command does not unlock the site's key")
    return desk.me
