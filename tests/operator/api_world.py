"""A site's HTTP interface over a real socket: the real ledger behind it, and other members on an in-memory network."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any, TypeVar

import trio
from operator_world import World

from ledger.account import Account
from ledger.client import Ledger
from ledger.deployment import Deployment
from ledger.state import StudyState
from ledger.stream import EventStream
from ledger.types import Commitment
from node import config as configuration
from node import endpoint, identity
from node.api.live import LiveSite
from node.api.server import serve_api
from node.api.tokens import Scope, TokenBook
from node.chain import Chain
from node.config import ApiConfig
from node.network.memory import MemoryHub, MemoryNetwork
from node.network.port import Hello
from node.operator.desk import Desk, open_desk, signer
from node.reveals import RevealChain, chain_length
from node.site_folder import SiteFolder
from node.tally import Tally
from swarm.folder_store import FolderStore
from swarm.memory_store import MemoryStore

T = TypeVar("T")

PATIENCE = 60.0
ALL = tuple(Scope)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem, whose form is always the same."""
        problem = self.json
        assert self.headers["content-type"] == "application/problem+json"
        assert problem.keys() == {"type", "title", "status", "code", "detail", "fields"}
        assert problem["status"] == self.status
        return str(problem["code"])


@dataclass
class Served:
    """A site that is being served."""

    home: Path
    live: LiveSite
    port: int
    tls: ssl.SSLContext | None
    trio_token: trio.lowlevel.TrioToken
    ended: threading.Event = field(default_factory=threading.Event)

    def token(self, *scopes: Scope, days: float = 1) -> str:
        return TokenBook(SiteFolder(self.home).api, self.live.me.address).issue(scopes, days=days)[0]

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request; `body` is sent as JSON unless it is bytes."""
        sent = dict(headers or {})
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, bytes):
            body, sent["content-type"] = json.dumps(body).encode(), "application/json"
        kind = HTTPConnection if self.tls is None else _secure(self.tls)
        with closing(kind("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())

    def get(self, path: str, *scopes: Scope) -> Any:
        """Read something that is there, with a token of that scope."""
        answer = self.ask("GET", path, token=self.token(*(scopes or (Scope.READ,))))
        assert answer.status == 200, answer.body
        return answer.json

    def in_site(self, work: Callable[[], T]) -> T:
        """Do something in the site's own thread."""
        return trio.from_thread.run_sync(work, trio_token=self.trio_token)


def _secure(context: ssl.SSLContext) -> Callable[..., HTTPConnection]:
    return lambda *where, **options: HTTPSConnection(*where, **options, context=context)


@contextmanager
def served(
    home: Path, *, peers: tuple[str, ...] = (), tls: ssl.SSLContext | None = None, **api: Any
) -> Iterator[Served]:
    """Serve a site of a consortium; `peers` are the accounts of members that are connected to it."""
    settings = ApiConfig(**{"listen": "127.0.0.1:0", **api})
    began: list[Served] = []
    failed: list[BaseException] = []
    ready, leave = threading.Event(), trio.Event()

    async def run() -> None:
        folder, config = SiteFolder(home), configuration.load(home)
        me = identity.unlock(folder.keystore, config.password_at(home))
        with closing(endpoint.connect(config, home)) as rpc:
            ledger = Ledger(rpc, Deployment.load(folder.deployment), Account(me.key))
            chain = Chain(ledger, EventStream(ledger), 0.02)
            network = _connected(me.address, peers)
            async with trio.open_nursery() as nursery:
                await nursery.start(chain.follow)
                store = FolderStore(folder.blobs)
                live = LiveSite(folder, config, me, chain, network, store, Tally(), leave.set)
                url = await nursery.start(serve_api, live, settings)
                port = int(url.rsplit(":", 1)[1])
                began.append(Served(home, live, port, tls, trio.lowlevel.current_trio_token()))
                ready.set()
                await leave.wait()
                began[0].ended.set()
                nursery.cancel_scope.cancel()
            ledger.close()

    def main() -> None:
        try:
            trio.run(run, strict_exception_groups=True)
        except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
            failed.append(error)
        ready.set()

    thread = threading.Thread(target=main)
    thread.start()
    assert ready.wait(PATIENCE)
    if failed:
        raise failed[0]
    try:
        yield began[0]
    finally:
        if thread.is_alive():
            with suppress(trio.RunFinishedError):
                began[0].trio_token.run_sync_soon(leave.set)
        thread.join(PATIENCE)
        assert not thread.is_alive()


def _connected(me: str, peers: tuple[str, ...]) -> MemoryNetwork:
    hub, hello = MemoryHub(), Hello(1, "0x" + "ab" * 20, "swarm-node/test")
    for address in (me, *peers):
        site = MemoryNetwork(hub, address, MemoryStore(), hello, may_serve=lambda *_: False)
        site.set_members(dict.fromkeys((me, *peers), ()))
        hub.sites[address] = site
    return hub.sites[me]


def accept(world: World, study: int, *names: str) -> None:
    """Have these sites accept a study, without the look at their data that the command takes."""
    for name in names:
        with open_desk(world.home(name), signing=True) as desk:
            state = desk.study(study)
            desk.ledger.accept(study, state.spec_hash, _reveals(desk, state).tip)


def commit(world: World, name: str, study: int, blob: bytes) -> None:
    """Commit something for the study's present round, as that site."""
    with open_desk(world.home(name), signing=True) as desk:
        state = desk.study(study)
        seen = desk.ledger.head()
        link = _reveals(desk, state).reveal(state.sites[desk.address].link)
        desk.ledger.commit(study, state.round.number, 0, Commitment(blob, 3, 0, link, seen.number, seen.hash))


def _reveals(desk: Desk, state: StudyState) -> RevealChain:
    deployment = desk.ledger.deployment
    length = chain_length(state.terms.rounds)
    return RevealChain(signer(desk).key, deployment.chain_id, deployment.study, state.number, length)
