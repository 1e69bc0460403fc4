"""Every error of the ledger has a stable code and a message that says what to do; none of the contracts' is missing."""

import copy
from typing import Any

import pytest

from contracts import artifacts
from ledger import errors, reverts
from ledger.abi import decode_revert, interface, parse
from ledger.errors import ContractError, LedgerError, snake_case
from ledger.types import MotionState, Phase, Status

SAMPLES: dict[type, Any] = {int: 7, str: "0x" + "ab" * 20, bytes: b"\x05" * 32, Status: Status.RUNNING}
SAMPLES |= {Phase: Phase.MERGING, MotionState: MotionState.PASSED}


def every(base: type[LedgerError]) -> list[type[LedgerError]]:
    return [base, *(one for child in base.__subclasses__() for one in every(child))]


def abi_errors() -> dict[str, dict[str, Any]]:
    entries = [entry for name in ("Consortium", "Study") for entry in artifacts.load(name).abi]
    return {entry["name"]: entry for entry in entries if entry["type"] == "error"}


def sample(kind: type[ContractError]) -> ContractError:
    annotations = kind.__annotations__ if kind.fields else {}
    return kind(*(SAMPLES[annotations[name]] for name in kind.fields))


def test_each_error_of_the_contracts_has_an_exception_and_the_other_way_round() -> None:
    assert set(abi_errors()) == {kind.__name__ for kind in every(ContractError)[1:]}


@pytest.mark.parametrize("name", sorted(abi_errors()))
def test_an_exception_takes_the_arguments_of_its_solidity_error(name: str) -> None:
    kind = getattr(reverts, name)
    assert kind.fields == tuple(snake_case(entry["name"]) for entry in abi_errors()[name]["inputs"])


@pytest.mark.parametrize("name", sorted(abi_errors()))
def test_a_revert_becomes_its_exception_with_its_arguments(name: str) -> None:
    given = sample(getattr(reverts, name))
    contract = "Consortium" if name.startswith("Consortium") else "Study"
    selector, shape = next(pair for pair in interface(contract).errors.items() if pair[1].exception.__name__ == name)
    decoded = decode_revert(selector + shape.inputs.encode(given.values))
    assert type(decoded) is type(given)
    assert [str(value).lower() for value in decoded.values] == [str(value).lower() for value in given.values]
    assert all(hasattr(decoded, field) for field in given.fields)


def test_codes_are_unique_and_begin_with_the_name_of_this_package() -> None:
    codes = [kind.code for kind in every(LedgerError)]
    assert len(codes) == len(set(codes))
    assert all(code.startswith("ledger.") for code in codes)


def test_the_tree_at_the_top_of_the_module_names_every_class() -> None:
    drawn = errors.__doc__ or ""
    missing = [kind.__name__ for kind in every(LedgerError) if not issubclass(kind, ContractError)]
    assert [name for name in missing if name not in drawn] == []


@pytest.mark.parametrize("name", sorted(abi_errors()))
def test_a_message_is_a_filled_in_sentence(name: str) -> None:
    error = sample(getattr(reverts, name))
    assert str(error).startswith(f"{name}: ")
    assert "{" not in str(error)
    assert error.code == f"ledger.contract.{snake_case(name)}"


def test_a_contract_error_survives_a_process_boundary() -> None:
    error = reverts.RoundWrongNumber(2, 3, tx=b"\x01" * 32)
    again = copy.copy(error)  # by the protocol that processes exchange exceptions by
    assert (type(again), again.given, again.current, again.tx) == (type(error), 2, 3, b"\x01" * 32)


def test_a_contract_error_refuses_the_wrong_number_of_arguments() -> None:
    with pytest.raises(TypeError, match="2 arguments: given, current"):
        reverts.RoundWrongNumber(2)


def test_unknown_revert_data_is_none_of_our_errors() -> None:
    assert decode_revert(b"") is None
    assert decode_revert(b"\x08\xc3\x79\xa0" + bytes(64)) is None
    selector = next(iter(interface("Study").errors))
    assert decode_revert(selector + b"\x01") is None


def test_errors_that_refine_a_builtin_are_caught_as_such() -> None:
    assert issubclass(errors.RpcUnreachable, ConnectionError)
    assert issubclass(errors.TransactionTimeout, TimeoutError)
    assert issubclass(errors.EventInvalid, ValueError)


def test_an_abi_with_an_unknown_error_is_refused() -> None:
    with pytest.raises(AttributeError, match="NeverHeardOf"):
        parse([{"type": "error", "name": "NeverHeardOf", "inputs": []}])
