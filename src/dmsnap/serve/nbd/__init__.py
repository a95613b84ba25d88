"""A server for NBD, the network block device protocol: devices for kernels, QEMU, libnbd and whoever speaks it.

The protocol has no I/O: `handshake` and `requests` turn bytes into events, `replies` answers into bytes. Around it a
`connection` is one thread that receives and sends; `reading` and `working` do what it asks for.
"""

from __future__ import annotations

from dmsnap.serve.nbd.counters import Counters
from dmsnap.serve.nbd.export import Export
from dmsnap.serve.nbd.listening import CannotListen
from dmsnap.serve.nbd.server import Server
from dmsnap.serve.nbd.tls import BadCertificate, TlsServer

__all__ = ["BadCertificate", "CannotListen", "Counters", "Export", "Server", "TlsServer"]
