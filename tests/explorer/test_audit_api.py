"""What the API answers, held against the ledger that it was asked about."""

import json
from pathlib import Path

import pytest
from serving import Explorer, until
from story import digest

from ledger.api.wording import FAULTS
from ledger.types import Fault

SCHEMAS = Path(__file__).with_name("schemas.json")


def study_state(explorer: Explorer, number: int = 1):
    return explorer.service.view.snapshot.studies[number]


def test_it_says_which_ledger_it_read_and_how_far(explorer: Explorer) -> None:
    told = explorer.get("/status")
    head = explorer.story.head()
    assert told["head"]["block"] == int(head["number"], 16)
    assert told["head"]["hash"] == head["hash"]
    assert told["head"]["provisional_from"] == told["head"]["block"] - 11
    assert told["study"] == explorer.story.deployment.study
    assert (told["members"], told["studies"], told["problems"]) == (4, 3, [])
    assert told["warning"] == "only a story"


def test_it_tells_members_now_and_at_any_block(explorer: Explorer) -> None:
    gone = explorer.story.sites[4]
    assert gone not in [one["account"] for one in explorer.get("/consortium")["members"]]
    spells = {one["site"]["account"]: one for one in explorer.all("/members")}
    assert spells[gone]["ended_by"] == "removed"
    assert "<script>" in spells[gone]["reason"]
    ended = spells[gone]["until"]["block"]
    assert gone in [one["site"]["account"] for one in explorer.all(f"/members?block={ended - 1}")]
    assert gone not in [one["site"]["account"] for one in explorer.all(f"/members?block={ended}")]
    (motion,) = explorer.all("/motions")
    assert (motion["kind"], motion["state"], len(motion["in_favour"])) == ("remove", "passed", 4)


def test_it_tells_what_a_site_did(explorer: Explorer) -> None:
    account = explorer.story.sites[0]
    told = explorer.get(f"/members/{account.lower()}")
    assert told["site"] == {"account": account, "name": "Lübeck"}
    (first, *_) = told["studies"]
    assert first["rounds"] == 24
    assert first["merged"] + first["left_out"] <= 24
    assert first["led"] == sum(one.terms[-1].leader == account for one in study_state(explorer).rounds)


def test_studies_are_filtered_by_status(explorer: Explorer) -> None:
    assert [one["number"] for one in explorer.all("/studies?status=finished")] == [1, 2]
    assert [one["number"] for one in explorer.all("/studies?status=running")] == [3]
    assert explorer.get("/studies/3")["waits_for"] == "updates of the sites"


@pytest.mark.parametrize("limit", [1, 7, 24, 200])
def test_pages_put_together_are_the_whole_list(explorer: Explorer, limit: int) -> None:
    numbers = [one["number"] for one in explorer.all(f"/studies/1/rounds?limit={limit}")]
    assert numbers == list(range(1, 25))


@pytest.mark.parametrize("limit", [3, 100])
def test_events_come_in_the_order_of_the_chain_each_once(explorer: Explorer, limit: int) -> None:
    told = explorer.all(f"/events?study=2&limit={limit}")
    places = [(one["at"]["block"], one["log_index"]) for one in told]
    assert places == sorted(set(places))
    known = [event for event in explorer.service.queries.all_events() if getattr(event, "study", None) == 2]
    assert [one["kind"] for one in told] == [type(event).__name__ for event in known]


def test_every_round_is_told_as_it_went(explorer: Explorer) -> None:
    for one in study_state(explorer).rounds:
        told = explorer.get(f"/studies/1/rounds/{one.number}")
        assert told["output"] == "0x" + one.final.output.hex()
        assert len(told["merged"]) == one.final.merged.bit_count()
        assert len(told["left_out"]) == len(one.left_out)
        assert {site["account"] for site in told["committed"]} == {commit.site for commit in one.commits.values()}
        assert [term["leader"]["account"] for term in told["terms"]] == [term.leader for term in one.terms]
        fates = {commit["site"]["account"]: commit["fate"] for commit in told["commits"]}
        merged = {site["account"] for site in told["merged"]}
        assert {site for site, fate in fates.items() if fate == "merged"} == merged


def test_faults_and_what_went_wrong_are_found(explorer: Explorer) -> None:
    faults = explorer.all("/studies/1/faults")
    assert {fault["kind"] for fault in faults} == {"merge_timeout", "rejected"}
    assert {fault["said"] for fault in faults} == {FAULTS[Fault.MERGE_TIMEOUT], FAULTS[Fault.REJECTED]}
    troubled = explorer.all("/studies/1/rounds?trouble=true")
    assert {fault["round"] for fault in faults} <= {one["number"] for one in troubled}
    assert any(one["absent"] for one in troubled)
    assert any(one["left_out"] for one in troubled)
    assert len(troubled) < 24


def test_elections_name_the_seed_and_the_candidates(explorer: Explorer) -> None:
    terms = explorer.all("/studies/1/elections")
    assert len(terms) == 24 + len(explorer.all("/studies/1/faults"))
    assert all(term["leader"] in term["candidates"] for term in terms)
    leader = terms[0]["leader"]["account"]
    own = explorer.all(f"/studies/1/elections?leader={leader}")
    assert own == [term for term in terms if term["leader"]["account"] == leader]


def test_commits_are_filtered_by_round_and_site(explorer: Explorer) -> None:
    site = explorer.story.sites[1]
    told = explorer.all(f"/studies/1/commits?site={site}")
    assert {one["site"]["account"] for one in told} == {site}
    (one,) = explorer.all(f"/studies/1/commits?site={site}&round=2")
    assert one["update"] == "0x" + digest("update", 1, 2, 0, site).hex()


def test_the_privacy_budget_drains_commit_by_commit(explorer: Explorer) -> None:
    told = explorer.get("/studies/2/privacy")
    assert told["epsilon_budget"] == 4.0
    for site in told["sites"]:
        spent = [epsilon for _, epsilon in site["points"]]
        assert spent == sorted(spent)
        assert spent[-1] == site["epsilon_spent"] <= 4.0
    assert explorer.get("/studies/1/privacy")["epsilon_budget"] == 0


def test_a_model_s_family_leads_from_the_final_one_to_the_initial_one(explorer: Explorer) -> None:
    steps = {one["model"]: one for one in explorer.all("/studies/1/models")}
    model = explorer.get("/studies/1")["final_model"]
    line = []
    while model is not None:
        line.append(steps[model])
        model = steps[model]["parent"]
    assert [one["kind"] for one in line] == ["final", *["round"] * 23, "initial"]
    assert line[-1]["model"] == "0x" + digest("initial").hex()


def test_it_says_what_a_hash_is(explorer: Explorer) -> None:
    study = study_state(explorer)
    site = explorer.story.sites[1]
    known = {
        study.final_output: ["final model"],
        study.output_of(2): ["round output"],
        study.spec_hash: ["specification"] * 2,  # both honest studies of the same length would be one text
        digest("update", 1, 2, 0, site): ["update"],
        digest("initial"): ["initial model"] * 3,
        next(term.publication.output for one in study.rounds for term in one.terms if term.fault == Fault.REJECTED): [
            "rejected output"
        ],
        digest("nothing"): [],
    }
    known[study.spec_hash] = ["specification"]
    for blob, what in known.items():
        assert [one["what"] for one in explorer.get(f"/hashes/0x{blob.hex()}")["found"]] == what
    (final,) = explorer.get(f"/hashes/{study.final_output.hex()}")["found"]
    assert (final["study"], final["round"], final["attested"] > 2) == (1, 24, True)
    assert sum(one["weight"] for one in final["contributors"]) > 0


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ("lüb", ["site"]),
        ("BREAST", ["study", "study", "study"]),
        ("2", ["study"]),
        ("nobody", []),
        ("%", []),
        (digest("initial").hex(), ["initial model"] * 3),
    ],
)
def test_a_search_finds_names_numbers_and_hashes(explorer: Explorer, query: str, kinds: list[str]) -> None:
    told = explorer.client.get("/api/v1/search", params={"q": query}).json()
    assert [hit["kind"] for hit in told["hits"]] == kinds
    for hit in told["hits"]:
        assert explorer.client.get(hit["path"]).status_code == 200
        assert explorer.client.get(hit["page"]).status_code == 200


def test_a_search_finds_an_account_by_its_beginning(explorer: Explorer) -> None:
    site = explorer.story.sites[2]
    (hit,) = explorer.client.get("/api/v1/search", params={"q": site[:9].lower()}).json()["hits"]
    assert hit["label"] == "Hamburg"


def test_the_rules_are_judged_in_the_background_and_an_honest_study_breaks_none(explorer: Explorer) -> None:
    until(lambda: explorer.get("/studies/1/verdicts")["current"])
    told = {one["rule"]: one for one in explorer.get("/studies/1/verdicts")["verdicts"]}
    assert {rule for rule, one in told.items() if one["outcome"] == "broken"} == set()
    for rule in ("election", "reveals", "transitions", "quorum", "consent"):
        assert told[rule]["outcome"] == "holds", told[rule]
    assert all(one["checks"] and one["why_it_matters"] and one["said"] for one in told.values())


def test_a_broken_rule_names_what_is_broken(explorer: Explorer) -> None:
    # the second study's budget is the contract's alone: its specification says that there is none
    until(lambda: explorer.get("/studies/2/verdicts")["current"])
    broken = [one for one in explorer.get("/studies/2/verdicts")["verdicts"] if one["outcome"] == "broken"]
    assert [one["rule"] for one in broken] == ["specification"]
    assert broken[0]["broken"][0]["what"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies/9", 404),
        ("/studies/0", 422),
        ("/studies/1/rounds/25", 404),
        ("/studies/1/rounds/0", 404),
        ("/members/0x" + "11" * 20, 404),
        ("/members/0xBFF2", 422),
        ("/events?kind=Nothing", 422),
        ("/events?cursor=5", 422),
        ("/studies/1/rounds?cursor=5.5", 422),
        ("/studies?limit=0", 422),
        ("/studies?limit=201", 422),
        ("/hashes/12", 422),
        ("/search", 422),
        ("/nothing", 404),
    ],
)
def test_what_it_can_not_answer_is_a_problem_with_a_code(explorer: Explorer, path: str, status: int) -> None:
    answer = explorer.client.get(f"/api/v1{path}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"].startswith("audit_api.")
    assert answer.json()["detail"]


def test_no_field_that_programs_may_rely_on_is_lost(explorer: Explorer) -> None:
    described = explorer.client.get("/api/v1/openapi.json").json()
    now = {name: sorted(one.get("properties", {})) for name, one in described["components"]["schemas"].items()}
    before = json.loads(SCHEMAS.read_text())
    assert {name: sorted(set(fields) - set(now.get(name, ()))) for name, fields in before["fields"].items()} == {
        name: [] for name in before["fields"]
    }
    assert sorted(described["paths"]) == before["paths"], "keep what was; write new paths down in schemas.json"
    assert set(now) == set(before["fields"]), "write new schemas down in schemas.json"


def test_the_description_has_examples_and_names_problems(explorer: Explorer) -> None:
    described = explorer.client.get("/api/v1/openapi.json").json()
    assert "examples" in described["components"]["schemas"]["Problem"]
    for path, operations in described["paths"].items():
        assert set(operations) == {"get"}, path
        responses = operations["get"]["responses"]
        assert "application/problem+json" in responses["422"]["content"], path
        assert operations["get"]["summary"]
