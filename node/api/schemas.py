"""What the HTTP interface answers, field by field, with an example of each."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

HASH = r"^[0-9a-f]{64}$"
Hash = Annotated[str, Field(pattern=HASH)]
ZEROS = "00" * 32
STUDY = {
    "study": 1,
    "spec_hash": "5e" * 32,
    "proposer": "Kiel",
    "status": "running",
    "answer": "accepted",
    "accepted": ["Kiel", "Lübeck"],
    "declined": [],
    "unanswered": ["Jena"],
    "round": 3,
    "rounds": 12,
    "phase": "collecting",
    "leader": None,
    "waits_for": "collecting: waiting for Lübeck",
    "since": 1790000000,
    "until": 1790000120,
    "here": None,
    "final_model": None,
}
PEER = {
    "address": "0x52908400098527886E0F7030069857D2E4169EE7",
    "name": "Kiel",
    "connected": True,
    "relayed_by": None,
    "software": "swarm-node/0.1.0",
    "protocol": 2,
    "fault": None,
    "published": ["/ip4/10.1.0.5/tcp/4001/p2p/16Uiu2HAm"],
    "sent_bytes": 81920,
    "received_bytes": 163840,
    "member_since": 1789000000,
}
MODEL = {"model": "a5" * 32, "on_disk": True, "outcome_of": [{"study": 1, "round": 12, "last": True}]}
ROUND = {
    "study": 1,
    "round": 2,
    "attempt": 0,
    "phase": "final",
    "opened": 1790000000,
    "deadline": 1790000300,
    "extensions": 0,
    "eligible": ["Kiel", "Lübeck"],
    "commits": [
        {
            "site": "Kiel",
            "address": PEER["address"],
            "attempt": 0,
            "blob": "b1" * 32,
            "weight": 114,
            "epsilon_spent_micro": 0,
            "at": 1790000010,
            "transaction": "7c" * 32,
        }
    ],
    "terms": [
        {
            "term": 0,
            "attempt": 0,
            "leader": "Kiel",
            "deadline": 1790000180,
            "published": "a5" * 32,
            "attested": ["Kiel"],
            "rejected": {},
            "fault": None,
        }
    ],
    "left_out": {},
    "final": {"output": "a5" * 32, "merged": ["Kiel"], "attested": ["Kiel"], "at": 1790000020},
}


def example(value: Any) -> ConfigDict:
    """A model's example, for its description."""
    return ConfigDict(json_schema_extra={"examples": [value]})


class Ailment(BaseModel):
    """One reason why the site is of no use."""

    code: str
    says: str


class Health(BaseModel):
    """Whether the site is of use."""

    model_config = example({"status": "ok", "reasons": []})

    status: str = Field(description="ok, or unhealthy")
    reasons: list[Ailment]


class Paused(BaseModel):
    """Since when (seconds of this machine's clock) and why a site is paused."""

    model_config = example({"since": 1790000000, "reason": "new disks"})

    since: int | None
    reason: str


class PauseOrder(BaseModel):
    """Why the site is to be paused, for whoever asks later."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "new disks"}]})

    reason: str = Field(default="", max_length=200)


class Resumed(BaseModel):
    """Whether the site had been paused."""

    model_config = example({"was_paused": True})

    was_paused: bool


class Stopping(BaseModel):
    """The site has been told to stop."""

    model_config = example({"stopping": True})

    stopping: bool


class Study(BaseModel):
    """Where a study stands, and what this site said to it; times are seconds of chain time."""

    model_config = example(STUDY)

    study: int
    spec_hash: Hash
    proposer: str
    status: str
    answer: str
    accepted: list[str]
    declined: list[str]
    unanswered: list[str]
    round: int | None
    rounds: int
    phase: str
    leader: str | None
    waits_for: str
    since: int
    until: int | None
    here: str | None = Field(description="What this site's node waits for on its own machine: a training loop.")
    final_model: Hash | None


class Studies(BaseModel):
    """A page of studies."""

    model_config = example({"items": [STUDY], "next": None})

    items: list[Study]
    next: int | None = Field(description="The cursor of the next page; null on the last one.")


class Part(BaseModel):
    """One thing that a study does here, in words."""

    about: str
    says: str


class Rule(BaseModel):
    """A rule of this site's policy that a study breaks."""

    rule: str
    says: str


class Difference(BaseModel):
    """A field that differs from the version of the study that this site accepted last."""

    field: str
    before: str
    after: str


class Inspection(Study):
    """What a study would do at this site, and whether its policy allows it."""

    model_config = example(
        {
            **STUDY,
            "name": "stroke",
            "in_words": [
                {"about": "leaves", "says": "in every round, one update of the model's weights. No record leaves."}
            ],
            "policy": [{"rule": "max_rounds", "says": "its number of rounds is 200; at most 100 is allowed"}],
            "agreed_before": None,
            "differences": [],
        }
    )

    name: str
    in_words: list[Part]
    policy: list[Rule]
    agreed_before: int | None
    differences: list[Difference]


class Consent(BaseModel):
    """The specification that was inspected, by its whole hash."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"spec_hash": "5e" * 32}]})

    spec_hash: Hash


class Answered(Study):
    """Where a study stands after this site's answer."""

    model_config = example({**STUDY, "transaction": "7c" * 32})

    transaction: str


class CommitView(BaseModel):
    """What a site committed; `blob` is its update's hash."""

    site: str
    address: str
    attempt: int
    blob: Hash
    weight: int
    epsilon_spent_micro: int
    at: int
    transaction: str


class TermView(BaseModel):
    """A leader's term: what it published, who agreed, and how it failed."""

    term: int
    attempt: int
    leader: str
    deadline: int
    published: Hash | None
    attested: list[str]
    rejected: dict[str, str]
    fault: str | None


class FinalView(BaseModel):
    """A round's final output."""

    output: Hash
    merged: list[str]
    attested: list[str]
    at: int


class Round(BaseModel):
    """One round; of commits and terms the newest, where there are very many."""

    model_config = example(ROUND)

    study: int
    round: int
    attempt: int
    phase: str
    opened: int
    deadline: int
    extensions: int
    eligible: list[str]
    commits: list[CommitView]
    terms: list[TermView]
    left_out: dict[str, str]
    final: FinalView | None


class Rounds(BaseModel):
    """A page of rounds, the newest first."""

    model_config = example({"items": [ROUND], "next": 2})

    items: list[Round]
    next: int | None


class Peer(BaseModel):
    """Another member; bytes are those since this site was started.

    `relayed_by` is the member that carries the connection, null where it is direct; `fault` is why there is none.
    """

    model_config = example(PEER)

    address: str
    name: str
    connected: bool
    relayed_by: str | None
    software: str | None
    protocol: int | None
    fault: str | None
    published: list[str]
    sent_bytes: int
    received_bytes: int
    member_since: int


class Peers(BaseModel):
    """Every other member."""

    model_config = example({"items": [PEER]})

    items: list[Peer]


class Outcome(BaseModel):
    """A round that a model is the outcome of; `last` says that it is the study's final model."""

    study: int
    round: int
    last: bool


class Model(BaseModel):
    """A final model by its hash."""

    model_config = example(MODEL)

    model: Hash
    on_disk: bool
    outcome_of: list[Outcome]


class Models(BaseModel):
    """A page of models, in the order of the ledger."""

    model_config = example({"items": [MODEL], "next": None})

    items: list[Model]
    next: int | None


class Chain(BaseModel):
    """The chain as this site sees it; the head's age is by this machine's clock."""

    id: int
    block: int
    reachable: bool
    head_age_seconds: float


class Status(BaseModel):
    """This site, and what its open studies wait for."""

    model_config = example(
        {
            "name": "Lübeck",
            "address": PEER["address"],
            "member": True,
            "node_running": True,
            "software": "swarm-node/0.1.0",
            "paused": None,
            "healthy": True,
            "connected": ["Kiel"],
            "chain": {"id": 76113, "block": 4711, "reachable": True, "head_age_seconds": 1.4},
            "studies": [STUDY],
        }
    )

    name: str
    address: str
    member: bool
    node_running: bool
    software: str
    paused: Paused | None
    healthy: bool
    connected: list[str]
    chain: Chain
    studies: list[Study] = Field(description="The newest of those that are proposed or running.")
