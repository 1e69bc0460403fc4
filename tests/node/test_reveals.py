"""The hash chain that feeds every election."""

import pytest
from eth_hash.auto import keccak

from node.errors import NodeError
from node.reveals import RevealChain, chain_length

KEY = b"\x07" * 32
CONTRACT = "0x00000000000000000000000000000000000000Aa"


def test_each_reveal_is_the_preimage_of_the_one_before() -> None:
    chain = RevealChain(KEY, 4711, CONTRACT, 3, 50)
    link = chain.tip
    for _ in range(50):
        reveal = chain.reveal(link)
        assert keccak(reveal) == link
        link = reveal
    with pytest.raises(NodeError, match="used up"):
        chain.reveal(link)


def test_the_chain_follows_from_the_key_and_the_study_alone() -> None:
    assert RevealChain(KEY, 4711, CONTRACT, 3, 50).tip == RevealChain(KEY, 4711, CONTRACT.lower(), 3, 50).tip
    others = [
        RevealChain(b"\x08" * 32, 4711, CONTRACT, 3, 50),
        RevealChain(KEY, 1, CONTRACT, 3, 50),
        RevealChain(KEY, 4711, CONTRACT, 4, 50),
        RevealChain(KEY, 4711, "0x" + "b" * 40, 3, 50),
    ]
    assert len({chain.tip for chain in others} | {RevealChain(KEY, 4711, CONTRACT, 3, 50).tip}) == 5


def test_another_chain_than_the_deposited_one_is_refused() -> None:
    with pytest.raises(NodeError, match="not the one it deposited"):
        RevealChain(KEY, 4711, CONTRACT, 3, 50).reveal(b"\x01" * 32)


def test_a_study_has_reveals_to_spare() -> None:
    assert chain_length(1) > 2
    assert chain_length(65_534) > 65_535
