"""eth_account, imported so that the interpreter's recursion limit stays as it was.

It imports py_ecc, which raises the limit to 100 000: with that, JSON of a hundred thousand brackets overflows the stack
and ends the process, where Python would have raised RecursionError.
"""

import sys

_LIMIT = sys.getrecursionlimit()

from eth_account import Account as EthAccount  # noqa: E402 - the limit is read before
from eth_account.typed_transactions.typed_transaction import TypedTransaction  # noqa: E402

sys.setrecursionlimit(_LIMIT)

__all__ = ["EthAccount", "TypedTransaction"]
