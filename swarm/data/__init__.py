"""Local data: validated datasets, and the sources that a site can read them from."""

from swarm.data.dataset import Dataset, Part, SiteData, pool
from swarm.data.loading import load
from swarm.data.source import DataSource, parse

__all__ = ["DataSource", "Dataset", "Part", "SiteData", "load", "parse", "pool"]
