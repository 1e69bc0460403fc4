"""Which blobs this site's studies lay claim to: whom they may be served to, and until when they are kept."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from ledger.state import RoundState, StudyState
from ledger.types import Address, Position
from node.chain import Chain
from swarm.spec import StudySpec


class Claims:
    """The claims of every study that this site takes part in, from the ledger.

    A hash is public, so anybody can commit it, in a study of his own, too. Hence a later study's claim on a blob that
    an earlier one knows gives nobody a right to it, and takes nobody's away.
    """

    def __init__(self, chain: Chain, me: Address) -> None:
        self._chain = chain
        self._me = me
        self._specs: dict[int, StudySpec] = {}
        self._indices: dict[int, _Index] = {}
        self._offered: dict[int, bytes] = {}

    def enter(self, study: int, spec: StudySpec) -> None:
        """Keep what a study that this site takes part in needs from now on."""
        self._specs[study] = spec

    def offer(self, study: int, blob: bytes) -> None:
        """Let a study's sites have the update that is being committed: some read of it before this site does.

        Only who read it on the ledger can ask, since nobody else knows its hash.
        """
        self._offered[study] = blob

    def may_serve(self, address: Address, blob: bytes) -> bool:
        """Whether the ledger ties a blob to a study of ours in which the asker takes part.

        Where several studies claim it: the first one's sites may have it, those of a study in which we committed it
        ourselves, and those of one whose final output it is.
        """
        if any(address in study.sites and self._offered.get(study.number) == blob for study in self._ours()):
            return True
        claims = [(study, found) for study in self._ours() if (found := self._index(study).find(blob)) is not None]
        first = min((found.since for _, found in claims), default=None)
        return any(
            found.since == first or self._me in found.owners or found.final
            for study, found in claims
            if address in study.sites
        )

    def needed(self) -> set[bytes]:
        """Every blob that no study may delete: outputs, first models, and inputs whose retention isn't over."""
        kept: set[bytes] = set()
        for study in self._ours():
            kept.update(one.final.output for one in study.rounds if one.final is not None)
            spec = self._specs.get(study.number)
            if spec is not None:
                kept.add(spec.initial)
                kept.update(retained(study, spec))
        return kept

    def _ours(self) -> Iterator[StudyState]:
        return (study for study in self._chain.studies.values() if self._me in study.sites)

    def _index(self, study: StudyState) -> "_Index":
        index = self._indices.setdefault(study.number, _Index())
        index.follow(study)
        return index


def retained(study: StudyState, spec: StudySpec) -> Iterator[bytes]:
    """The inputs of a study whose retention isn't over."""
    oldest = study.rounds[-1].number - spec.round.retention_rounds if study.rounds else 0
    for one in study.rounds:
        if one.number >= oldest:
            yield from (commit.commitment.blob for commit in one.all_commits())
    yield from (commit.commitment.blob for commit in study.upcoming.values())


@dataclass(frozen=True, slots=True)
class _Claim:
    """What one study says of a blob: since when, who committed it, and whether it is a final output."""

    since: Position
    owners: frozenset[Address] = frozenset()
    final: bool = False


@dataclass(slots=True)
class _Index:
    """One study's claims by blob; rounds that are over are read once."""

    _study: StudyState | None = None
    _settled: dict[bytes, _Claim] = field(default_factory=dict)
    _present: dict[bytes, _Claim] = field(default_factory=dict)
    _rounds: int = 0

    def find(self, blob: bytes) -> _Claim | None:
        """The claim on a blob, if there is any."""
        settled, present = self._settled.get(blob), self._present.get(blob)
        if settled is None or present is None:
            return settled or present
        return _both(settled, present)

    def follow(self, study: StudyState) -> None:
        """Take in what is new since the last time."""
        if study is self._study:
            return
        self._study = study
        while self._rounds < len(study.rounds) - 1:
            _note(self._settled, study.rounds[self._rounds])
            self._rounds += 1
        self._present = {}
        for one in study.rounds[self._rounds :]:
            _note(self._present, one)
        for commit in (*study.voided, *study.upcoming.values()):
            _add(self._present, commit.commitment.blob, _Claim(commit.at, _only(commit.site)))


def _note(claims: dict[bytes, _Claim], one: RoundState) -> None:
    for commit in one.all_commits():
        _add(claims, commit.commitment.blob, _Claim(commit.at, _only(commit.site)))
    for term in one.terms:
        if term.publication is not None:
            _add(claims, term.publication.output, _Claim(term.publication.at))
    if one.final is not None:
        _add(claims, one.final.output, _Claim(one.final.at, final=True))


@cache
def _only(site: Address) -> frozenset[Address]:
    """The set of one site: one object for all of its claims, of which every round brings some."""
    return frozenset((site,))


def _add(claims: dict[bytes, _Claim], blob: bytes, claim: _Claim) -> None:
    before = claims.get(blob)
    claims[blob] = claim if before is None else _both(before, claim)


def _both(one: _Claim, other: _Claim) -> _Claim:
    return _Claim(min(one.since, other.since), one.owners | other.owners, one.final or other.final)
