"""`swarm-node data check`: what the operator reads, what a script reads, and the exit codes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from node.cli import main

STUDY = """
[study]
name = "stroke"
task = "binary"
[data]
features = [{ name = "age", unit = "years", range = [0, 120] }, { name = "sex", categories = [0, 1] }]
label = "stroke"
classes = ["no", "yes"]
[model]
architecture = "logistic"
[training]
rounds = 3
local_epochs = 1
learning_rate = 0.1
[merge]
clip_norm = 10.0
[privacy]
min_samples = 2
[round]
min_sites = 2
"""
GOOD = [f"{40 + row},{row % 2},{'yes' if row % 3 else 'no'}" for row in range(12)]

TABLES = """\
records.csv
┏━━━━━━━━┳━━━━━━━━━━━━━━━┳━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━┓
┃ column ┃ misfit        ┃ count ┃ first places ┃ values there ┃ expected       ┃
┡━━━━━━━━╇━━━━━━━━━━━━━━━╇━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━┩
│ age    │ not a number  │ 1     │ 15           │ '[red]old'   │ a number       │
│ stroke │ unknown class │ 1     │ 15           │ 'maybe'      │ no, yes        │
│ age    │ out of range  │ 1     │ 14           │ 630          │ 0 to 120 years │
└────────┴───────────────┴───────┴──────────────┴──────────────┴────────────────┘
remark: records.csv: these columns are not in the study's schema and are not read: 'name'
┏━━━━━━━┳━━━━━━━━━┳━━━━┳━━━━━┓
┃ part  ┃ records ┃ no ┃ yes ┃
┡━━━━━━━╇━━━━━━━━━╇━━━━╇━━━━━┩
│ train │ 10      │ 4  │ 6   │
│ test  │ 3       │ 1  │ 2   │
└───────┴─────────┴────┴─────┘
┏━━━━━━━━━┳━━━━━━━┳━━━━━┳━━━━━━━━┳━━━━━┳━━━━━━━━━━━━━━━━━━━━━━━━━━┓
┃ feature ┃ unit  ┃ min ┃ median ┃ max ┃ records of each category ┃
┡━━━━━━━━━╇━━━━━━━╇━━━━━╇━━━━━━━━╇━━━━━╇━━━━━━━━━━━━━━━━━━━━━━━━━━┩
│ age     │ years │ 40  │ 46     │ 630 │                          │
│ sex     │       │ 0   │ 0      │ 1   │ 0: 8, 1: 6               │
└─────────┴───────┴─────┴────────┴─────┴──────────────────────────┘
14 records read; the data doesn't fit
"""


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("SWARM_HOME", raising=False)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site's folder with a configuration, good records, and a study beside them."""
    (tmp_path / "config.toml").write_text(
        'name = "Charité"\nrpc = "ipc:///chain.ipc"\n[data]\nsource = "csv"\npath = "records.csv"\n'
    )
    (tmp_path / "study.toml").write_text(STUDY)
    write_records(tmp_path, *GOOD)
    return tmp_path


def write_records(site: Path, *lines: str, header: str = "age,sex,stroke") -> None:
    (site / "records.csv").write_text("\n".join([header, *lines]) + "\n")


def check(site: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["data", "check", "--study", str(site / "study.toml"), *arguments])


def test_data_that_fits_ends_with_zero(site: Path) -> None:
    result = check(site, "--home", str(site))
    assert result.exit_code == 0
    assert result.stdout.endswith("12 records read; all of them fit\n")
    assert result.stderr == ""


def test_an_operator_reads_every_misfit_as_a_table(site: Path) -> None:
    named = [f"Mrs Doe,{line}" for line in [*GOOD, "630,0,no", "[red]old,0,maybe"]]
    write_records(site, *named, header="name,age,sex,stroke")
    result = check(site, "--home", str(site))
    assert result.exit_code == 1
    assert result.stdout.replace(f"{site}/", "") == TABLES
    assert result.stderr == (
        f"error: the data doesn't fit the study {site / 'study.toml'}: 3 misfits; correct them at their source,"
        " and check again  [node.unfit.data]\n"
    )
    assert "Doe" not in result.output


def test_a_script_reads_one_envelope_whether_the_data_fits_or_not(site: Path) -> None:
    result = check(site, "--home", str(site), "--json")
    envelope = json.loads(result.stdout)
    assert (envelope["status"], envelope["code"], envelope["data"]["fits"]) == ("ok", "ok", True)
    assert envelope["data"]["parts"]["test"] == {"records": 3, "support": {"no": 1, "yes": 2}}
    write_records(site, *GOOD, "630,0,no")
    result = check(site, "--home", str(site), "--json")
    envelope = json.loads(result.stdout)
    assert (result.exit_code, envelope["status"], envelope["code"]) == (1, "error", "node.unfit.data")
    assert envelope["data"]["misfits"] == [
        {
            "origin": str(site / "records.csv"),
            "column": "age",
            "kind": "out_of_range",
            "count": 1,
            "places": [14],
            "values": ["630"],
            "expected": "0 to 120 years",
            "message": f"{site / 'records.csv'}, row 14, column 'age': 630 is outside 0 to 120 years",
        }
    ]
    assert envelope["data"]["message"].startswith("the data doesn't fit")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("source.json", '{"source": "csv", "path": "records.csv"}'),
        ("source.toml", 'source = "csv"\npath = "records.csv"\n'),
    ],
)
def test_a_source_of_its_own_is_taken_instead_of_the_sites(site: Path, name: str, text: str) -> None:
    (site / name).write_text(text)
    (site / "config.toml").unlink()
    assert check(site, "--source", str(site / name), "--home", str(site)).exit_code == 0


def test_a_built_in_study_goes_by_its_name(site: Path) -> None:
    result = CliRunner().invoke(main, ["data", "check", "--study", "breast-cancer", "--home", str(site)])
    assert result.exit_code == 1
    assert "missing column" in result.stdout


@pytest.mark.parametrize(
    ("file", "text", "arguments", "fault"),
    [
        ("study.toml", "[study", ["--home", "{site}"], "the specification isn't TOML"),
        ("study.toml", "[study]\nname = 'x'", ["--home", "{site}"], "data: Field required"),
        ("study.toml", " " * 270_000, ["--home", "{site}"], "is larger than a specification can be"),
        ("x.toml", " " * 70_000, ["--source", "{site}/x.toml"], "is larger than 65536 bytes"),
        ("config.toml", 'name = "a"\nrpc = "x"', ["--home", "{site}"], "config.toml names no data: say what"),
        ("x.json", "[1]", ["--source", "{site}/x.json"], "a data source is an object with the field source"),
        ("x.json", "[" * 100, ["--source", "{site}/x.json"], "is not JSON"),
        ("x.toml", "=", ["--source", "{site}/x.toml"], "is not TOML"),
        ("x.toml", "source = 'csv'", ["--source", "{site}/x.toml"], "x.toml: data.path: Field required"),
        ("x.toml", "", ["--source", "{site}/none.toml"], "can't read"),
        ("x.toml", "", [], "name the site's folder with --home"),
    ],
)
def test_wrong_usage_ends_with_two(site: Path, file: str, text: str, arguments: list[str], fault: str) -> None:
    (site / file).write_text(text)
    result = check(site, *[argument.format(site=site) for argument in arguments])
    assert result.exit_code == 2
    assert fault in result.stderr
    assert "[node.configuration]" in result.stderr


def test_a_file_that_is_no_text_is_refused(site: Path) -> None:
    (site / "source.toml").write_bytes(b"\xff")
    result = check(site, "--source", str(site / "source.toml"))
    assert (result.exit_code, "is not text in UTF-8" in result.stderr) == (2, True)
