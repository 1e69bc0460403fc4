"""The benchmark of the index still runs, and what it makes up is a legal history."""

from pathlib import Path

from rich.console import Console

from benchmarks import audit_index
from ledger.audit.record import Record
from ledger.audit.rules import judge
from ledger.audit.verdict import Outcome
from ledger.client import Ledger
from ledger.deployment import Deployment
from ledger.memory import MemoryChain, encode_log
from ledger.stream import EventStream


def test_a_small_chain_is_measured(tmp_path: Path) -> None:
    console = Console(width=200)
    with console.capture() as printed:
        audit_index.measure(500, tmp_path / "index.sqlite", console)
    assert "events" in printed.get()
    assert "judge a study of 27 rounds" in printed.get()


def test_the_history_is_one_that_the_rules_know() -> None:
    chain = MemoryChain()
    for block in audit_index.history(chain.chain_id, 20):
        chain.mine(
            *(
                encode_log(audit_index.STUDY if hasattr(event, "study") else audit_index.CONSORTIUM, event)
                for event in block
            )
        )
    genesis = bytes.fromhex(chain.call("eth_getBlockByNumber", "0x0", False)["hash"][2:])
    deployment = Deployment(chain.chain_id, genesis, audit_index.CONSORTIUM, audit_index.STUDY, 1)
    record = Record(deployment, 1, tuple(EventStream(Ledger(chain, deployment)).poll()))
    assert [verdict for verdict in judge(record) if verdict.outcome is Outcome.BROKEN] == []
    assert record.subject is not None
    assert record.subject.final_output is not None
