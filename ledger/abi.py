"""The contracts' ABI as a codec: calls, results, logs and errors, between bytes and our own types.

Everything is derived from the committed artifacts, so that Solidity stays the one place where a signature is written.
Logs are decoded from raw JSON, which is some thirty times faster than through contract objects.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import IntEnum
from functools import cache, lru_cache, partial
from typing import Any, Final

from eth_abi.codec import ABICodec
from eth_abi.decoding import StringDecoder
from eth_abi.exceptions import DecodingError
from eth_abi.registry import BaseEquals
from eth_abi.registry import registry as default_registry
from eth_hash.auto import keccak

from contracts import artifacts
from ledger import reverts, types
from ledger.errors import ContractError, snake_case

Convert = Callable[[Any], Any]
MALFORMED: Final = (DecodingError, ValueError, TypeError, KeyError, OverflowError)
"""What decoding raises on bytes or JSON that don't fit."""


class _AnyString(StringDecoder):
    """Reads any bytes as a string: a site's name must not be able to stop its readers."""

    def __init__(self) -> None:
        super().__init__("replace")  # type: ignore[no-untyped-call]


def _codec() -> ABICodec:
    registry = default_registry.copy()  # type: ignore[no-untyped-call]
    registry.unregister_decoder("string")
    registry.register_decoder(BaseEquals("string"), _AnyString, label="string")  # type: ignore[no-untyped-call]
    return ABICodec(registry)


CODEC: Final = _codec()


def keccak256(data: bytes) -> bytes:
    """Hash as the EVM does."""
    return bytes(keccak(data))


@lru_cache(maxsize=4096)
def checksum_address(account: bytes) -> types.Address:
    """Spell the 20 bytes of an account with the EIP-55 checksum."""
    digits = account.hex()
    nibbles = keccak(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) > 7 else digit for digit, nibble in zip(digits, nibbles, strict=False)
    )


def normalise_address(text: str) -> types.Address:
    """Check an account written in hex, in any case, and spell it with its checksum; raises ValueError."""
    raw = bytes.fromhex(text.removeprefix("0x"))
    if len(raw) != 20:
        raise ValueError(f"{text!r} is not an account: 0x and 40 hex digits")
    return checksum_address(raw)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument: its Python name, ABI type, and the conversion of a decoded value (None where it is right as is)."""

    name: str
    abi_type: str
    indexed: bool
    convert: Convert | None


@dataclass(frozen=True, slots=True)
class Parameters:
    """A list of arguments, encoded together."""

    items: tuple[Parameter, ...]
    abi_types: tuple[str, ...]

    def encode(self, values: Sequence[Any]) -> bytes:
        """Encode our values."""
        return CODEC.encode(self.abi_types, [_to_abi(value) for value in values])

    def decode(self, data: bytes) -> list[Any]:
        """Decode into our types; raises one of MALFORMED."""
        return [
            value if item.convert is None else item.convert(value)
            for item, value in zip(self.items, CODEC.decode(self.abi_types, data), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Function:
    """A function: its four-byte selector, arguments and results."""

    name: str
    selector: bytes
    inputs: Parameters
    outputs: Parameters

    def encode(self, *values: Any) -> bytes:
        """Encode a call."""
        return self.selector + self.inputs.encode(values)


@dataclass(frozen=True, slots=True)
class EventShape:
    """An event: its topic, and its arguments split into topics and data."""

    name: str
    topic: bytes
    topics: tuple[tuple[str, Parameters], ...]
    data: Parameters


@dataclass(frozen=True, slots=True)
class ErrorShape:
    """A custom error: the exception that it becomes."""

    exception: type[ContractError]
    inputs: Parameters


@dataclass(frozen=True, slots=True)
class Interface:
    """A contract's functions by name, events by topic and errors by selector."""

    functions: dict[str, Function]
    events: dict[bytes, EventShape]
    errors: dict[bytes, ErrorShape]


def _to_abi(value: Any) -> Any:
    if is_dataclass(value):
        return tuple(_to_abi(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, list | tuple):
        return [_to_abi(item) for item in value]
    return int(value) if isinstance(value, IntEnum) else value


def _abi_type(entry: dict[str, Any]) -> str:
    kind = str(entry["type"])
    if not kind.startswith("tuple"):
        return kind
    return "(" + ",".join(_abi_type(part) for part in entry["components"]) + ")" + kind.removeprefix("tuple")


def _struct(cls: Callable[..., Any], parts: tuple[Convert | None, ...], values: Sequence[Any]) -> Any:
    return cls(*(value if part is None else part(value) for part, value in zip(parts, values, strict=True)))


def _address(value: str) -> types.Address:
    return checksum_address(bytes.fromhex(value[2:]))


def _convert(entry: dict[str, Any]) -> Convert | None:
    kind, internal = str(entry["type"]), str(entry.get("internalType", ""))
    if kind == "address":
        return _address
    if kind == "tuple":
        cls = getattr(types, {"View": "StudyView"}.get(name := internal.rpartition(".")[2], name))
        return partial(_struct, cls, tuple(_convert(part) for part in entry["components"]))
    if internal.startswith("enum "):
        enum: Convert = getattr(types, internal.rpartition(".")[2])
        return enum
    return tuple if kind.endswith("[]") else None


def _parameters(entries: Sequence[dict[str, Any]]) -> Parameters:
    items = tuple(
        Parameter(snake_case(entry["name"]), _abi_type(entry), bool(entry.get("indexed")), _convert(entry))
        for entry in entries
    )
    return Parameters(items, tuple(item.abi_type for item in items))


def _subset(parameters: Parameters, indexed: bool) -> Parameters:
    items = tuple(item for item in parameters.items if item.indexed == indexed)
    return Parameters(items, tuple(item.abi_type for item in items))


def _signature(entry: dict[str, Any]) -> bytes:
    return keccak256(f"{entry['name']}({','.join(_abi_type(part) for part in entry['inputs'])})".encode())


def parse(abi: Sequence[dict[str, Any]]) -> Interface:
    """Read an ABI in Solidity's JSON form."""
    interface = Interface({}, {}, {})
    for entry in abi:
        if entry["type"] not in ("function", "event", "error"):
            continue
        name, signature, inputs = str(entry["name"]), _signature(entry), _parameters(entry["inputs"])
        if entry["type"] == "function":
            interface.functions[name] = Function(name, signature[:4], inputs, _parameters(entry["outputs"]))
        elif entry["type"] == "error":
            interface.errors[signature[:4]] = ErrorShape(getattr(reverts, name), inputs)
        else:
            topics = tuple((item.name, Parameters((item,), (item.abi_type,))) for item in _subset(inputs, True).items)
            interface.events[signature] = EventShape(name, signature, topics, _subset(inputs, False))
    return interface


def constructor(abi: Sequence[dict[str, Any]]) -> Parameters:
    """Read the arguments of a contract's constructor."""
    entries = [entry["inputs"] for entry in abi if entry["type"] == "constructor"]
    return _parameters(entries[0] if entries else ())


@cache
def interface(contract: str) -> Interface:
    """Give the interface of "Consortium" or "Study", from its committed artifact."""
    return parse(artifacts.load(contract).abi)


def decode_revert(data: bytes) -> ContractError | None:
    """Make the exception of a revert's data; None where it is none of our errors."""
    for contract in ("Consortium", "Study"):
        shape = interface(contract).errors.get(data[:4])
        if shape is not None:
            try:
                return shape.exception(*shape.inputs.decode(data[4:]))
            except MALFORMED:
                return None
    return None
