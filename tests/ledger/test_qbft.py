"""A consortium's own chain: the files that Besu reads are what its documentation says, or nothing is made at all."""

import hashlib
import json
import tomllib
from typing import Any

import pytest
import rlp
from eth_keys import keys
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import KeyInvalid, QbftInvalid
from ledger.qbft import Chain, NodeKey, PublicKey, Validator, chain_files, fingerprint
from ledger.qbft.genesis import extra_data, genesis
from ledger.qbft.hosts import canonical_host

CHAIN_ID = 76_113

# Besu's documentation, "Configure QBFT consensus", its genesis file with block header validator selection:
# https://besu.hyperledger.org/private-networks/how-to/configure/consensus/qbft
DOCUMENTED_VALIDATORS = [
    "0x64a702e6263b7297a96638cac6ae65e6541f4169",
    "0x3923390ad55e90c237593b3b0e401f3b08a03185",
    "0xaefdb9a738c9f433e5b6b212a6d62f6370c2f692",
    "0xc7eeb9a4e00ce683cf93039b212648e01c6c6b78",
]
DOCUMENTED = (
    "0xf87aa00000000000000000000000000000000000000000000000000000000000000000f854"
    "9464a702e6263b7297a96638cac6ae65e6541f4169943923390ad55e90c237593b3b0e401f3b08a03185"
    "94aefdb9a738c9f433e5b6b212a6d62f6370c2f69294c7eeb9a4e00ce683cf93039b212648e01c6c6b78c080c0"
)
DOCUMENTED_GENESIS = {
    "config": {"chainid", "berlinBlock", "qbft"},
    "qbft": {"epochlength", "blockperiodseconds", "requesttimeoutseconds"},
    "top": {"config", "nonce", "timestamp", "extraData", "gasLimit", "difficulty", "mixHash", "coinbase", "alloc"},
}

# Options that Besu's reference of its command line describes, or that its own test of every option sets; Xdns-* are the
# early access options that its page on node keys describes.
DOCUMENTED_OPTIONS = {
    "Xdns-enabled",
    "Xdns-update-enabled",
    "data-path",
    "data-storage-format",
    "discovery-enabled",
    "engine-rpc-enabled",
    "genesis-file",
    "host-allowlist",
    "min-gas-price",
    "network-id",
    "node-private-key-file",
    "p2p-host",
    "p2p-port",
    "permissions-accounts-config-file",
    "permissions-accounts-config-file-enabled",
    "permissions-nodes-config-file",
    "permissions-nodes-config-file-enabled",
    "profile",
    "rpc-http-api",
    "rpc-http-enabled",
    "rpc-http-host",
    "rpc-http-port",
    "rpc-ws-enabled",
    "static-nodes-file",
    "sync-mode",
}


def key(number: int) -> NodeKey:
    return NodeKey(bytes([number]) * 32)


def validator(number: int, **changes: Any) -> Validator:
    fields = {"name": f"hospital-{number}", "host": f"10.0.0.{number}", "port": 30303, "key": key(number).public}
    return Validator(**(fields | changes))


def chain(count: int = 4, **changes: Any) -> Chain:
    validators = tuple(validator(number) for number in range(1, count + 1))
    return Chain(**({"chain_id": CHAIN_ID, "block_seconds": 2, "validators": validators} | changes))


def options(planned: Chain, name: str = "hospital-1") -> dict[str, Any]:
    return tomllib.loads(chain_files(planned)[f"{name}/config.toml"].decode())


def permissions(planned: Chain, name: str = "hospital-1") -> dict[str, Any]:
    return tomllib.loads(chain_files(planned)[f"{name}/permissions_config.toml"].decode())


# -- genesis ---------------------------------------------------------------------------------------------------------


def test_extra_data_equals_the_example_of_besus_documentation() -> None:
    assert extra_data(DOCUMENTED_VALIDATORS) == DOCUMENTED


def test_extra_data_without_validators_is_the_documented_one_for_a_contract_that_names_them() -> None:
    assert extra_data([]) == "0xe5a00000000000000000000000000000000000000000000000000000000000000000c0c080c0"


def test_the_genesis_has_the_documented_fields() -> None:
    made = genesis(chain())
    assert made.keys() >= DOCUMENTED_GENESIS["top"]
    assert made["config"]["qbft"].keys() == DOCUMENTED_GENESIS["qbft"]
    assert {name.lower() for name in made["config"]} >= {"chainid", "qbft"}
    assert made["mixHash"] == "0x" + b"ctical byzantine fault tolerance".hex()  # "practical", cut to 32 bytes
    assert (made["difficulty"], made["nonce"]) == ("0x1", "0x0")


def test_the_genesis_holds_cancun_no_fees_and_no_money() -> None:
    made = genesis(chain(block_seconds=5))
    config = made["config"]
    assert (config["chainId"], config["londonBlock"], config["shanghaiTime"], config["cancunTime"]) == (
        CHAIN_ID,
        0,
        0,
        0,
    )
    assert config["zeroBaseFee"] is True
    assert made["baseFeePerGas"] == "0x0"
    assert made["alloc"] == {}
    assert config["qbft"]["blockperiodseconds"] == 5
    assert config["qbft"]["requesttimeoutseconds"] == 10


def test_the_genesis_lists_the_validators_in_ascending_order() -> None:
    listed = rlp.decode(bytes.fromhex(genesis(chain(7))["extraData"][2:]))[1]
    assert listed == sorted(listed)
    assert {"0x" + one.hex() for one in listed} == {one.address.lower() for one in chain(7).validators}


def test_genesis_json_is_these_bytes() -> None:
    digest = hashlib.sha256(chain_files(chain())["genesis.json"]).hexdigest()
    assert digest == "dd38997b56c686d2a1690a808820c4e861a3b2e627655407a4a7d4722a964d2e", (
        "a chain that runs already has other bytes than these"
    )


# -- keys ------------------------------------------------------------------------------------------------------------


def test_a_validators_address_and_public_key_follow_from_its_private_key() -> None:
    expected = keys.PrivateKey(b"\7" * 32).public_key
    assert key(7).public.raw == expected.to_bytes()
    assert key(7).public.address == expected.to_checksum_address()


def test_a_key_file_is_one_line_of_hex_and_a_key_shows_itself_nowhere_else() -> None:
    assert key(7).to_file() == b"0x" + b"07" * 32
    assert "07" * 4 not in repr(key(7))
    assert repr(b"\7" * 32) not in repr(key(7))


@pytest.mark.parametrize("secret", [b"", bytes(32), b"\xff" * 32, b"\1" * 31])
def test_what_is_no_private_key_is_refused(secret: bytes) -> None:
    with pytest.raises(KeyInvalid):
        NodeKey(secret)


@pytest.mark.parametrize("text", ["", "0x", "ab" * 63, "ab" * 65, "zz" * 64, "a" * 127, "é" * 128, "1_" * 64])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(QbftInvalid, match="128 hex digits"):
        PublicKey.from_hex(text)


def test_a_public_key_with_a_wrong_digit_is_refused() -> None:
    digits = str(key(1).public)
    wrong = digits[:-1] + ("0" if digits[-1] != "0" else "1")
    with pytest.raises(QbftInvalid, match="no point on secp256k1"):
        PublicKey.from_hex(wrong)


# -- validators ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "endpoint"),
    [
        ("10.1.0.5", "10.1.0.5:30303"),
        ("10.1.0.5:30400", "10.1.0.5:30400"),
        ("Chain.Hospital.EXAMPLE:1", "chain.hospital.example:1"),
        ("[2001:DB8:0::5]", "[2001:db8::5]:30303"),
        ("[2001:db8::5]:65535", "[2001:db8::5]:65535"),
    ],
)
def test_a_validator_is_read_and_gets_an_enode_url(place: str, endpoint: str) -> None:
    read = Validator.parse(f"alpha={place}@0x{key(1).public}")
    assert read.enode == f"enode://{key(1).public}@{endpoint}"
    assert Validator.parse(f"alpha={read.endpoint}@{read.key}") == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "NAME=HOST"),
        ("alpha", "NAME=HOST"),
        ("alpha=10.0.0.1", "NAME=HOST"),
        ("alpha=2001:db8::5@KEY", "brackets"),
        ("alpha=10.0.0.1@KEY@KEY", "NAME=HOST"),
        ("alpha=10.0.0.1:@KEY", "port"),
        ("alpha=10.0.0.1:0@KEY", "port"),
        ("alpha=10.0.0.1:65536@KEY", "port"),
        ("alpha=10.0.0.1:+1@KEY", "port"),
        ("alpha=@KEY", "alpha: '' is neither"),
        ("alpha=10.0.0.256@KEY", "neither an IP address nor a host name"),
        ("alpha=010.0.0.1@KEY", "neither an IP address nor a host name"),
        ("alpha=-bad.example@KEY", "neither an IP address nor a host name"),
        ("alpha=un_der@KEY", "neither an IP address nor a host name"),
        ('alpha=a"b@KEY', "neither an IP address nor a host name"),
        ("alpha=0.0.0.0@KEY", "not the address of one machine"),
        ("alpha=[::]@KEY", "not the address of one machine"),
        ("alpha=224.0.0.1@KEY", "not the address of one machine"),
        ("alpha=[fe80::1%eth0]@KEY", "one machine only"),
        ("alpha=[::ffff:10.0.0.1]@KEY", "one machine only"),
        ("Alpha=10.0.0.1@KEY", "can't name a validator"),
        ("../alpha=10.0.0.1@KEY", "can't name a validator"),
        ("=10.0.0.1@KEY", "can't name a validator"),
        ("alpha=10.0.0.1@12", "alpha: .*128 hex digits"),
    ],
)
def test_what_is_no_validator_is_refused_and_named(text: str, said: str) -> None:
    with pytest.raises(QbftInvalid, match=said):
        Validator.parse(text.replace("KEY", str(key(1).public)))


@given(st.text(max_size=300))
def test_no_host_gets_into_a_file_unless_it_is_plain(text: str) -> None:
    try:
        host = canonical_host(text)
    except QbftInvalid:
        return
    assert set(host) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.:")
    assert canonical_host(host) == host


# -- the chain -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, -1, 2**53])
def test_a_chain_id_out_of_bounds_is_refused(number: int) -> None:
    with pytest.raises(QbftInvalid, match="chain id"):
        chain(chain_id=number)


@pytest.mark.parametrize(("number", "owner"), [(1, "Ethereum"), (11_155_111, "Sepolia"), (4711, "development chain")])
def test_another_chains_id_is_refused(number: int, owner: str) -> None:
    with pytest.raises(QbftInvalid, match=owner):
        chain(chain_id=number)


@pytest.mark.parametrize("seconds", [0, -1, 61])
def test_an_odd_pace_is_refused(seconds: int) -> None:
    with pytest.raises(QbftInvalid, match="seconds"):
        chain(block_seconds=seconds)


def test_a_chain_without_validators_is_refused() -> None:
    with pytest.raises(QbftInvalid, match="0 validators"):
        chain(0)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("name", "hospital-1", "the name"), ("key", key(1).public, "the public key"), ("host", "10.0.0.1", "the host")],
)
def test_nothing_is_given_twice(field: str, value: Any, said: str) -> None:
    with pytest.raises(QbftInvalid, match=f"{said}.* is given twice"):
        chain(validators=(validator(1), validator(2, **{field: value})))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_validator_that_only_its_own_machine_reaches_is_refused_among_others(host: str) -> None:
    with pytest.raises(QbftInvalid, match="can't dial"):
        chain(validators=(validator(1), validator(2, host=host)))


@pytest.mark.parametrize(("count", "faults"), [(1, 0), (3, 0), (4, 1), (6, 1), (7, 2), (10, 3)])
def test_it_takes_four_to_survive_one_and_fewer_are_warned(count: int, faults: int) -> None:
    assert chain(count).faults == faults
    assert any("it takes 4" in warning for warning in chain(count).warnings()) == (faults == 0)


def test_host_names_are_warned_about_and_switched_on() -> None:
    named = chain(validators=(*chain(3).validators, validator(4, host="chain.example")))
    assert any("early access" in warning for warning in named.warnings())
    assert options(named)["Xdns-enabled"] is True
    assert options(named)["p2p-host"] == "10.0.0.1"
    assert "p2p-host" not in options(named, "hospital-4")
    assert not chain().warnings()
    assert "Xdns-enabled" not in options(chain())


# -- what Besu reads -------------------------------------------------------------------------------------------------


@given(st.permutations(range(1, 6)))
def test_every_hospital_makes_the_same_bytes_whatever_the_order_of_its_list(order: list[int]) -> None:
    accounts = tuple(validator(number).address for number in order)
    made = chain(validators=tuple(validator(number) for number in order), accounts=accounts)
    ascending = chain(5, accounts=tuple(address.lower() for address in sorted(accounts)))
    assert chain_files(made) == chain_files(ascending)
    assert fingerprint(made) == fingerprint(ascending)


def test_a_validator_dials_every_other_one_and_not_itself() -> None:
    planned = chain()
    for mine in planned.validators:
        dialled = json.loads(chain_files(planned)[f"{mine.name}/static-nodes.json"])
        assert set(dialled) == {one.enode for one in planned.validators} - {mine.enode}


def test_every_validator_lets_in_the_same_nodes_and_no_other() -> None:
    planned = chain()
    assert {chain_files(planned)[f"{one.name}/permissions_config.toml"] for one in planned.validators} == {
        chain_files(planned)["hospital-1/permissions_config.toml"]
    }
    assert permissions(planned) == {"nodes-allowlist": [one.enode for one in planned.validators]}
    assert options(planned)["permissions-nodes-config-file-enabled"] is True
    assert options(planned)["discovery-enabled"] is False


def test_accounts_are_served_by_list_where_there_is_one() -> None:
    named = chain(accounts=(key(9).public.address, key(8).public.address))
    assert set(permissions(named)["accounts-allowlist"]) == {key(n).public.address.lower() for n in (8, 9)}
    assert options(named)["permissions-accounts-config-file-enabled"] is True
    assert options(chain())["permissions-accounts-config-file-enabled"] is False


@pytest.mark.parametrize("accounts", [("0x12",), ("ab" * 20,), ("0x" + "zz" * 20,), ("0x" + "ab" * 20,) * 2])
def test_an_account_that_is_none_or_given_twice_is_refused(accounts: tuple[str, ...]) -> None:
    with pytest.raises(QbftInvalid, match="account"):
        chain(accounts=accounts)


def test_options_are_documented_ones_and_programs_are_served_on_this_machine_only() -> None:
    named = chain(validators=(*chain(3).validators, validator(4, host="chain.example")))
    for one in named.validators:
        chosen = options(named, one.name)
        assert chosen.keys() <= DOCUMENTED_OPTIONS
        assert chosen["rpc-http-host"] == "127.0.0.1"
        assert "*" not in chosen["host-allowlist"]
        assert not {"ADMIN", "DEBUG", "PERM", "MINER", "TXPOOL"} & set(chosen["rpc-http-api"])
        assert (chosen["engine-rpc-enabled"], chosen["rpc-ws-enabled"], chosen["min-gas-price"]) == (False, False, 0)
        assert not chosen["data-path"].startswith("/opt/besu")


def test_validators_on_one_machine_have_ports_and_folders_of_their_own() -> None:
    local = chain(validators=tuple(validator(n, host="127.0.0.1", port=30300 + n) for n in range(1, 5)))
    chosen = [options(local, one.name) for one in local.validators]
    for field in ("rpc-http-port", "p2p-port", "data-path", "node-private-key-file"):
        assert len({options[field] for options in chosen}) == 4
    assert {options(chain(), one.name)["rpc-http-port"] for one in chain().validators} == {8545}


def test_the_checksums_cover_every_file_and_no_file_holds_a_private_key() -> None:
    files = chain_files(chain())
    listed = dict(reversed(line.split("  ")) for line in files.pop("SHA256SUMS").decode().splitlines())
    assert listed == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert [name for name, content in files.items() for n in range(1, 5) if (b"%02d" % n) * 32 in content] == []
