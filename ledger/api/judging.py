"""The rules over the studies, judged in the background and kept until a study changes."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ledger.api import schemas as s
from ledger.api.snapshot import Snapshot
from ledger.api.telling import Teller
from ledger.audit.audit import questions
from ledger.audit.indexed import indexed_record
from ledger.audit.record import SignedCall
from ledger.audit.rules import judge
from ledger.audit.verdict import Finding, Verdict
from ledger.index import IndexStore
from ledger.rpc import Rpc
from ledger.types import Address

_REST: Final = 1.0
"""Seconds of rest for each second of judging: on a long study that grows, the pages come first."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules said of a study as of a version of it, and how long they took."""

    version: str
    seconds: float
    verdicts: tuple[Verdict, ...]


class Judge:
    """Judges one study at a time, in a thread of its own, whenever one is asked for that has changed since.

    `rpc` is asked for the signed transactions, each once; without it, the rules on signatures are not decidable.
    """

    def __init__(self, store: IndexStore, snapshot: Callable[[], Snapshot], rpc: Rpc | None) -> None:
        self._store = store
        self._snapshot = snapshot
        self._rpc = rpc
        self._calls: dict[bytes, SignedCall] = {}
        self._done: dict[int, Judgement] = {}
        self._asked: set[int] = set()
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="judge", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more questions; a judgement that is being made is not waited for."""
        self._queue.put(None)

    def of(self, study: int) -> Judgement | None:
        """Give the newest judgement, and have another made where the study has changed since; None before the first."""
        done = self._done.get(study)
        if done is None or done.version != self._snapshot().version(study):
            with self._lock:
                if study not in self._asked:
                    self._asked.add(study)
                    self._queue.put(study)
        return done

    def _run(self) -> None:
        while (study := self._queue.get()) is not None:
            try:
                took = self._judge(study)
            except Exception:  # the boundary of the thread: the page goes on saying that there is no judgement
                logger.exception("judging study %d failed", study)
                took = 0.0
            with self._lock:
                self._asked.discard(study)
            threading.Event().wait(took * _REST)

    def _judge(self, study: int) -> float:
        snapshot = self._snapshot()
        begin = time.perf_counter()
        record = indexed_record(self._store, study, rpc=self._rpc, known=self._calls)
        self._calls.update(record.calls or {})
        verdicts = judge(record)
        took = time.perf_counter() - begin
        self._done[study] = Judgement(snapshot.version(study), took, verdicts)
        return took


def verdicts_of(teller: Teller, judge: Judge, study: int) -> s.Verdicts:
    """Tell what the rules say of a study, with what each one checks and why."""
    done = judge.of(study)
    current = teller.snapshot.version(study)
    return s.Verdicts(
        study=study,
        of=done.version if done is not None else None,
        current=done is not None and done.version == current,
        seconds=round(done.seconds, 3) if done is not None else None,
        verdicts=[_verdict(teller, one) for one in done.verdicts] if done is not None else [],
        head=teller.head(),
    )


def _verdict(teller: Teller, verdict: Verdict) -> s.RuleVerdict:
    question = questions()[verdict.rule]

    def tell(finding: Finding) -> s.Finding:
        site: Address | None = finding.site
        return s.Finding(
            what=finding.what,
            round=finding.round,
            site=teller.site(site) if site is not None else None,
            block=finding.block,
        )

    return s.RuleVerdict(
        rule=verdict.rule,
        checks=question.checks,
        why_it_matters=question.why,
        outcome=str(verdict.outcome),
        said=verdict.why,
        broken=[tell(one) for one in verdict.broken],
        open=[tell(one) for one in verdict.open],
        figures=dict(verdict.figures),
    )
