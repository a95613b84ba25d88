"""Metrics: a text that Prometheus takes, and an endpoint that nobody can hold up."""

import re
import socket
import threading
from contextlib import closing

import pytest

from dmsnap.serve.metrics import Metric, Sample, metrics_text
from dmsnap.serve.metrics_endpoint import MOST_CONNECTIONS, MOST_REQUEST_BYTES, MetricsEndpoint

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
GRAMMAR = re.compile(
    rf"(?:# HELP {NAME} (?:[^\\\n]|\\\\|\\n)*\n# TYPE {NAME} (?:counter|gauge)\n"
    rf"(?:{NAME}(?:\{{{LABEL}(?:,{LABEL})*\}})? [0-9.e+-]+\n)*)*"
)
"""The text format, version 0.0.4, as far as it is used."""

GOOD = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


def ask(address: tuple[str, int], request: bytes, *, end: bool = False) -> bytes:
    """Sends a request and returns all of the reply."""
    with socket.create_connection(address, timeout=20) as client:
        client.sendall(request)
        if end:
            client.shutdown(socket.SHUT_WR)
        reply = b""
        while part := client.recv(65536):
            reply += part
        return reply


@pytest.fixture
def endpoint():
    """Makes an endpoint on a free port and returns its address."""
    made = []

    def make(collect=lambda: "up 1\n", **options):
        listener = socket.create_server(("127.0.0.1", 0))
        made.append(MetricsEndpoint(listener, collect, **options))
        return listener.getsockname()

    yield make
    for each in made:
        each.close()


# -- the text ---------------------------------------------------------------------------------------------------------


def test_the_text_has_help_type_and_a_line_for_each_sample() -> None:
    samples = [Sample((("export", "a"), ("kind", "read")), 3), Sample((("export", "b"), ("kind", "read")), 0.25)]
    assert metrics_text([Metric("dmsnap_requests_total", "counter", "Requests.", samples)]) == (
        "# HELP dmsnap_requests_total Requests.\n"
        "# TYPE dmsnap_requests_total counter\n"
        'dmsnap_requests_total{export="a",kind="read"} 3\n'
        'dmsnap_requests_total{export="b",kind="read"} 0.25\n'
    )


@pytest.mark.parametrize("name", ['qu"ote', "back\\slash", "line\nfeed", 'all\\"\n', "ümlaut \U0001f4be", ""])
def test_any_name_of_an_export_stays_one_label(name: str) -> None:
    text = metrics_text([Metric("a", "gauge", f"About {name}.", [Sample((("export", name),), 1)])])
    assert GRAMMAR.fullmatch(text)
    value = re.search(r'export="(.*)"', text)[1]
    assert re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), value) == name


def test_the_grammar_of_these_tests_sees_a_mistake() -> None:
    assert GRAMMAR.fullmatch("# HELP a b\n# TYPE a gauge\na 1\n")
    assert not GRAMMAR.fullmatch('# HELP a b\n# TYPE a gauge\na{x="\n"} 1\n')
    assert not GRAMMAR.fullmatch("a 1")


# -- the endpoint -----------------------------------------------------------------------------------------------------


def test_a_scrape_gets_the_text(endpoint) -> None:
    head, body = ask(endpoint(), GOOD).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/plain; version=0.0.4" in head
    assert b"Content-Length: 5" in head
    assert body == b"up 1\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/../../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 405),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /metrics SPDY/9\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\0\xff\xfe\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: ".ljust(MOST_REQUEST_BYTES, b"x"), 431),
    ],
)
def test_anything_else_is_refused(endpoint, request_bytes: bytes, status: int) -> None:
    assert ask(endpoint(), request_bytes).startswith(b"HTTP/1.1 %d " % status)


def test_half_a_request_is_refused_when_it_ends(endpoint) -> None:
    assert ask(endpoint(), b"GET /metr", end=True).startswith(b"HTTP/1.1 400 ")


def test_a_query_is_no_matter(endpoint) -> None:
    assert ask(endpoint(), b"GET /metrics?x=1 HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_silence_is_cut_off(endpoint) -> None:
    assert ask(endpoint(deadline_seconds=0.2), b"GET /met") == b""


def test_more_connections_than_it_answers_are_closed_and_it_goes_on(endpoint) -> None:
    address = endpoint(deadline_seconds=60)
    silent = [socket.create_connection(address, timeout=20) for _ in range(MOST_CONNECTIONS)]
    with closing(socket.create_connection(address, timeout=20)) as one_more:
        assert one_more.recv(1) == b""
    for each in silent:
        each.sendall(GOOD)
        assert each.recv(15) == b"HTTP/1.1 200 OK"
        while each.recv(65536):
            pass
        each.close()


def test_numbers_that_cannot_be_had_are_an_error_of_the_scrape_alone(endpoint) -> None:
    answers = iter([ZeroDivisionError("secret"), None])

    def collect() -> str:
        if (error := next(answers)) is not None:
            raise error
        return "up 1\n"

    address = endpoint(collect)
    reply = ask(address, GOOD)
    assert reply.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in reply
    assert ask(address, GOOD).endswith(b"up 1\n")


def test_closing_ends_the_thread_and_frees_the_port() -> None:
    before = threading.active_count()
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    endpoint = MetricsEndpoint(listener, lambda: "")
    endpoint.close()
    endpoint.close()
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=20)
