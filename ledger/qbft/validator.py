"""One validator: its hospital's name, where its Besu is reached, and its public key."""

import re
from dataclasses import dataclass
from typing import Final

from ledger.errors import QbftInvalid
from ledger.qbft.hosts import canonical_host, in_url
from ledger.qbft.keys import PublicKey
from ledger.types import Address

P2P_PORT: Final = 30303
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_TEXT: Final = re.compile(
    r"(?P<name>[^=@]*)=(?:\[(?P<v6>[^\]@]*)\]|(?P<host>[^:@\[\]]*))(?::(?P<port>[^:@]*))?@(?P<key>[^@]*)"
)


@dataclass(frozen=True, slots=True)
class Validator:
    """A validator as the hospitals tell each other; raises QbftInvalid, naming what is wrong."""

    name: str
    host: str
    port: int
    key: PublicKey

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise QbftInvalid(
                f"{self.name[:80]!r} can't name a validator, nor its folder: up to 40 of a-z, 0-9 and inner hyphens"
            )
        if not 1 <= self.port <= 65_535:
            raise QbftInvalid(f"{self.name}: {self.port} is not a port from 1 to 65535")
        try:
            object.__setattr__(self, "host", canonical_host(self.host))
        except QbftInvalid as error:
            raise QbftInvalid(f"{self.name}: {error}") from None

    @classmethod
    def parse(cls, text: str) -> "Validator":
        """Read NAME=HOST[:PORT]@PUBLICKEY, an IPv6 address in brackets; raises QbftInvalid."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise QbftInvalid(f"{text[:300]!r} is not NAME=HOST[:PORT]@PUBLICKEY (an IPv6 address goes in brackets)")
        port = found["port"]
        if port is not None and not re.fullmatch(r"[0-9]{1,5}", port):
            raise QbftInvalid(f"{found['name'][:80]}: {port[:80]!r} is not a port from 1 to 65535")
        try:
            key = PublicKey.from_hex(found["key"])
        except QbftInvalid as error:
            raise QbftInvalid(f"{found['name'][:80]}: {error}") from None
        return cls(found["name"], found["v6"] or found["host"] or "", P2P_PORT if port is None else int(port), key)

    @property
    def address(self) -> Address:
        """The account by which QBFT knows it."""
        return self.key.address

    @property
    def endpoint(self) -> str:
        """Host and port, as in a URL."""
        return f"{in_url(self.host)}:{self.port}"

    @property
    def enode(self) -> str:
        """The URL by which the other validators dial it."""
        return f"enode://{self.key}@{self.endpoint}"
