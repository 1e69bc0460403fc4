"""JSON from others may not be nested so deep that the parser overflows the stack."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import BlobInvalid, SpecificationError
from swarm.manifest import Manifest
from swarm.nesting import DEEPEST, check_nesting
from swarm.spec import StudySpec

DEEP = b"[" * 200_000

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


@given(values)
def test_what_people_write_passes(value: object) -> None:
    data = json.dumps(value).encode()
    assert check_nesting(data) is data


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_what_is_nested_too_deeply_is_refused(opening: bytes) -> None:
    levels = opening.count(b"[") + opening.count(b"{")
    check_nesting(opening * (DEEPEST // levels))
    with pytest.raises(ValueError, match="nested deeper"):
        check_nesting(opening * (DEEPEST // levels + 1))


@pytest.mark.parametrize("data", [b'"' + b"[" * 1000 + b'"', b'"\\"' + b"[" * 1000 + b'"', b"[],{}," * 1000])
def test_brackets_in_strings_and_side_by_side_are_not_nested(data: bytes) -> None:
    check_nesting(data)


def test_a_string_that_never_ends_costs_no_more_than_another() -> None:
    check_nesting(b'"\\' * 500_000)


def test_a_manifest_and_a_specification_of_brackets_are_refused() -> None:
    with pytest.raises(BlobInvalid, match="not a manifest"):
        Manifest.decode(DEEP)
    with pytest.raises(SpecificationError, match="nested deeper"):
        StudySpec.from_json(DEEP[:20_000])


def test_no_import_of_a_running_site_raises_the_recursion_limit() -> None:
    """With py_ecc's limit a nested JSON from the chain's node or the training process would end the site."""
    program = (
        "import sys; before = sys.getrecursionlimit(); import node.site, node.demo.run, ledger.devnet, swarm.worker;"
    )
    program += "import node.identity; from ledger.eth import EthAccount; print(before == sys.getrecursionlimit())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]
