"""A lab of network namespaces: sites with addresses of their own, on links that delay, lose and limit."""

from tests.wan.lab.lab import CHAIN, CHAIN_URL, Lab, Machine, missing
from tests.wan.lab.links import Counters, Shape

__all__ = ["CHAIN", "CHAIN_URL", "Counters", "Lab", "Machine", "Shape", "missing"]
