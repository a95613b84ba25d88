"""A running server in numbers, as Prometheus takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dmsnap.serve.metrics import Metric, Sample
from dmsnap.serve.nbd import Counters
from dmsnap.target.status import Status

__all__ = ["server_metrics"]

_BYTES_OF_SECTOR = 512

_REQUESTS = {"read": "reads", "write": "writes", "zero": "zeroes", "flush": "flushes", "other": "others"}
_BYTES = {"read": "bytes_read", "write": "bytes_written", "zero": "bytes_zeroed"}


def server_metrics(counters: Counters, usage: Mapping[str, Status]) -> Iterator[Metric]:
    """Yields what there is to tell.

    Args:
        counters: Of the server.
        usage: How full the store of each snapshot is.
    """
    yield _counter(
        "dmsnap_requests_total",
        "Requests that were answered; zero: write zeroes and trim; other: block status and cache.",
        *(Sample((("kind", kind),), getattr(counters, name)) for kind, name in _REQUESTS.items()),
    )
    yield _counter(
        "dmsnap_request_bytes_total",
        "Bytes that were asked for, by successful requests.",
        *(Sample((("kind", kind),), getattr(counters, name)) for kind, name in _BYTES.items()),
    )
    yield _counter("dmsnap_request_errors_total", "Requests that were answered by an error.", counters.errors)
    yield Metric("dmsnap_connections", "gauge", "Connections that are open.", [Sample((), counters.connections)])
    yield Metric("dmsnap_clients", "gauge", "Of these, such as use an export.", [Sample((), counters.clients)])
    yield _counter("dmsnap_connections_total", "Connections that were accepted.", counters.connections_ever)
    yield _counter(
        "dmsnap_connections_refused_total",
        "Connections that were closed by the server, by reason.",
        Sample((("reason", "no_place"),), counters.turned_away),
        Sample((("reason", "violation"),), counters.violations),
        Sample((("reason", "crash"),), counters.crashes),
    )
    well = {name: status for name, status in usage.items() if not status.state}
    yield _gauge("dmsnap_store_used_bytes", "Of the store: up to the next free chunk, metadata too.", {
        name: status.allocated_sectors * _BYTES_OF_SECTOR for name, status in well.items()
    })  # fmt: skip
    yield _gauge("dmsnap_store_metadata_bytes", "Of the store: header and metadata areas.", {
        name: (status.metadata_sectors or 0) * _BYTES_OF_SECTOR for name, status in well.items()
    })  # fmt: skip
    yield _gauge("dmsnap_store_size_bytes", "The store's size.", {
        name: status.total_sectors * _BYTES_OF_SECTOR for name, status in well.items()
    })  # fmt: skip
    yield _gauge("dmsnap_store_usable", "1 while the snapshot is neither invalid nor overflowed.", {
        name: int(not status.state) for name, status in usage.items()
    })  # fmt: skip


def _counter(name: str, text: str, *samples: Sample | int) -> Metric:
    return Metric(name, "counter", text, [each if isinstance(each, Sample) else Sample((), each) for each in samples])


def _gauge(name: str, text: str, by_export: Mapping[str, int]) -> Metric:
    return Metric(name, "gauge", text, [Sample((("export", export),), value) for export, value in by_export.items()])
