"""The explorer's pages, each made of the API's own answers."""

import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from ledger.api import finding, judging
from ledger.api.events import event_answer
from ledger.api.paging import Cursor, EventCursor, number, page
from ledger.api.problems import Refused
from ledger.api.routes import (
    KINDS,
    PREFIX,
    AccountPath,
    AccountQuery,
    RoundNumber,
    RoundQuery,
    StudyNumber,
    account_of,
    found_events,
    known_kinds,
    maybe_account,
    member_answer,
    round_of,
    service_of,
    study_of,
    teller_of,
    troubled,
)
from ledger.api.study_telling import StudyTeller
from ledger.api.telling import Teller
from ledger.explorer import charts
from ledger.explorer.rendering import show
from ledger.explorer.sentences import sentence
from ledger.explorer.series import points_of
from ledger.explorer.static_files import static_file
from ledger.index import EventFilter

ROUNDS: Final = 20
MODELS: Final = 30
EVENTS: Final = 50
LATEST: Final = 8

router = APIRouter(include_in_schema=False)
HashPath = Annotated[str, Path(pattern=r"^(0x)?[0-9a-fA-F]{64}$")]


@router.get("/")
def overview(request: Request) -> HTMLResponse:
    """The consortium and its studies at a glance."""
    teller = teller_of(request)
    studies = [StudyTeller(teller, study).summary() for study in reversed([*teller.snapshot.studies.values()])]
    return show(
        request,
        "overview.html",
        consortium=teller.consortium(),
        memberships=teller.memberships(),
        studies=studies[:6],
        more_studies=max(0, len(studies) - 6),
        latest=_latest(request, teller),
    )


def _latest(request: Request, teller: Teller) -> list[dict[str, Any]]:
    """The newest events, the newest first."""
    newest = teller.snapshot.newest
    if newest is None:
        return []
    found = service_of(request).queries.latest(LATEST, until=newest.number)
    return [{"says": sentence(teller, one.event), "at": teller.place(one.event.at)} for one in found]


@router.get("/consortium")
def consortium(request: Request, cursor: Cursor = None) -> HTMLResponse:
    """Members over time, and every vote."""
    teller = teller_of(request)
    motions = page(
        teller, list(reversed([*teller.snapshot.state.consortium.motions.values()])), cursor, 20, teller.motion
    )
    return show(
        request, "consortium.html", consortium=teller.consortium(), memberships=teller.memberships(), motions=motions
    )


@router.get("/sites/{account}")
def site(request: Request, account: AccountPath) -> HTMLResponse:
    """Everything about one site."""
    teller = teller_of(request)
    return show(request, "site.html", member=member_answer(teller, account_of(account)))


@router.get("/studies")
def studies(request: Request, cursor: Cursor = None) -> HTMLResponse:
    """All studies, the newest first."""
    teller = teller_of(request)
    found = list(reversed([*teller.snapshot.studies.values()]))
    listed = page(teller, found, cursor, 20, lambda one: StudyTeller(teller, one).summary())
    return show(request, "studies.html", studies=listed)


@router.get("/studies/{study}")
def study(
    request: Request,
    study: StudyNumber,
    trouble: Annotated[bool, Query()] = False,
    cursor: Cursor = None,
) -> HTMLResponse:
    """A study: its figures, curves, sites, and its rounds as a timeline."""
    teller = teller_of(request)
    told = study_of(teller, study)
    points, privacy = points_of(told.study), told.privacy()
    drawn = [charts.taking_part(points), charts.lasting(points), charts.behind(points)] if points else []
    if privacy.epsilon_budget:
        drawn.append(charts.budget(privacy))
    rounds = [one for one in reversed(told.study.rounds) if not trouble or troubled(one)]
    detail = told.detail()
    return show(
        request,
        "study.html",
        study=detail,
        charts=drawn,
        privacy=privacy,
        leading=charts.leading(detail.participants),
        rounds=page(teller, rounds, cursor, ROUNDS, told.round),
        trouble=trouble,
        start=number(cursor),
        total=len(rounds),
        version=teller.snapshot.version(study),
    )


@router.get("/studies/{study}/rounds/{number}")
def round_page(request: Request, study: StudyNumber, number: RoundNumber) -> HTMLResponse:
    """One round, step by step."""
    teller = teller_of(request)
    told = study_of(teller, study)
    one = round_of(told, number)
    around = [other for other in (number - 1, number + 1) if _has(told, other)]
    return show(
        request,
        "round.html",
        study=told.summary(),
        round=told.round_detail(one),
        before=number - 1 if number - 1 in around else None,
        after=number + 1 if number + 1 in around else None,
        version=teller.snapshot.version(study),
    )


def _has(told: StudyTeller, number: int) -> bool:
    index = number - told.study.terms.first_round
    return 0 <= index < len(told.study.rounds)


@router.get("/studies/{study}/agreement")
def agreement(request: Request, study: StudyNumber) -> HTMLResponse:
    """What every site agreed to before anything ran."""
    told = study_of(teller_of(request), study)
    return show(request, "agreement.html", study=told.detail(), sections=_sections(told))


def _sections(told: StudyTeller) -> list[tuple[str, list[tuple[str, str]]]]:
    """The specification's fields by section, as plain text."""
    spec = told.spec
    if spec is None:
        return []
    record = spec.model_dump(mode="json")
    return [
        (section, [(name, _plain(value)) for name, value in fields.items()])
        for section, fields in record.items()
        if isinstance(fields, dict)
    ]


def _plain(value: Any) -> str:
    match value:
        case list() | tuple():
            return ", ".join(_plain(one) for one in value) or "\N{EN DASH}"
        case {"name": str(name), **more}:
            said = [f"{key} {_plain(one)}" for key, one in more.items() if one not in (None, "", [], ())]
            return f"{name} ({'; '.join(said)})" if said else name
        case dict():
            return "; ".join(f"{key} {_plain(one)}" for key, one in value.items()) or "\N{EN DASH}"
        case None | "":
            return "\N{EN DASH}"
        case _:
            return str(value)


@router.get("/studies/{study}/family")
def family(request: Request, study: StudyNumber, cursor: Cursor = None) -> HTMLResponse:
    """Where the final model comes from: every model back to the initial one, and whose updates are in it."""
    teller = teller_of(request)
    told = study_of(teller, study)
    steps = page(teller, told.models()[::-1], cursor, MODELS, told.model)
    sites = [teller.site(account) for account in told.study.sites]
    return show(
        request,
        "family.html",
        study=told.summary(),
        steps=steps,
        sites=sites,
        start=number(cursor),
        version=teller.snapshot.version(study),
    )


@router.get("/studies/{study}/rules")
def rules(request: Request, study: StudyNumber) -> Response:
    """What the rules say of the study, with the evidence."""
    teller = teller_of(request)
    told = study_of(teller, study)
    verdicts = judging.verdicts_of(teller, service_of(request).judge, study)
    answer = show(request, "rules.html", study=told.summary(), verdicts=verdicts)
    answer.headers["cache-control"] = "no-store"
    return answer


@router.get("/check")
def check(request: Request, hash: Annotated[str, Query(max_length=80)] = "") -> Response:
    """Check a model: drop its file, or type its hash."""
    digest = finding.parse_hash(hash.strip())
    known = finding.known(teller_of(request), service_of(request).queries, digest) if digest is not None else None
    return show(request, "check.html", typed=hash, known=known)


@router.get("/hashes/{digest}")
def hash_page(request: Request, digest: HashPath) -> HTMLResponse:
    """What a hash is."""
    known = finding.known(teller_of(request), service_of(request).queries, finding.parse_hash(digest) or b"")
    return show(request, "hash.html", known=known)


@router.get("/search")
def search(request: Request, q: Annotated[str, Query(max_length=128)] = "") -> HTMLResponse:
    """What a search finds."""
    found = finding.search(teller_of(request), service_of(request).queries, q)
    return show(request, "search.html", found=found)


@router.get("/journal")
def journal(
    request: Request,
    study: Annotated[str, Query(pattern=r"^[0-9]{0,18}$")] = "",
    round: RoundQuery = None,
    site: AccountQuery = None,
    kind: Annotated[list[str] | None, Query(max_length=8)] = None,
    cursor: EventCursor = None,
) -> HTMLResponse:
    """Everything that happened, in the order of the chain; a form leaves empty what it doesn't ask for."""
    teller = teller_of(request)
    kinds = known_kinds([one for one in kind or () if one])
    which = EventFilter(int(study) if study else None, round, maybe_account(site), kinds)
    found, after = found_events(request, which, cursor, EVENTS)
    said = [{"says": sentence(teller, one.event), "answer": event_answer(teller, one)} for one in found]
    return show(request, "journal.html", events=said, next=after, which=which, kinds=KINDS)


@router.get("/glossary")
def glossary(request: Request) -> HTMLResponse:
    """The words of this explorer."""
    return show(request, "glossary.html")


@router.get("/static/{name}")
def static(request: Request, name: str) -> Response:
    """Styles, scripts, icon."""
    return static_file(request, name)


def add_pages(app: FastAPI) -> None:
    """Serve the explorer beside the API, with pages for what can't be shown."""
    app.include_router(router)
    before = dict(app.exception_handlers)
    for kind in (Refused, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _for_people(before[kind]))


def _for_people(for_programs: Any) -> Any:
    async def answer(request: Request, error: Exception) -> Response:
        said: Response = await for_programs(request, error)
        if request.url.path.startswith(PREFIX):
            return said
        problem = json.loads(bytes(said.body))
        return show(request, "problem.html", status=said.status_code, problem=problem)

    return answer
