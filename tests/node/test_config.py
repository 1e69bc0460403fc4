"""A site's configuration: validated, with the wrong field named."""

from pathlib import Path

import pytest

from node import config
from node.errors import ConfigurationError


def write(home: Path, text: str) -> Path:
    (home / "config.toml").write_text(text)
    return home


def test_a_configuration_round_trips(tmp_path: Path) -> None:
    made = config.validate(
        {
            "name": "Charité",
            "rpc": "ipc:///run/chain.ipc",
            "accept": ["ab" * 32],
            "data": {"source": "csv", "path": "x.csv"},
        },
        "here",
    )
    (tmp_path / "config.toml").write_bytes(config.render(made))
    assert config.load(tmp_path) == made


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('rpc = "http://x"', "name"),
        ('name = "a"', "rpc"),
        ('name = "a"\nrpc = "x"\naccept = ["zz"]', "accept.0"),
        ('name = "a"\nrpc = "x"\npoll_seconds = 0', "poll_seconds"),
        ('name = "a"\nrpc = "x"\npasword_file = "y"', "pasword_file"),
    ],
)
def test_the_wrong_field_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        config.load(write(tmp_path, text))


def test_what_is_no_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't read"):
        config.load(tmp_path)
    with pytest.raises(ConfigurationError, match="not TOML"):
        config.load(write(tmp_path, "name = "))
    with pytest.raises(ConfigurationError, match="larger"):
        config.load(write(tmp_path, "#" * (config.MAX_CONFIG_BYTES + 1)))
