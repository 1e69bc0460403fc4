"""The studies that come with the program, by name."""

from importlib.resources import files

from swarm.errors import SpecificationError
from swarm.spec import StudySpec

NAMES = ("breast-cancer", "heart-disease")


def text(name: str) -> str:
    """Give a study's TOML, to read or to start one's own from; raises SpecificationError for an unknown name."""
    if name not in NAMES:
        raise SpecificationError(
            f"no study that comes with the program is called {name!r}; there is: {', '.join(NAMES)}"
        )
    return (files("swarm.studies") / f"{name}.toml").read_text(encoding="utf-8")


def draft(name: str) -> StudySpec:
    """Give a study as a draft, without its initial model; raises SpecificationError for an unknown name."""
    return StudySpec.from_toml(text(name))
