"""The NBD protocol as numbers and layouts: what client and server agree on.

Source: the NetworkBlockDevice project's ``doc/proto.md``, with structured replies, metadata contexts and extended
headers. Everything is big-endian; offsets and lengths are bytes.
"""

from __future__ import annotations

import enum
import struct

__all__ = [
    "BLOCK_STATUS_ENTRY",
    "BLOCK_STATUS_ENTRY_64",
    "CHUNK",
    "CHUNK_ERROR",
    "CHUNK_HOLE",
    "CHUNK_MAGIC",
    "CHUNK_OFFSET",
    "CLIENT_FLAGS",
    "EXPORT",
    "EXTENDED_CHUNK",
    "EXTENDED_CHUNK_MAGIC",
    "EXTENDED_REQUEST",
    "EXTENDED_REQUEST_MAGIC",
    "EXTENDED_STATUS_HEAD",
    "GREETING",
    "GREETING_MAGIC",
    "MOST_DATA_BYTES",
    "MOST_NAME_BYTES",
    "OPTION",
    "OPTION_MAGIC",
    "OPTION_REPLY",
    "OPTION_REPLY_MAGIC",
    "REQUEST",
    "REQUEST_MAGIC",
    "SIMPLE_REPLY",
    "SIMPLE_REPLY_MAGIC",
    "AllocationFlag",
    "ChunkFlag",
    "ChunkType",
    "ClientFlag",
    "Command",
    "CommandFlag",
    "ExportFlag",
    "HandshakeFlag",
    "Info",
    "NbdError",
    "Option",
    "OptionReply",
]

MOST_NAME_BYTES = 4096
"""The longest string (export name, description, context) the protocol allows."""

MOST_DATA_BYTES = 32 << 20
"""The largest read or write that needs no agreement on block sizes."""

# -- the handshake -----------------------------------------------------------------------------------------------------

GREETING_MAGIC = b"NBDMAGICIHAVEOPT"
OPTION_MAGIC = b"IHAVEOPT"
OPTION_REPLY_MAGIC = 0x0003E889045565A9

GREETING = struct.Struct(">16sH")
"""From the server: `GREETING_MAGIC`, `HandshakeFlag`."""
CLIENT_FLAGS = struct.Struct(">L")
"""From the client: `ClientFlag`."""
OPTION = struct.Struct(">8sLL")
"""From the client: `OPTION_MAGIC`, `Option`, bytes that follow."""
OPTION_REPLY = struct.Struct(">QLLL")
"""From the server: `OPTION_REPLY_MAGIC`, the option, `OptionReply`, bytes that follow."""
EXPORT = struct.Struct(">QH")
"""An export: size in bytes, `ExportFlag`."""


class HandshakeFlag(enum.IntFlag):
    """What the server can do before an export is chosen."""

    FIXED_NEWSTYLE = 1
    NO_ZEROES = 2


class ClientFlag(enum.IntFlag):
    """What the client takes of that."""

    FIXED_NEWSTYLE = 1
    NO_ZEROES = 2


class Option(enum.IntEnum):
    """What a client may ask for before it has an export."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10
    EXTENDED_HEADERS = 11


class OptionReply(enum.IntEnum):
    """How a server answers; with bit 31 it is an error."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = 0x80000001
    ERR_POLICY = 0x80000002
    ERR_INVALID = 0x80000003
    ERR_PLATFORM = 0x80000004
    ERR_TLS_REQD = 0x80000005
    ERR_UNKNOWN = 0x80000006
    ERR_SHUTDOWN = 0x80000007
    ERR_BLOCK_SIZE_REQD = 0x80000008
    ERR_TOO_BIG = 0x80000009
    ERR_EXT_HEADER_REQD = 0x8000000A


class Info(enum.IntEnum):
    """What `Option.INFO` and `Option.GO` tell of an export."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class ExportFlag(enum.IntFlag):
    """What can be done with an export."""

    HAS_FLAGS = 1 << 0
    READ_ONLY = 1 << 1
    SEND_FLUSH = 1 << 2
    SEND_FUA = 1 << 3
    ROTATIONAL = 1 << 4
    SEND_TRIM = 1 << 5
    SEND_WRITE_ZEROES = 1 << 6
    SEND_DF = 1 << 7
    CAN_MULTI_CONN = 1 << 8
    SEND_RESIZE = 1 << 9
    SEND_CACHE = 1 << 10
    SEND_FAST_ZERO = 1 << 11
    BLOCK_STATUS_PAYLOAD = 1 << 12


# -- requests ----------------------------------------------------------------------------------------------------------

REQUEST_MAGIC = 0x25609513
EXTENDED_REQUEST_MAGIC = 0x21E41C71

REQUEST = struct.Struct(">LHHQQL")
"""`REQUEST_MAGIC`, `CommandFlag`, `Command`, cookie, offset, length."""
EXTENDED_REQUEST = struct.Struct(">LHHQQQ")
"""`EXTENDED_REQUEST_MAGIC`, `CommandFlag`, `Command`, cookie, offset, length."""


class Command(enum.IntEnum):
    """What a client asks of its export."""

    READ = 0
    WRITE = 1
    DISC = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class CommandFlag(enum.IntFlag):
    """How."""

    FUA = 1 << 0
    NO_HOLE = 1 << 1
    DF = 1 << 2
    REQ_ONE = 1 << 3
    FAST_ZERO = 1 << 4
    PAYLOAD_LEN = 1 << 5


# -- replies -----------------------------------------------------------------------------------------------------------

SIMPLE_REPLY_MAGIC = 0x67446698
CHUNK_MAGIC = 0x668E33EF
EXTENDED_CHUNK_MAGIC = 0x6E8A278C

SIMPLE_REPLY = struct.Struct(">LLQ")
"""`SIMPLE_REPLY_MAGIC`, `NbdError`, cookie; after a read without an error its data."""
CHUNK = struct.Struct(">LHHQL")
"""`CHUNK_MAGIC`, `ChunkFlag`, `ChunkType`, cookie, bytes that follow."""
EXTENDED_CHUNK = struct.Struct(">LHHQQQ")
"""`EXTENDED_CHUNK_MAGIC`, `ChunkFlag`, `ChunkType`, cookie, the request's offset, bytes that follow."""
CHUNK_OFFSET = struct.Struct(">Q")
"""Before the data of `ChunkType.OFFSET_DATA`, and after the message of `ChunkType.ERROR_OFFSET`: the offset."""
CHUNK_HOLE = struct.Struct(">QL")
"""`ChunkType.OFFSET_HOLE`: offset, length."""
CHUNK_ERROR = struct.Struct(">LH")
"""`ChunkType.ERROR`: `NbdError`, bytes of the message that follows."""
BLOCK_STATUS_ENTRY = struct.Struct(">LL")
"""`ChunkType.BLOCK_STATUS`, after the context's number (32 bits): length, flags; again for each extent."""
EXTENDED_STATUS_HEAD = struct.Struct(">LL")
"""`ChunkType.BLOCK_STATUS_EXT` begins with: the context's number, how many extents follow."""
BLOCK_STATUS_ENTRY_64 = struct.Struct(">QQ")
"""`ChunkType.BLOCK_STATUS_EXT`: length, flags; for each extent."""


class ChunkFlag(enum.IntFlag):
    """Of one chunk of a structured reply."""

    DONE = 1


class ChunkType(enum.IntEnum):
    """What a chunk of a structured reply holds; with bit 15 it is an error."""

    NONE = 0
    OFFSET_DATA = 1
    OFFSET_HOLE = 2
    BLOCK_STATUS = 5
    BLOCK_STATUS_EXT = 6
    ERROR = 0x8001
    ERROR_OFFSET = 0x8002


class NbdError(enum.IntEnum):
    """Errors as they are told (Linux's numbers)."""

    EPERM = 1
    EIO = 5
    ENOMEM = 12
    EINVAL = 22
    ENOSPC = 28
    EOVERFLOW = 75
    ENOTSUP = 95
    ESHUTDOWN = 108


class AllocationFlag(enum.IntFlag):
    """What the context ``base:allocation`` says of an extent."""

    HOLE = 1
    ZERO = 2
