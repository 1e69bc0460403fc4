"""Asking a running site's HTTP interface whether the site is of use: what a container's health check runs."""

import json
import ssl
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

from node.config import ApiConfig, NodeConfig
from node.errors import ConfigurationError, OperatorError, Unfit
from node.site_folder import SiteFolder

PATIENCE = 10.0
MAX_BYTES = 1 << 16


def ask_health(folder: SiteFolder, config: NodeConfig) -> dict[str, Any]:
    """Give what /healthz says; raises Unfit with its reasons where the site is of no use, or does not answer."""
    if config.api is None:
        raise ConfigurationError("config.toml has no [api]: this site has no HTTP interface that could be asked")
    try:
        with closing(_connection(folder, config.api)) as connection:
            connection.request("GET", "/healthz")
            said = json.loads(connection.getresponse().read(MAX_BYTES))
            reasons = [(str(one["code"]), str(one["says"])) for one in said["reasons"]]
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
        raise OperatorError(f"no answer at {config.api.listen} ({type(error).__name__}): does the node run?") from None
    if reasons:
        raise Unfit("; ".join(f"{says} [{code}]" for code, says in reasons), said)
    return dict(said)


def _connection(folder: SiteFolder, api: ApiConfig) -> HTTPConnection:
    host, port = api.endpoint
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where it listens on every address
    if api.certificate is None:
        return HTTPConnection(here, port, timeout=PATIENCE)
    # This very certificate is expected, whatever name it is for: the node is asked from its own machine.
    context = ssl.create_default_context(cafile=str(folder.home / api.certificate))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return HTTPSConnection(here, port, timeout=PATIENCE, context=context)
