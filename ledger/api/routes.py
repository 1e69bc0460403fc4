"""The API's paths: every one only reads, and answers from one snapshot of the ledger."""

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from ledger import events
from ledger.abi import normalise_address
from ledger.api import finding, judging
from ledger.api import schemas as s
from ledger.api.events import event_answer
from ledger.api.guard import client_of
from ledger.api.live import TooMany
from ledger.api.paging import Cursor, EventCursor, Limit, page, page_of, place
from ledger.api.problems import Refused, documented, not_found
from ledger.api.service import Service
from ledger.api.study_telling import StudyTeller
from ledger.api.telling import Teller
from ledger.index import EventFilter, IndexedEvent
from ledger.state import Commit, RoundState

PREFIX: Final = "/api/v1"
_MOST_NUMBER: Final = 2**63 - 1
KINDS: Final = tuple(
    sorted(
        name
        for name, one in vars(events).items()
        if isinstance(one, type) and one.__subclasses__() == [] and issubclass(one, events.Event)
    )
)

StudyNumber = Annotated[int, Path(ge=1, le=_MOST_NUMBER, examples=[1], description="The study's number.")]
RoundNumber = Annotated[int, Path(ge=0, le=65_535, examples=[3], description="The round; 0 is the statistics.")]
Digest = Annotated[str, Path(pattern=r"^(0x)?[0-9a-fA-F]{64}$", description="A SHA-256, 64 hex digits.")]
AccountPath = Annotated[str, Path(pattern=r"^0x[0-9a-fA-F]{40}$", description="An account.")]
AccountQuery = Annotated[str | None, Query(pattern=r"^0x[0-9a-fA-F]{40}$", description="Of this site only.")]
KindsQuery = Annotated[
    list[Annotated[str, Field(json_schema_extra={"enum": list(KINDS)})]] | None,
    Query(max_length=8, description="Of these kinds only."),
]
RoundQuery = Annotated[int | None, Query(ge=0, le=65_535, description="Of this round only.")]

router = APIRouter(prefix=PREFIX, responses=documented(404, 421, 422, 429))


def service_of(request: Request) -> Service:
    """The service's parts."""
    found: Service = request.app.state.service
    return found


def teller_of(request: Request) -> Teller:
    """Tell of the snapshot that this request is answered from."""
    return Teller(request.scope["snapshot"])


def study_of(teller: Teller, number: int) -> StudyTeller:
    """Tell of a study; raises Refused where there is none."""
    found = teller.snapshot.studies.get(number)
    if found is None:
        raise not_found(f"study {number}")
    return StudyTeller(teller, found)


def round_of(told: StudyTeller, number: int) -> RoundState:
    """Find a round; raises Refused where it wasn't opened."""
    try:
        return told.study.round_numbered(number)
    except KeyError:
        raise not_found(f"round {number} of study {told.study.number}") from None


def account_of(text: str) -> str:
    """Read an account in any spelling; raises Refused."""
    try:
        return normalise_address(text)
    except ValueError:
        raise Refused(422, "audit_api.invalid", "that is no account") from None


# -- the ledger and the consortium -----------------------------------------------------------------------------------


@router.get("/status", tags=["ledger"])
def status(request: Request) -> s.Status:
    """Say which ledger this is, and how far it was read."""
    return teller_of(request).status()


@router.get("/consortium", tags=["consortium"])
def consortium(request: Request) -> s.Consortium:
    """Tell who the members are now, and by which rules they decide."""
    return teller_of(request).consortium()


@router.get("/members", tags=["consortium"])
def members(
    request: Request,
    block: Annotated[int | None, Query(ge=0, le=_MOST_NUMBER, description="Those in force after this block.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[s.Membership]:
    """Tell of every membership there ever was, or of those at one time."""
    teller = teller_of(request)
    return page(teller, teller.memberships(block), cursor, limit, lambda one: one)


@router.get("/members/{account}", tags=["consortium"])
def member(request: Request, account: AccountPath) -> s.Member:
    """Tell everything about one site: its memberships, and what it did in each study."""
    return member_answer(teller_of(request), account_of(account))


def member_answer(teller: Teller, account: str) -> s.Member:
    """Tell of a site, present or former; raises Refused where it never was a member."""
    now = teller.snapshot.state.consortium
    found = now.members.get(account) or now.former.get(account)
    if found is None:
        raise not_found(f"site {account}")
    studies = (StudyTeller(teller, study) for study in teller.snapshot.studies.values() if account in study.sites)
    return s.Member(
        site=teller.site(account),
        is_member=account in now.members,
        addresses=list(found.addresses),
        memberships=[one for one in teller.memberships() if one.site.account == account],
        studies=[part for told in studies for part in told.participants() if part.site.account == account],
    )


@router.get("/motions", tags=["consortium"])
def motions(request: Request, cursor: Cursor = None, limit: Limit = 50) -> s.Page[s.Motion]:
    """Tell of every vote on admitting or removing a site."""
    teller = teller_of(request)
    return page(teller, list(teller.snapshot.state.consortium.motions.values()), cursor, limit, teller.motion)


# -- studies ---------------------------------------------------------------------------------------------------------


@router.get("/studies", tags=["studies"])
def studies(
    request: Request,
    status: Literal["proposed", "running", "finished", "aborted"] | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[s.Study]:
    """List the studies."""
    teller = teller_of(request)
    found = [
        study for study in teller.snapshot.studies.values() if status is None or study.status.name.lower() == status
    ]
    return page(teller, found, cursor, limit, lambda study: StudyTeller(teller, study).summary())


@router.get("/studies/{study}", tags=["studies"])
def study(request: Request, study: StudyNumber) -> s.StudyDetail:
    """Tell of a study: its terms, its sites, its specification."""
    return study_of(teller_of(request), study).detail()


@router.get("/studies/{study}/rounds", tags=["studies"])
def rounds(
    request: Request,
    study: StudyNumber,
    leader: AccountQuery = None,
    trouble: Annotated[bool, Query(description="Only rounds with a fault, or with a site absent or left out.")] = False,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[s.Round]:
    """List a study's rounds."""
    teller = teller_of(request)
    told = study_of(teller, study)
    led_by = maybe_account(leader)

    def chosen() -> Iterator[RoundState]:
        for one in told.study.rounds:
            if (led_by is None or (one.terms and one.terms[-1].leader == led_by)) and (not trouble or troubled(one)):
                yield one

    return page_of(teller, chosen(), cursor, limit, told.round)


def troubled(one: RoundState) -> bool:
    """Whether anything in a round went otherwise than it should."""
    absent = one.sealed and one.eligible & ~one.committed
    failed = any(term.fault is not None for term in one.terms)
    return bool(absent or failed or one.extensions or one.attempt or (one.terms and one.left_out))


@router.get("/studies/{study}/rounds/{number}", tags=["studies"])
def round_detail(request: Request, study: StudyNumber, number: RoundNumber) -> s.RoundDetail:
    """Tell of one round: commits, elections, outputs, reviews."""
    told = study_of(teller_of(request), study)
    return told.round_detail(round_of(told, number))


@router.get("/studies/{study}/elections", tags=["studies"])
def elections(
    request: Request, study: StudyNumber, leader: AccountQuery = None, cursor: Cursor = None, limit: Limit = 50
) -> s.Page[s.Term]:
    """List who was drawn to lead, term by term, from which seed and among whom, and what came of it."""
    teller = teller_of(request)
    told = study_of(teller, study)
    account = maybe_account(leader)
    terms = (
        (one, term) for one in told.study.rounds for term in one.terms if account is None or term.leader == account
    )
    return page_of(teller, terms, cursor, limit, lambda pair: told.term(*pair))


@router.get("/studies/{study}/commits", tags=["studies"])
def commits(
    request: Request,
    study: StudyNumber,
    round: RoundQuery = None,
    site: AccountQuery = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> s.Page[s.Commit]:
    """List the sites' commits, and what became of each."""
    teller = teller_of(request)
    told = study_of(teller, study)
    account = maybe_account(site)

    def chosen() -> Iterator[tuple[int, Commit]]:
        for number, commit in told.commits():
            if (round is None or number == round) and (account is None or commit.site == account):
                yield number, commit

    return page_of(teller, chosen(), cursor, limit, lambda pair: told.commit(*pair))


@router.get("/studies/{study}/faults", tags=["studies"])
def faults(request: Request, study: StudyNumber, cursor: Cursor = None, limit: Limit = 50) -> s.Page[s.Fault]:
    """List the terms that came to nothing, and why."""
    teller = teller_of(request)
    return page(teller, study_of(teller, study).faults(), cursor, limit, lambda one: one)


@router.get("/studies/{study}/privacy", tags=["studies"])
def privacy(request: Request, study: StudyNumber) -> s.Privacy:
    """Tell what each site has spent of the study's privacy budget, commit by commit."""
    return study_of(teller_of(request), study).privacy()


@router.get("/studies/{study}/models", tags=["studies"])
def models(request: Request, study: StudyNumber, cursor: Cursor = None, limit: Limit = 50) -> s.Page[s.Step]:
    """Tell the family of a study's models: from the initial one, round by round, to the final one."""
    teller = teller_of(request)
    told = study_of(teller, study)
    return page(teller, told.models(), cursor, limit, told.model)


@router.get("/studies/{study}/verdicts", tags=["audit"])
def verdicts(request: Request, response: Response, study: StudyNumber) -> s.Verdicts:
    """Tell what the rules say of a study. They are judged in the background: ask again where `current` is false."""
    response.headers["cache-control"] = "no-store"
    teller = teller_of(request)
    study_of(teller, study)
    return judging.verdicts_of(teller, service_of(request).judge, study)


# -- hashes, search, events ------------------------------------------------------------------------------------------


@router.get("/hashes/{digest}", tags=["audit"])
def hashes(request: Request, digest: Digest) -> s.Known:
    """Say what a hash is: is this file a final model, of which study and round? An update, or a specification?

    A model file's hash is not the SHA-256 of its bytes: `swarm-node model verify` and the explorer compute it.
    """
    return finding.known(teller_of(request), service_of(request).queries, finding.parse_hash(digest) or b"")


@router.get("/search", tags=["audit"])
def search(request: Request, q: Annotated[str, Query(min_length=1, max_length=128, examples=["Kiel"])]) -> s.Found:
    """Find sites, studies and models by an account, a hash, a number, or a part of a name."""
    return finding.search(teller_of(request), service_of(request).queries, q)


@router.get("/events", tags=["ledger"])
def events_(
    request: Request,
    study: Annotated[int | None, Query(ge=1, le=_MOST_NUMBER, description="Of this study only.")] = None,
    round: RoundQuery = None,
    site: AccountQuery = None,
    kind: KindsQuery = None,
    cursor: EventCursor = None,
    limit: Limit = 50,
) -> s.Page[s.Event]:
    """List the contracts' own events, in the order of the chain."""
    teller = teller_of(request)
    found, after = found_events(
        request, EventFilter(study, round, maybe_account(site), known_kinds(kind)), cursor, limit
    )
    return s.Page(items=[event_answer(teller, one) for one in found], next=after, head=teller.head())


def found_events(
    request: Request, which: EventFilter, cursor: str | None, limit: int
) -> tuple[list[IndexedEvent], str | None]:
    """Find a page of events, none newer than the snapshot, and the cursor of the next page."""
    newest = teller_of(request).snapshot.newest
    found = service_of(request).queries.events(which, after=place(cursor), limit=limit)
    told = [one for one in found.events if newest is not None and one.event.at.block <= newest.number]
    if found.after is None or len(told) < len(found.events):
        return told, None
    return told, f"{found.after[0]}.{found.after[1]}"


def known_kinds(kinds: list[str] | None) -> list[str] | None:
    """Check the kinds of events that were asked for; raises Refused."""
    for kind in kinds or ():
        if kind not in KINDS:
            raise Refused(422, "audit_api.invalid", f"there is no event of that kind; there are {', '.join(KINDS)}")
    return kinds or None


def maybe_account(text: str | None) -> str | None:
    """Read an account, if there is one; raises Refused."""
    return account_of(text) if text is not None else None


@router.get("/live", tags=["ledger"], responses=documented(503), response_class=StreamingResponse)
async def live(request: Request) -> StreamingResponse:
    """Send an event whenever there is something new (text/event-stream): the newest block, and each study's version."""
    try:
        told = service_of(request).live.listen(client_of(request.scope), request.scope["snapshot"])
    except TooMany:
        busy = "as many readers listen as may; ask again later, or ask for /status"
        raise Refused(503, "audit_api.too_many_readers", busy, headers={"retry-after": "30"}) from None
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(told, media_type="text/event-stream", headers=headers)
