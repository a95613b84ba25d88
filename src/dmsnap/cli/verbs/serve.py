"""``dmsnap serve``: snapshots and their origin for NBD clients."""

from __future__ import annotations

import copy
import json
import threading
from contextlib import ExitStack
from time import monotonic
from typing import TYPE_CHECKING, Any

import click

import dmsnap
from dmsnap.cli.only_readable import hint_at_read_only
from dmsnap.cli.options import PATH, json_option, origin_option, prefetch_option, verb
from dmsnap.cli.output import flush_results, result_stream
from dmsnap.cli.serving_rates import StatusLine, rates, summary
from dmsnap.cli.stop_signals import StopSignals
from dmsnap.cli.systemd import notify, passed_sockets
from dmsnap.cli.text import printable
from dmsnap.cli.tracing import trace_option, traced
from dmsnap.errors import DmsnapError
from dmsnap.library.volumes.address import is_lvm_address

if TYPE_CHECKING:
    from dmsnap.library.serving import Serving

REFRESH_SECONDS = 1.0
UNIX = "unix:"


class SnapshotLost(DmsnapError):
    """A snapshot was invalidated while it was served."""


def _check_tcp(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        from dmsnap.library.serving.tcp_address import BadAddress, tcp_address

        try:
            tcp_address(value)
        except BadAddress as error:
            raise click.BadParameter(f"{error.message}; {error.hint}") from error
    return value


def _check_metrics(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value == UNIX:
        raise click.BadParameter("unix:PATH needs a path")
    return value if value is not None and value.startswith(UNIX) else _check_tcp(context, parameter, value)


@verb("serve")
@click.argument("snaps", metavar="SNAP...", type=PATH, nargs=-1, required=True)
@origin_option(required=True)
@click.option("--unix", metavar="PATH", type=PATH, help="Listen on a Unix socket of this name.")
@click.option(
    "--tcp",
    metavar="[HOST:]PORT",
    callback=_check_tcp,
    help="Listen on TCP; without HOST for this machine alone. Port 0 is any that is free.",
)
@click.option("--read-only", is_flag=True, help="Only look: nothing is written, and no other writer kept away.")
@click.option(
    "--sync",
    type=click.Choice(["flush", "commit"]),
    default="flush",
    show_default=True,
    help="When a write is durable: when the client flushes, or as in the kernel when the first to its chunk returns.",
)
@click.option(
    "--when-full",
    "full",
    type=click.Choice(["enospc", "overflow", "invalidate"]),
    default="enospc",
    show_default=True,
    help="What a write gets that a store has no room for: that error; the end of all writes (PO); of the snapshot (P).",
)
@click.option("--tls-cert", metavar="FILE", type=PATH, help="The server's certificate chain (PEM): TLS only.")
@click.option("--tls-key", metavar="FILE", type=PATH, help="Its key (PEM).")
@click.option("--tls-client-ca", metavar="FILE", type=PATH, help="Clients must have a certificate of one of these.")
@click.option(
    "--max-connections", type=click.IntRange(1, 65536), default=256, show_default=True, help="Clients at once."
)
@click.option("--exit-with-last-client", is_flag=True, help="Stop when the last client has gone.")
@click.option("--stats", is_flag=True, help="Say at the end, on stderr, what was done.")
@click.option(
    "--metrics",
    metavar="[HOST:]PORT|unix:PATH",
    callback=_check_metrics,
    help="Numbers for Prometheus at http://HOST:PORT/metrics.",
)
@prefetch_option
@trace_option
@json_option
def command(
    snaps: tuple[str, ...],
    unix: str | None,
    tcp: str | None,
    exit_with_last_client: bool,
    stats: bool,
    metrics: str | None,
    trace: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Serve snapshots to NBD clients: each SNAP under the stem of its file's name, the origin as 'origin'.

    What clients write to a snapshot goes into its store, which a kernel can use afterwards. What they write to 'origin'
    is copied to all snapshots before. SNAP may be NAME=FILE, to be served as NAME; a FILE with '=' in it is ./FILE.

    When it is ready it prints the URI of each export, one a line. SIGTERM, SIGINT and SIGHUP end it: requests under way
    are answered, everything is committed, and the exit status is 0. It also serves on sockets that systemd hands over.
    """
    line = StatusLine()
    result_stream()  # without one, nobody would hear where it is
    began = monotonic()
    with ExitStack() as stack:
        stop = stack.enter_context(StopSignals())
        sockets = passed_sockets() if unix is None and tcp is None else []
        if unix is None and tcp is None and not sockets:
            raise click.UsageError("where to listen? --unix PATH, or --tcp PORT", click.get_current_context())
        _check_tls(options)
        _raise_limit(options["max_connections"])
        named = [_named(snap) for snap in snaps]
        files = [snap if isinstance(snap, str) else snap[1] for snap in named]
        with traced(trace, *files, options["origin"]) as recorder:
            try:
                serving = dmsnap.serve(
                    named, unix=unix, tcp=tcp, sockets=sockets, trace=recorder, warn=line.warn, **options
                )
            except DmsnapError as error:
                if not options["read_only"]:
                    hint_at_read_only(error, files)
                raise
            stack.enter_context(serving)
        _warn_if_open_to_others(tcp, options, line)
        stack.callback(line.clear)
        stop.hold()
        scrapes = None if metrics is None else _answer_scrapes(metrics, serving, stack)
        _tell_where(serving, scrapes, as_json=as_json)
        notify("READY=1")
        if exit_with_last_client:
            threading.Thread(target=_stop_after_last, args=(serving, stop), name="last client", daemon=True).start()
        _watch(serving, stop, line)
        notify("STOPPING=1")
    if stats:
        click.echo(summary(serving.server.counters, monotonic() - began, serving.usage()), err=True)
    for name, reason in serving.lost.items():
        raise SnapshotLost(f"{printable(name)}: this snapshot is lost: {reason}")


def _named(snap: str) -> str | tuple[str, str]:
    """``NAME=FILE`` as a pair; what has a slash before its ``=`` is a path."""
    name, mark, path = snap.partition("=")
    return (name, path) if mark and "/" not in name and not is_lvm_address(snap) else snap


def _check_tls(options: dict[str, Any]) -> None:
    cert, key, client_ca = options["tls_cert"], options["tls_key"], options["tls_client_ca"]
    if (cert is None) != (key is None) or (client_ca is not None and cert is None):
        raise click.UsageError("TLS needs both --tls-cert and --tls-key", click.get_current_context())


def _warn_if_open_to_others(tcp: str | None, options: dict[str, Any], line: StatusLine) -> None:
    if tcp is None or options["tls_client_ca"] is not None:
        return
    from dmsnap.library.serving.tcp_address import is_loopback, tcp_address

    host, _ = tcp_address(tcp)
    if not is_loopback(host):
        way_out = "--tls-client-ca limits it" if options["tls_cert"] else "--tls-cert and --tls-client-ca limit it"
        line.warn(f"{host}: whoever reaches this address can use every export; {way_out}")


def _raise_limit(connections: int) -> None:
    from dmsnap.serve.nbd.descriptors import raise_limit

    raise_limit(connections)


def _answer_scrapes(address: str, serving: Serving, stack: ExitStack) -> str:
    """Serves the metrics until the stack is closed; returns their URL."""
    from dmsnap.library.serving.scraping import serve_metrics

    close, url = serve_metrics(serving, address)
    stack.callback(close)
    return url


def _tell_where(serving: Serving, scrapes: str | None, *, as_json: bool) -> None:
    """Says on stdout, at once, how clients reach what is served."""
    if as_json:
        exports = [offer._asdict() for offer in serving.offers()]
        lines = [json.dumps({"exports": exports, "metrics": scrapes})]
    else:
        lines = [uri for offer in serving.offers() for uri in offer.uris]
        lines += [] if scrapes is None else [scrapes]
    result_stream().write("".join(line + "\n" for line in lines))
    flush_results()


def _stop_after_last(serving: Serving, stop: StopSignals) -> None:
    serving.server.wait_for_last_client()
    stop.stop()


def _watch(serving: Serving, stop: StopSignals, line: StatusLine) -> None:
    """Waits until it is time to stop, and keeps the status line up to date."""
    before, at = None, monotonic()
    while not stop.wait(REFRESH_SECONDS if line.shown else None):
        counters, now = serving.server.counters, monotonic()
        line.show(rates(before, counters, now - at, serving.usage()))
        before, at = copy.copy(counters), now
