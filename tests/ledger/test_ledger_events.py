"""Raw logs become typed events and nothing else, whatever bytes arrive."""

import contextlib
from dataclasses import fields
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_world import position

from contracts import artifacts
from ledger import events
from ledger.abi import checksum_address, interface
from ledger.errors import EventInvalid, snake_case
from ledger.events import Event, decode_log
from ledger.memory import encode_log
from ledger.types import AbortReason, Commitment, Fault, MotionKind, MotionState, Terms

BYTES32 = st.binary(min_size=32, max_size=32)
ADDRESSES = st.binary(min_size=20, max_size=20).map(checksum_address)
ENTRIES = {
    entry["name"]: (name, entry)
    for name in ("Consortium", "Study")
    for entry in artifacts.load(name).abi
    if entry["type"] == "event"
}
CONTRACTS = {event: name for event, (name, _) in ENTRIES.items()}
KINDS = sorted(ENTRIES)
ADDRESS = checksum_address(b"\x11" * 20)


def values_of(abi_type: str, hint: Any) -> st.SearchStrategy[Any]:
    if hint in (Fault, AbortReason, MotionKind, MotionState):
        return st.sampled_from(hint)
    if hint in (Terms, Commitment):
        inner = get_type_hints(hint)
        shape = interface("Study").functions["propose" if hint is Terms else "commit"].inputs.abi_types[-1]
        types = dict(zip((field.name for field in fields(hint)), shape[1:-1].split(","), strict=True))
        return st.builds(hint, **{name: values_of(types[name], inner[name]) for name in types})
    if abi_type.startswith("uint"):
        return st.integers(0, 2 ** int(abi_type[4:]) - 1)
    simple = {"bool": st.booleans(), "address": ADDRESSES, "bytes32": BYTES32, "bytes": st.binary(max_size=70)}
    simple |= {"string": st.text(max_size=40), "string[]": st.lists(st.text(max_size=40), max_size=4).map(tuple)}
    return simple[abi_type]


def samples(name: str) -> st.SearchStrategy[Event]:
    kind = getattr(events, name)
    hints = get_type_hints(kind)
    shape = next(one for one in interface(CONTRACTS[name]).events.values() if one.name == name)
    parameters = {field: item.items[0].abi_type for field, item in shape.topics}
    parameters |= {item.name: item.abi_type for item in shape.data.items}
    return st.builds(kind, at=st.just(position()), **{k: values_of(v, hints[k]) for k, v in parameters.items()})


def placed(log: dict[str, Any]) -> dict[str, Any]:
    place = position()
    return {
        **log,
        "blockNumber": hex(place.block),
        "logIndex": hex(place.log_index),
        "transactionHash": "0x" + place.tx.hex(),
        "blockHash": "0x" + place.block_hash.hex(),
        "blockTimestamp": hex(place.timestamp),
    }


@pytest.mark.parametrize("name", KINDS)
def test_an_event_class_has_the_fields_of_its_solidity_event(name: str) -> None:
    entry = ENTRIES[name][1]
    declared = {field.name for field in fields(getattr(events, name))}
    assert declared == {"at", *(snake_case(one["name"]) for one in entry["inputs"])}


def test_every_event_class_is_one_of_the_contracts() -> None:
    concrete = [one.__name__ for one in vars(events).values() if isinstance(one, type) and issubclass(one, Event)]
    bases = {"Event", "ConsortiumEvent", "StudyEvent", "RoundEvent"}
    assert sorted(set(concrete) - bases) == KINDS


@pytest.mark.parametrize("name", KINDS)
def test_an_event_survives_the_way_through_its_log(name: str) -> None:
    @given(samples(name))
    def check(event: Event) -> None:
        assert decode_log(CONTRACTS[name], placed(encode_log(ADDRESS, event))) == event

    check()


@given(st.data())
def test_a_mangled_log_is_refused_or_an_event(drawn: st.DataObject) -> None:
    name = drawn.draw(st.sampled_from(KINDS))
    log = placed(encode_log(ADDRESS, drawn.draw(samples(name))))
    field = drawn.draw(st.sampled_from(["data", "topics", "blockNumber", "transactionHash", "blockHash", "logIndex"]))
    junk: st.SearchStrategy[Any] = (
        st.none() | st.text(max_size=20) | st.binary(max_size=99).map(lambda raw: "0x" + raw.hex())
    )
    log[field] = drawn.draw(st.lists(junk, max_size=5) if field == "topics" else junk)
    with contextlib.suppress(EventInvalid):
        assert isinstance(decode_log(CONTRACTS[name], log), Event)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=4), st.binary(max_size=500))
def test_any_log_is_decoded_or_refused(topics: list[bytes], body: bytes) -> None:
    log = placed({"topics": ["0x" + topic.hex() for topic in topics], "data": "0x" + body.hex()})
    with pytest.raises(EventInvalid):
        decode_log("Study", log)


@pytest.mark.parametrize("log", [None, [], "log", {}, {"topics": None}])
def test_what_is_no_log_at_all_is_refused(log: Any) -> None:
    with pytest.raises(EventInvalid):
        decode_log("Study", log)


def test_a_name_that_is_not_utf8_stops_nobody() -> None:
    event = events.SiteAdmitted(at=position(), site=ADDRESS, seat=1, name="abc")
    log = placed(encode_log(ADDRESS, event))
    log["data"] = log["data"].replace(b"abc".hex(), "61ff63")
    decoded = decode_log("Consortium", log)
    assert isinstance(decoded, events.SiteAdmitted)
    assert decoded.name == "a\N{REPLACEMENT CHARACTER}c"


def test_the_golden_log_of_a_commit() -> None:
    """Written down word by word, so that the ABI, the encoder and the decoder can't be wrong together."""
    commitment = Commitment(b"\x01" * 32, 10, 5, b"\x02" * 32, 8, b"\x03" * 32)
    log = placed(
        {
            "topics": [
                "0x" + interface_topic("UpdateCommitted"),
                "0x" + (1).to_bytes(32, "big").hex(),
                "0x" + (2).to_bytes(32, "big").hex(),
                "0x" + bytes(12).hex() + "11" * 20,
            ],
            "data": "0x"
            + b"".join(
                [
                    (0).to_bytes(32, "big"),
                    (3).to_bytes(32, "big"),
                    b"\x01" * 32,
                    (10).to_bytes(32, "big"),
                    (5).to_bytes(32, "big"),
                    b"\x02" * 32,
                    (8).to_bytes(32, "big"),
                    b"\x03" * 32,
                ]
            ).hex(),
        }
    )
    expected = events.UpdateCommitted(
        at=position(), study=1, round=2, site=ADDRESS, attempt=0, seat=3, commitment=commitment
    )
    assert decode_log("Study", log) == expected


def interface_topic(name: str) -> str:
    from eth_utils import keccak

    commitment = "(bytes32,uint32,uint64,bytes32,uint64,bytes32)"
    return keccak(text=f"{name}(uint256,uint16,address,uint16,uint8,{commitment})").hex()
