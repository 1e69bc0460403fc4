"""What the service answers with. Fields are added, and none changes its meaning, within one version of the paths.

Hashes and transactions are 0x and hex, accounts have the EIP-55 checksum, times are seconds since 1970 (chain time),
epsilon and weights are as the sites told them. Names and reasons were written by members: show them as text.
"""

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Hash = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$", examples=["0x" + "5e" * 32])]
Account = Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{40}$", examples=["0xBFF2ED00b513355161AC6732bFDF10374Fc454a4"])]
T = TypeVar("T")


class Answer(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class Place(Answer):
    """Where and when something is on record; `provisional` where its block may yet be replaced."""

    block: int = Field(examples=[1204])
    timestamp: int = Field(examples=[1_764_000_000])
    transaction: Hash
    provisional: bool = False


class Site(Answer):
    """A site: its account, and the name by which it was admitted."""

    account: Account
    name: str = Field(examples=["Lübeck"])


class Head(Answer):
    """How far the service has read; answers are of the ledger up to this block."""

    block: int | None
    hash: Hash | None
    timestamp: int | None
    provisional_from: int = Field(description="Blocks from here on may yet be replaced.")
    trouble: str = Field(default="", description="Why the chain can't be followed at present; empty where it can.")


class Page(Answer, Generic[T]):
    """Some items of a list; `next` is the cursor of the next page, null on the last one."""

    items: list[T]
    next: str | None = Field(examples=["20"])
    head: Head


class Status(Answer):
    """Which ledger this is, and how far it was read."""

    version: int = 1
    chain_id: int
    genesis: Hash
    consortium: Account
    study: Account
    head: Head
    events: int
    members: int
    studies: int
    warning: str = Field(description="What is to be known of this chain: that it is a development chain, for one.")
    problems: list[str] = Field(description="Events that can't come where they stand: none on an honest chain.")


class Consortium(Answer):
    """The consortium as it is."""

    members: list[Site]
    quorum_bps: int
    motion_seconds: int
    threshold: int = Field(description="Votes that a motion needs now.")
    open_motions: int
    head: Head


class Membership(Answer):
    """One time during which a site was a member; `until` is null while it is one."""

    site: Site
    seat: int
    since: Place
    until: Place | None
    ended_by: str = Field(description="left, removed or empty", examples=["removed"])
    reason: str = Field(default="", description="Of a removal: what the members voted on.")


class Member(Answer):
    """Everything about one site."""

    site: Site
    is_member: bool
    addresses: list[str]
    memberships: list[Membership]
    studies: list["SiteInStudy"]


class SiteInStudy(Answer):
    """What a site did in one study."""

    study: int
    name: str
    site: Site
    accepted: Place
    withdrawn: bool
    rounds: int = Field(description="Final rounds since the site takes part.")
    merged: int = Field(description="Of those, rounds whose output its update is in.")
    led: int = Field(description="Final rounds that it led.")
    left_out: int
    faults: int = Field(description="Terms that it led and that failed.")
    epsilon_spent: float


class Motion(Answer):
    """A vote of the members."""

    number: int
    kind: str = Field(examples=["admit"])
    state: str = Field(examples=["passed"])
    subject: Site
    opener: Site
    text: str = Field(description="The applicant's name, or the reason for a removal.")
    deadline: int
    opened: Place
    in_favour: list[Site]
    against: list[Site]


class Study(Answer):
    """A study at a glance."""

    number: int
    name: str
    description: str
    status: str = Field(examples=["running"])
    waits_for: str = Field(description="What the present round waits for; empty where none is on.")
    proposer: Site
    specification: Hash
    proposed: Place
    started: Place | None
    ended: Place | None
    sites: int
    rounds: int = Field(description="Rounds that have a final output, statistics included.")
    rounds_planned: int
    faults: int
    final_model: Hash | None
    abort_reason: str = ""


class StudyDetail(Study):
    """A study with its terms, its sites and its specification."""

    accept_deadline: int
    terms: dict[str, Any]
    participants: list[SiteInStudy]
    declined: list[Site]
    spec: dict[str, Any] | None = Field(description="Null where this version can't read it.")
    head: Head


class LeftOut(Answer):
    """A committed update that is not in the output, and why."""

    site: Site
    reason: int
    said: str = Field(examples=["over clip"])


class Fault(Answer):
    """A term that ended without a final output."""

    study: int
    round: int
    attempt: int
    term: int
    leader: Site
    kind: str = Field(examples=["merge_timeout"])
    said: str
    at: Place | None


class Review(Answer):
    """What one site said of a leader's output."""

    site: Site
    verdict: str = Field(examples=["attested"])
    said: str = ""


class Term(Answer):
    """One leader's term."""

    study: int
    round: int
    attempt: int
    number: int
    leader: Site
    seed: Hash | None = Field(description="What the leader was drawn from.")
    candidates: list[Site] = Field(description="The sites whose commits were sealed.")
    began: Place
    ended: Place | None
    published: Place | None
    output: Hash | None
    merged: list[Site]
    left_out: list[LeftOut]
    reviews: list[Review]
    fault: Fault | None


class Round(Answer):
    """A round at a glance."""

    study: int
    number: int
    statistics: bool = Field(description="Round 0 agrees the sums that standardise the features; it makes no model.")
    state: str = Field(examples=["final"])
    opened: Place
    finalised: Place | None
    seconds: int | None = Field(description="From its opening to its end.")
    attempts: int
    extensions: int
    leader: Site | None
    eligible: list[Site]
    committed: list[Site]
    merged: list[Site]
    absent: list[Site] = Field(description="Eligible sites without a commit.")
    left_out: list[LeftOut]
    faults: list[Fault]
    attested: int
    weight: int = Field(description="Sum of the merged sites' weights: training records, as they told them.")
    output: Hash | None


class RoundDetail(Round):
    """A round with its commits and terms."""

    deadline: int
    terms: list[Term]
    commits: list["Commit"]
    parent: Hash | None = Field(description="The model that it started from.")
    head: Head


class Commit(Answer):
    """What a site put on record for one round, and what became of it."""

    study: int
    round: int
    attempt: int
    site: Site
    seat: int
    update: Hash
    weight: int
    epsilon_spent: float
    reveal: Hash
    seen_block: int
    seen_hash: Hash
    at: Place
    fate: str = Field(description="merged, left out, superseded, voided or pending", examples=["merged"])
    reason: str = ""


class Spent(Answer):
    """How much of its budget a site has spent, commit by commit."""

    site: Site
    epsilon_spent: float
    points: list[tuple[int, float]] = Field(description="Pairs of round, and epsilon spent after it.")


class Privacy(Answer):
    """A study's privacy: its mode, its budget, and what each site has spent."""

    study: int
    mode: str
    epsilon_budget: float
    sites: list[Spent]
    head: Head


class Step(Answer):
    """One model of a study's family: what it was made from, and by whom."""

    study: int
    round: int | None = Field(description="Null for the initial model.")
    kind: str = Field(description="initial, round or final", examples=["round"])
    model: Hash
    parent: Hash | None
    leader: Site | None
    contributors: list["Contribution"]
    at: Place | None


class Contribution(Answer):
    """An update that is in a model."""

    site: Site
    update: Hash
    weight: int


class Mention(Answer):
    """What a hash is to one study."""

    study: int
    study_name: str
    round: int | None
    what: str = Field(
        description="final model, round output, initial model, statistics, rejected output, output under review, "
        "update or specification",
        examples=["final model"],
    )
    site: Site | None = Field(description="Its leader, the site that committed it, or who proposed it.")
    contributors: list[Contribution]
    attested: int
    at: Place | None


class Known(Answer):
    """What a hash is to the ledger; nothing in `found` where it is nothing."""

    hash: Hash
    found: list[Mention]
    head: Head


class Hit(Answer):
    """Something that was found; `path` is where the API tells more, `page` where the explorer does."""

    kind: str = Field(examples=["site"])
    label: str
    path: str
    page: str


class Found(Answer):
    """What a search found."""

    query: str
    hits: list[Hit]
    head: Head


class Event(Answer):
    """An event as the contract wrote it. Sets of seats are lists, and the specification's text is left out."""

    kind: str = Field(examples=["UpdateCommitted"])
    contract: str = Field(examples=["Study"])
    study: int | None
    round: int | None
    at: Place
    log_index: int
    fields: dict[str, Any]


class Finding(Answer):
    """One thing that a rule found."""

    what: str
    round: int | None
    site: Site | None
    block: int | None


class RuleVerdict(Answer):
    """What a rule says of a study: it holds, is broken, or is not decidable from the ledger alone."""

    rule: str
    checks: str
    why_it_matters: str
    outcome: str = Field(examples=["holds"])
    said: str
    broken: list[Finding]
    open: list[Finding]
    figures: dict[str, Any]


class Verdicts(Answer):
    """All rules on one study. `of` is the ledger's state that was judged, null while the first judgement is made."""

    study: int
    of: str | None
    current: bool = Field(description="Whether the study has not changed since.")
    seconds: float | None
    verdicts: list[RuleVerdict]
    head: Head
