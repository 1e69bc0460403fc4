"""What every request is answered from, and who may ask."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, TypeVar

import anyio.to_thread
from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from node.api import health
from node.api.bridge import Bridge, SiteStuck
from node.api.live import LiveSite, Observation, age_of_head, desk_of, free_bytes, observe
from node.api.problems import NOT_FOUND, UNAVAILABLE, Refused
from node.api.tokens import Scope, TokenBook, TokenRecord, allows
from node.config import ApiConfig
from node.errors import ConfigurationError, StorageError, TokenInvalid
from node.operator.desk import Desk

T = TypeVar("T")
K = TypeVar("K")

SEEN_SECONDS = 10.0
LOOK_SECONDS = 0.05

_bearer = HTTPBearer(auto_error=False, description="A token that `swarm-node token new` made.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


@dataclass(frozen=True, slots=True)
class Service:
    """The site behind the interface."""

    site: LiveSite
    config: ApiConfig
    bridge: Bridge
    tokens: TokenBook
    answering: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def look(self) -> Observation:
        """How the site stands now; raises Refused where its loop doesn't answer."""
        try:
            return await self.bridge.ask(partial(observe, self.site))
        except SiteStuck:
            raise UNAVAILABLE from None

    async def desk(self) -> Desk:
        """An operator's desk at the site as it stands now."""
        return desk_of(self.site, await self.look())

    async def answer(self, work: Callable[[Desk], T]) -> T:
        """Answer one study at a time: to hold data against a study starts a process. Raises Refused."""
        if self.answering.locked():
            raise Refused(409, "api.busy", "another study is being answered; try again later")
        async with self.answering:
            desk = await self.desk()
            done = await in_thread(partial(work, desk))
            await self._until_seen(desk.stream.cursor.block)
            return done

    async def _until_seen(self, block: int) -> None:
        """Let the site itself read as far, so that whoever asks next hears of the answer; not for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SEEN_SECONDS):
                while (seen := (await self.look()).cursor) is None or seen.block < block:
                    await asyncio.sleep(LOOK_SECONDS)

    def ailments(self, seen: Observation) -> list[health.Ailment]:
        """Why the site is of no use, if it isn't."""
        around = health.Circumstances(
            address=self.site.me.address,
            config=self.config,
            is_development=self.site.config.dev,
            is_paused=self.site.folder.is_paused(),
            free_bytes=free_bytes(self.site),
            age_of_head=age_of_head(seen),
        )
        return health.ailments(seen, around)


async def in_thread(work: Callable[[], T]) -> T:
    """Do what waits for the chain, the disk or a process; a request that is given up doesn't wait for it."""
    return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)


def known(found: Mapping[K, T], key: K) -> T:
    """Give what is there of that name or number; raises Refused."""
    if key not in found:
        raise NOT_FOUND
    return found[key]


def needs(service: Service, scope: Scope) -> Any:
    """A dependency that lets a request through only with a token for this."""

    def check(credentials: Credentials) -> TokenRecord:
        challenge = {"www-authenticate": "Bearer"}
        if credentials is None:
            raise Refused(401, "api.token_missing", "send a token: Authorization: Bearer ...", headers=challenge)
        try:
            record = service.tokens.check(credentials.credentials)
        except TokenInvalid as error:
            raise Refused(401, "api.token_invalid", f"the token is not valid: {error}", headers=challenge) from None
        except (StorageError, ConfigurationError) as error:
            raise Refused(503, error.code, "this site's tokens can't be checked; `swarm-node token list`") from None
        if not allows(record, scope):
            raise Refused(403, "api.scope", f"the token is not for this: it needs the scope {scope}")
        return record

    return Depends(check)
