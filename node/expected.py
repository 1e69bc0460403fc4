"""The errors that a person can act on, also out of the groups that nurseries raise."""

from ledger.errors import LedgerError
from node.errors import NodeError
from node.network.errors import NetworkError
from swarm.errors import SwarmError

Expected = (SwarmError, LedgerError, NetworkError, NodeError)


def first_expected(group: BaseExceptionGroup[BaseException]) -> Exception:
    """The error that a user can act on, out of the group that a nursery raised; re-raises any other group."""
    matching = group.subgroup(Expected)
    if matching is None:
        raise group
    error: BaseException = matching
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, Exception):
        raise group
    return error
