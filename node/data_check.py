"""The check of a site's data against a study: which data, which study, and the verdict."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from node import config
from node.data_view import record, show
from node.errors import ConfigurationError, DataUnfit, OperatorError
from node.operator.studies import read_file
from swarm import studies as built_in
from swarm.data import DataSource, parse
from swarm.data.check import check
from swarm.errors import DataError, SpecificationError
from swarm.nesting import check_nesting
from swarm.spec import StudySpec


def check_data(study: str, *, home: Path | None, source: Path | None, console: Console) -> dict[str, Any]:
    """Check a site's data against a study, show what was found, and give it as a record.

    Raises ConfigurationError for a study or source that can't be used, and DataUnfit, with the record as its
    details, where the data doesn't fit.
    """
    found = check(_source(home, source), _study(study))
    show(found, console)
    if not found.fits:
        raise DataUnfit(
            f"the data doesn't fit the study {study}: {found.count} misfits; correct them at their source,"
            " and check again",
            record(found),
        )
    return record(found)


def _study(name: str) -> StudySpec:
    """Read a study from a TOML file, or one that comes with the program by its name."""
    try:
        return built_in.draft(name) if name in built_in.NAMES else read_file(Path(name))
    except (SpecificationError, OperatorError) as error:
        raise ConfigurationError(f"the study {name} can't be used: {error}") from None


def _source(home: Path | None, path: Path | None) -> DataSource:
    """Read the data source, from a file of its own or else from the site's configuration."""
    if path is not None:
        origin, given = path, config.located(_record(path), path.parent)
    elif home is not None:
        origin, given = home / "config.toml", config.load(home).data_at(home)
    else:
        raise ConfigurationError("name the site's folder with --home, or a data source's file with --source")
    if not given:
        raise ConfigurationError(f"{origin} names no data: say what this site trains on")
    try:
        return parse(given)
    except DataError as error:
        raise ConfigurationError(f"{origin}: {error}") from None


def _record(path: Path) -> Mapping[str, Any]:
    """Read the object in a JSON file, if its name ends so, or in a TOML file."""
    text = _text(path)
    try:
        found = json.loads(check_nesting(text.encode())) if path.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigurationError(f"{path} is not {kind}: {error}") from None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path}: a data source is an object with the field source")
    return found


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(config.MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"can't read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not text in UTF-8") from None
    if len(text) > config.MAX_CONFIG_BYTES:
        raise ConfigurationError(f"{path} is larger than {config.MAX_CONFIG_BYTES} bytes")
    return text
