"""Keys sign what other implementations sign, and what was signed can be read again."""

import pytest
from eth_account import Account as Reference
from eth_keys import keys
from hypothesis import given
from hypothesis import strategies as st

from ledger.abi import checksum_address, normalise_address
from ledger.account import Account, Transaction
from ledger.errors import KeyInvalid, TransactionInvalid

SECRETS = st.binary(min_size=32, max_size=32).filter(lambda raw: any(raw) and raw[0] != 0xFF)


@given(SECRETS, st.integers(0, 2**40), st.integers(1, 2**40), st.binary(max_size=300), st.booleans())
def test_a_signature_is_the_reference_implementations(
    secret: bytes, nonce: int, chain_id: int, call: bytes, creates: bool
) -> None:
    ours, theirs = Account(secret), Reference.from_key(secret)
    to = None if creates else checksum_address(b"\x12" * 20)
    fields = {"type": 2, "chainId": chain_id, "nonce": nonce, "value": 0, "data": call, "gas": 90_000}
    fields |= {"maxFeePerGas": 7, "maxPriorityFeePerGas": 3} | ({} if creates else {"to": to})
    expected = theirs.sign_transaction(fields)
    signed = ours.sign(chain_id, nonce, to, call, 90_000, fee=7, tip=3)
    assert ours.address == theirs.address
    assert (signed.raw, signed.hash) == (bytes(expected.raw_transaction), bytes(expected.hash))
    assert Transaction.from_raw(signed.raw) == Transaction(ours.address, chain_id, nonce, to, call, 90_000)


def test_the_native_library_signs() -> None:
    assert type(keys.PrivateKey(b"\x01" * 32).backend).__name__ == "CoinCurveECCBackend"


@pytest.mark.parametrize("secret", [b"", bytes(32), b"\xff" * 32, b"\x01" * 31, b"\x01" * 33])
def test_a_bad_key_is_refused_at_the_door(secret: bytes) -> None:
    with pytest.raises(KeyInvalid, match="32 bytes"):
        Account(secret)


def test_a_key_does_not_show_in_a_repr() -> None:
    assert repr(Account(b"\x01" * 32)) == "Account(0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1)"


@given(st.binary(max_size=200))
def test_a_transaction_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(TransactionInvalid):
        Transaction.from_raw(b"\x02" + raw)


def test_addresses_are_spelled_with_their_checksum() -> None:
    address = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"  # from EIP-55
    assert normalise_address(address.lower()) == address
    assert normalise_address(address.upper().replace("0X", "0x")) == address
    with pytest.raises(ValueError, match="40 hex digits"):
        normalise_address("0x1234")
