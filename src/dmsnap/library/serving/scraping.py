"""The numbers of a running server at an address for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dmsnap.library.serving.numbers import server_metrics
from dmsnap.library.serving.tcp_address import tcp_address
from dmsnap.serve.metrics import metrics_text
from dmsnap.serve.metrics_endpoint import MetricsEndpoint
from dmsnap.serve.nbd.listening import Listener

if TYPE_CHECKING:
    from dmsnap.library.serving.serving import Serving

__all__ = ["serve_metrics"]

UNIX = "unix:"


def serve_metrics(serving: Serving, address: str) -> tuple[Callable[[], None], str]:
    """Answers scrapes in threads of its own.

    Args:
        serving: Whose numbers.
        address: ``HOST:PORT``, a port of this machine alone, or ``unix:PATH``.

    Returns:
        What ends it, and the URL (of a Unix socket: the address).

    Raises:
        BadAddress: It is none.
        CannotListen: It cannot be had.
    """

    def collect() -> str:
        return metrics_text(server_metrics(serving.server.counters, serving.usage()))

    with ExitStack() as stack:
        if address.startswith(UNIX):
            listener, url = Listener.unix(address.removeprefix(UNIX), tls=False), address
        else:
            listener = Listener.tcp(*tcp_address(address), tls=False)
            url = f"http{listener.address.removeprefix('nbd')}/metrics"
        stack.callback(listener.close)
        stack.callback(MetricsEndpoint(listener.sock, collect).close)
        return stack.pop_all().close, url
