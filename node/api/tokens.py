"""Tokens for the HTTP interface: signed, with scopes, an expiry and a number under which one can be revoked.

A token is worth something only while the register in the site's folder lists it: a register that is lost or damaged
lets nobody in. The secret and the register are files that only their owner may read.
"""

import fcntl
import json
import os
import secrets
import stat
import time
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import jwt

from node.errors import ConfigurationError, OperatorError, StorageError, TokenInvalid
from node.files import make_folder, write_atomically, write_once
from swarm.nesting import check_nesting

ALGORITHM = "HS256"
ISSUER = "swarm-node"
SECRET_BYTES = 64
MAX_TOKEN_CHARS = 4096
MAX_TOKENS = 256
MAX_REGISTER_BYTES = 1 << 20
MIN_ID_DIGITS = 4
DAY = 86_400


class Scope(StrEnum):
    """What a token is for. Each of them may read; only `consent` answers studies, only `control` pauses and stops."""

    READ = "read"
    CONSENT = "consent"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token in the register, which never holds the token itself. Times are seconds of this machine's clock."""

    id: str
    name: str
    scopes: tuple[str, ...]
    issued: int
    expires: int
    revoked: int | None = None


class TokenBook:
    """The tokens of one site. `audience` is its account: a token of another site is none here."""

    def __init__(self, folder: Path, audience: str) -> None:
        self._folder = folder
        self._audience = audience
        self._seen: tuple[int, int, int] | None = None
        self._known: dict[str, TokenRecord] = {}

    def issue(self, scopes: Sequence[Scope], *, days: float, name: str = "") -> tuple[str, TokenRecord]:
        """Make a token; it is given once and kept nowhere. Raises OperatorError where there are too many."""
        with self._changing() as tokens:
            now = int(time.time())
            live = [token for token in tokens if token.expires > now]
            if len(live) >= MAX_TOKENS:
                raise OperatorError(f"there are {len(live)} tokens already; wait until some expire")
            record = TokenRecord(
                secrets.token_hex(8), name, tuple(sorted({*scopes})), now, now + max(1, int(days * DAY))
            )
            claims = {
                "iss": ISSUER,
                "aud": self._audience,
                "jti": record.id,
                "iat": record.issued,
                "exp": record.expires,
                "scope": " ".join(record.scopes),
            }
            token = jwt.encode(claims, self._secret(make=True), algorithm=ALGORITHM)
            tokens[:] = [*live, record]
        return token, record

    def listing(self) -> list[TokenRecord]:
        """Every token that was made, the revoked and expired ones among them until the next one is made."""
        return list(self._read().values())

    def revoke(self, prefix: str) -> TokenRecord:
        """Revoke a token by its number, which may be shortened; raises OperatorError where it isn't one token's."""
        with self._changing() as tokens:
            found = [token for token in tokens if len(prefix) >= MIN_ID_DIGITS and token.id.startswith(prefix.lower())]
            if len(found) != 1:
                problem = "no token has" if not found else "several tokens have"
                raise OperatorError(f"{problem} the number {prefix!r}; `swarm-node token list` shows them")
            revoked = replace(found[0], revoked=found[0].revoked or int(time.time()))
            tokens[:] = [revoked if token.id == revoked.id else token for token in tokens]
        return revoked

    def check(self, token: str) -> TokenRecord:
        """Say whose token this is; raises TokenInvalid, which never repeats it, or StorageError."""
        if len(token) > MAX_TOKEN_CHARS:
            raise TokenInvalid("it is too long to be one")
        secret = self._secret(make=False)
        try:
            check_nesting(urlsafe_b64decode(token.partition(".")[0] + "=="))  # read before the signature is checked
            claims = jwt.decode(
                token,
                secret,
                algorithms=[ALGORITHM],  # ours, whatever the token's own header says
                audience=self._audience,
                issuer=ISSUER,
                options={"require": ["iss", "aud", "jti", "iat", "exp", "scope"]},
            )
        except jwt.ExpiredSignatureError:
            raise TokenInvalid("it has expired; `swarm-node token new` makes another one") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise TokenInvalid("it is none of this site's") from None
        record = self._current().get(str(claims["jti"]))
        if record is None or claims["scope"] != " ".join(record.scopes):
            raise TokenInvalid("it is not in this site's register")
        if record.revoked is not None:
            raise TokenInvalid("it was revoked")
        return record

    def _current(self) -> dict[str, TokenRecord]:
        """The register, read again only where the file is another one than last time."""
        try:
            file = self._register.stat()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageError(f"can't read {self._register}: {error.strerror}") from None
        seen = (file.st_ino, file.st_mtime_ns, file.st_size)
        if seen != self._seen:
            self._known = self._read()
            self._seen = seen
        return self._known

    @property
    def _register(self) -> Path:
        return self._folder / "tokens.json"

    def _read(self) -> dict[str, TokenRecord]:
        try:
            with self._register.open("rb") as file:
                entries = json.loads(check_nesting(file.read(MAX_REGISTER_BYTES)))
            tokens = [TokenRecord(**{**entry, "scopes": tuple(entry["scopes"])}) for entry in entries]
            return {token.id: token for token in tokens}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise StorageError(f"{self._register} can't be read ({type(error).__name__}): no token is valid") from None

    @contextmanager
    def _changing(self) -> Iterator[list[TokenRecord]]:
        """Give the register to be changed, and write it; two commands at once wait for one another."""
        try:
            make_folder(self._folder)
            lock = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"can't write to {self._folder}: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tokens = list(self._read().values())
            yield tokens
            content = json.dumps([asdict(token) for token in tokens], indent=2)
            write_atomically(self._register, content.encode(), mode=0o600)
        except OSError as error:
            raise StorageError(f"can't write {self._register}: {error.strerror}") from None
        finally:
            os.close(lock)

    def _secret(self, *, make: bool) -> bytes:
        path = self._folder / "secret"
        try:
            if make and not path.exists():
                write_once(path, secrets.token_bytes(SECRET_BYTES), mode=0o600)
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise ConfigurationError(f"others on this machine may read {path}: remove it, and make new tokens")
            secret = path.read_bytes()
        except FileNotFoundError:
            raise TokenInvalid("this site has made no token yet; `swarm-node token new` does") from None
        except OSError as error:
            raise StorageError(f"can't use {path}: {error.strerror}") from None
        if len(secret) != SECRET_BYTES:
            raise ConfigurationError(f"{path} is not this site's secret: remove it, and make new tokens")
        return secret


def allows(record: TokenRecord, scope: Scope) -> bool:
    """Whether a token is for this."""
    return scope is Scope.READ or scope in record.scopes


def described(record: TokenRecord) -> dict[str, Any]:
    """A token for a person or program that lists them."""
    state = "revoked" if record.revoked is not None else "expired" if record.expires <= time.time() else "valid"
    return {**asdict(record), "scopes": list(record.scopes), "state": state}
