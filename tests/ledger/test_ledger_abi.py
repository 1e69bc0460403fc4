"""Calls and results are encoded as every other Ethereum tool encodes them."""

from collections.abc import Callable
from typing import Any

import pytest
from eth_abi.exceptions import DecodingError
from eth_utils import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st
from ledger_world import TERMS, account

from ledger.abi import checksum_address, constructor, interface, normalise_address
from ledger.types import Commitment, Founder, Phase, SiteState, Status, StudyView, bitmap_of, seats_of


def outcome(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (ValueError, DecodingError):
        return "refused"


@pytest.mark.parametrize("size", [0, 31, 33, 17 * 32 - 1])
def test_a_result_that_is_cut_short_is_refused(size: int) -> None:
    outputs = interface("Study").functions["viewStudy"].outputs
    assert outcome(lambda: outputs.decode(bytes(size))) == "refused"


def test_a_view_is_read_field_by_field() -> None:
    raw = b"".join(number.to_bytes(32, "big") for number in [2, 3, *range(4, 19)])
    (view,) = interface("Study").functions["viewStudy"].outputs.decode(raw)
    expected = [(18 - 4 + index).to_bytes(32, "big") for index in range(5)]
    assert isinstance(view, StudyView)
    assert (view.status, view.phase, view.round, view.leader_seat) == (Status.RUNNING, Phase.REVIEWING, 4, 7)
    assert [view.seed, view.output, view.last_final, view.spec_hash] == expected[1:]


@pytest.mark.parametrize(
    ("contract", "function", "values", "signature"),
    [
        ("Study", "rotate", (1, 2, 3), "rotate(uint256,uint16,uint16)"),
        (
            "Study",
            "propose",
            (b"{}", TERMS),
            "propose(bytes,(uint16,bool,uint16,uint16,uint32,uint32,uint32,uint32,uint32,uint32,uint32,uint64,uint64))",
        ),
        ("Consortium", "publishAddresses", (["/ip4/10.0.0.1"],), "publishAddresses(string[])"),
    ],
)
def test_a_call_begins_with_its_selector_and_gives_its_arguments_back(
    contract: Any, function: str, values: tuple[Any, ...], signature: str
) -> None:
    from eth_utils import keccak

    shape = interface(contract).functions[function]
    encoded = shape.encode(*values)
    assert encoded[:4] == keccak(text=signature)[:4]
    decoded = shape.inputs.decode(encoded[4:])
    assert [list(value) if isinstance(value, tuple) else value for value in decoded] == list(values)


def test_a_commitment_is_encoded_word_by_word() -> None:
    commitment = Commitment(b"\x01" * 32, 2, 3, b"\x04" * 32, 5, b"\x06" * 32)
    encoded = interface("Study").functions["commit"].encode(7, 8, 9, commitment)
    numbers = [int.from_bytes(encoded[start : start + 32], "big") for start in range(4, len(encoded), 32)]
    one, four, six = (int.from_bytes(bytes([byte]) * 32, "big") for byte in (1, 4, 6))
    assert numbers == [7, 8, 9, one, 2, 3, four, 5, six]


def test_several_results_come_one_by_one() -> None:
    raw = b"\x01" * 32 + b"".join(number.to_bytes(32, "big") for number in (7, 1, 3))
    assert SiteState(*interface("Study").functions["siteState"].outputs.decode(raw)) == SiteState(
        b"\x01" * 32, 7, True, 3
    )


def test_a_constructor_takes_structs_in_a_list() -> None:
    from contracts import artifacts

    founders = [Founder(account(number).address, f"site-{number}") for number in range(3)]
    parameters = constructor(artifacts.load("Consortium").abi)
    decoded = parameters.decode(parameters.encode((founders, 6667, 60)))
    assert [tuple(one) for one in decoded[0]] == [(one.account.lower(), one.name) for one in founders]
    assert constructor([]).encode(()) == b""


@given(st.sets(st.integers(0, 255)))
def test_a_bitmap_is_a_set_of_seats(seats: set[int]) -> None:
    assert list(seats_of(bitmap_of(*seats))) == sorted(seats)


@given(st.binary(min_size=20, max_size=20))
def test_addresses_are_spelled_as_everywhere(raw: bytes) -> None:
    assert checksum_address(raw) == to_checksum_address(raw)
    assert normalise_address(raw.hex()) == to_checksum_address(raw)
