"""Tokens: what is one, what is none, and what becomes of one that is revoked."""

import base64
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from node.api import tokens
from node.api.tokens import ISSUER, Scope, TokenBook, allows
from node.errors import ConfigurationError, OperatorError, StorageError, TokenInvalid

ME = "0x" + "Ab" * 20


@pytest.fixture
def book(tmp_path: Path) -> TokenBook:
    return TokenBook(tmp_path / "api", ME)


def secret_of(folder: Path) -> bytes:
    return (folder / "api" / "secret").read_bytes()


def claims(record: tokens.TokenRecord, **changed: Any) -> dict[str, Any]:
    said = {"iss": ISSUER, "aud": ME, "jti": record.id, "iat": record.issued, "exp": record.expires, "scope": "read"}
    said.update(changed)
    return {name: value for name, value in said.items() if value is not None}


def test_a_token_is_good_for_its_scopes_and_for_reading(book: TokenBook) -> None:
    token, record = book.issue([Scope.CONSENT], days=1, name="desk")
    assert book.check(token) == record
    assert [scope for scope in Scope if allows(record, scope)] == [Scope.READ, Scope.CONSENT]


def test_secret_and_register_are_their_owners_alone_and_hold_no_token(book: TokenBook, tmp_path: Path) -> None:
    token, _ = book.issue([Scope.READ], days=1)
    files = {path.name: path for path in (tmp_path / "api").iterdir()}
    assert files.keys() == {"secret", "tokens.json", ".lock"}
    for path in files.values():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert token.rsplit(".", 1)[1].encode() not in path.read_bytes()


def test_a_revoked_token_is_refused_by_one_who_had_accepted_it(book: TokenBook, tmp_path: Path) -> None:
    kept, _ = book.issue([Scope.READ], days=1)
    token, record = book.issue([Scope.READ], days=1)
    book.check(token)
    TokenBook(tmp_path / "api", ME).revoke(record.id[:6])
    with pytest.raises(TokenInvalid, match="revoked"):
        book.check(token)
    assert book.check(kept)
    assert [one.revoked is None for one in book.listing()] == [True, False]


def test_one_that_has_expired_is_refused_and_forgotten(book: TokenBook, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(tokens.time, "time", lambda: now - 10_000)
    token, record = book.issue([Scope.READ], days=0.01)
    monkeypatch.undo()
    with pytest.raises(TokenInvalid, match="expired"):
        book.check(token)
    book.issue([Scope.READ], days=1)
    assert record.id not in {one.id for one in book.listing()}


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "somebody"},
        {"aud": "0x" + "00" * 20},
        {"exp": None},
        {"jti": None},
        {"iat": None},
        {"jti": "00" * 8},
        {"scope": "control"},
        {"scope": None},
        {"scope": ["read"]},
        {"jti": {"a": 1}},
        {"exp": "soon"},
        {"nbf": 2**40},
    ],
    ids=str,
)
def test_what_the_secret_signed_is_no_token_where_a_claim_is_wrong(
    book: TokenBook, tmp_path: Path, changed: dict[str, Any]
) -> None:
    _, record = book.issue([Scope.READ], days=1)
    forged = jwt.encode(claims(record), secret_of(tmp_path), algorithm="HS256")
    assert book.check(forged) == record
    signed = _sign(claims(record, **changed), secret_of(tmp_path), {"alg": "HS256", "typ": "JWT"})
    with pytest.raises(TokenInvalid):
        book.check(signed)


@pytest.mark.parametrize("algorithm", ["none", "HS512", "RS256", "ES256", "hs256"])
def test_the_algorithm_is_ours_whatever_the_header_says(book: TokenBook, tmp_path: Path, algorithm: str) -> None:
    _, record = book.issue([Scope.READ], days=1)
    header = {"alg": algorithm, "typ": "JWT"}
    if algorithm == "HS512":
        forged = jwt.encode(claims(record), secret_of(tmp_path), algorithm="HS512")
    else:
        forged = _sign(claims(record), secret_of(tmp_path), header)
    for token in (forged, forged.rsplit(".", 1)[0] + "."):
        with pytest.raises(TokenInvalid):
            book.check(token)


def test_another_sites_token_is_none_here(book: TokenBook, tmp_path: Path) -> None:
    book.issue([Scope.READ], days=1)
    theirs, _ = TokenBook(tmp_path / "theirs", "0x" + "Cd" * 20).issue([Scope.READ], days=1)
    with pytest.raises(TokenInvalid, match="none of this site's"):
        book.check(theirs)


@pytest.mark.parametrize(
    "garbage",
    ["", ".", "..", "a.b.c", "\u00e4.\u00f6.\u00fc", "x" * 5000, "é" * 100, "eyJhbGciOiJIUzI1NiJ9..", "\x00"],
)
def test_garbage_is_no_token_and_is_not_repeated(book: TokenBook, garbage: str) -> None:
    book.issue([Scope.READ], days=1)
    with pytest.raises(TokenInvalid) as caught:
        book.check(garbage)
    assert len(garbage) < 3 or garbage not in str(caught.value)


def test_a_header_that_is_nested_deeply_is_not_parsed(book: TokenBook) -> None:
    book.issue([Scope.READ], days=1)
    with pytest.raises(TokenInvalid):
        book.check(base64.urlsafe_b64encode(b"[" * 3000).decode() + ".a.b")


def test_nobody_gets_in_where_the_register_is_damaged_or_gone(book: TokenBook, tmp_path: Path) -> None:
    token, _ = book.issue([Scope.READ], days=1)
    register = tmp_path / "api" / "tokens.json"
    for damaged in ("[", "{}", '[{"id": 3}]', "[" * 100_000, '[{"scopes": 3}]'):
        register.write_text(damaged)
        try:
            with pytest.raises((StorageError, TokenInvalid)):
                book.check(token)
        finally:
            register.unlink()
    with pytest.raises(TokenInvalid):
        book.check(token)


def test_a_secret_that_others_may_read_opens_nothing(book: TokenBook, tmp_path: Path) -> None:
    token, _ = book.issue([Scope.READ], days=1)
    os.chmod(tmp_path / "api" / "secret", 0o644)
    with pytest.raises(ConfigurationError, match="others on this machine"):
        book.check(token)
    (tmp_path / "api" / "secret").unlink()
    with pytest.raises(TokenInvalid):
        book.check(token)


def test_the_number_of_a_token_may_be_shortened_but_must_be_one_tokens(book: TokenBook) -> None:
    book.issue([Scope.READ], days=1)
    for prefix in ("", "123", "zzzz", book.listing()[0].id[:3]):
        with pytest.raises(OperatorError, match="no token has"):
            book.revoke(prefix)


def test_there_is_an_end_to_tokens(book: TokenBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_TOKENS", 2)
    for _ in range(2):
        book.issue([Scope.READ], days=1)
    with pytest.raises(OperatorError, match="wait until some expire"):
        book.issue([Scope.READ], days=1)


def _sign(payload: dict[str, Any], secret: bytes, header: dict[str, str]) -> str:
    """Sign as HS256 does, whatever is in it."""
    import hashlib
    import hmac

    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, payload)]
    mac = hmac.new(secret, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()
