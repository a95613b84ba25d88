"""A device mounted as one file, served by a thread of this process until it is unmounted.

libfuse is made for programs that do nothing else: it takes over signals and changes the working directory. Here it runs
in a thread beside whatever else there is, so that both are put back.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from dmsnap.block.contract import BlockDevice
from dmsnap.block.medium import printable
from dmsnap.errors import DmsnapError
from dmsnap.serve.fuse.filesystem import DeviceFilesystem
from dmsnap.serve.fuse.libfuse import check_fuse, run_filesystem
from dmsnap.serve.fuse.mount_point import check_mount_point

__all__ = ["Mount", "MountFailed"]

_STOP_SECONDS = 10.0
"""How long `Mount.stop` waits for requests under way."""

_READ_AHEAD_KIB = 512
_ITS_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_MOUNTING = threading.Lock()  # the working directory and descriptor 2 are the process's


class MountFailed(DmsnapError, OSError):
    """FUSE would not mount, or not unmount."""


class Mount:
    """A device as the file ``directory/name``, while it lasts.

    Reads are as many at once as the kernel asks; writes are one at a time. The device is flushed by ``fsync``, when a
    descriptor is closed, and by `stop`.

    Args:
        device: What the file holds. It stays the caller's to close, after `stop`.
        directory: An empty directory.
        name: The file's name.
        read_only: Refuse writes; also where the device is read-only.
        changed_ns: When the content was changed last; see `DeviceFilesystem`.
        source: What ``df`` and ``mount`` show as the device.
        allow_other: Let other users in (root among them), to read; a user who is not root needs ``user_allow_other``
            in ``/etc/fuse.conf`` for it.

    Attributes:
        directory: Its absolute path.
        path: The file's.

    Raises:
        NoFuse: Something that FUSE takes is not there.
        BadMountPoint: The directory will not do.
        MountFailed: FUSE says no.
    """

    def __init__(
        self,
        device: BlockDevice,
        directory: str | os.PathLike[str],
        name: str,
        *,
        read_only: bool = False,
        changed_ns: int | None = None,
        source: str = "dmsnap",
        allow_other: bool = False,
    ) -> None:
        check_fuse()
        self.directory = Path(check_mount_point(directory))
        self.path = self.directory / name
        self._device = device
        self._stopping = False
        self._filesystem = DeviceFilesystem(
            device, name, read_only=read_only, changed_ns=changed_ns, others=allow_other
        )
        self._options: dict[str, Any] = {"fsname": _as_option(source)}
        if self._filesystem.read_only:
            self._options["ro"] = True
        if allow_other:
            self._options["allow_other"] = True
        self._failure: BaseException | None = None
        self._ready, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"mount {self.path}", daemon=True)
        with _MOUNTING:
            self._start()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until it is unmounted, by whomever, at most so long; says whether it is."""
        return self._over.wait(seconds)

    def stop(self) -> None:
        """Unmounts it, in use or not, once the requests under way are answered, and flushes the device.

        A second call does nothing.

        Raises:
            IOFailed: What was written could not be made durable.
            MountFailed: Requests are still under way, or somebody detached the mount and still uses it.
        """
        if self._stopping:
            return
        self._stopping = True
        if not self._over.is_set():
            # Nothing but a request wakes libfuse; this one answers itself, in one of its threads.
            threading.Thread(target=self._poke, daemon=True).start()
        self._thread.join(_STOP_SECONDS)
        if not self._filesystem.read_only:
            self._device.flush()
        if self._thread.is_alive():
            raise MountFailed(
                f"{printable(str(self.directory))}: still in use after {_STOP_SECONDS:.0f} s",
                hint="end the programs that use it",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _start(self) -> None:
        ours = [number for number in _ITS_SIGNALS if signal.getsignal(number) == signal.SIG_DFL]
        self._working_directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with _heard() as said:
                self._thread.start()
                try:
                    self._ready.wait()
                except BaseException:  # Ctrl-C
                    self.stop()
                    raise
        finally:
            os.close(self._working_directory)
            libc = ctypes.CDLL(None)
            for number in ours:  # libfuse takes those that nobody has; Python's own view of them is unchanged
                libc.signal(number, 0)
        if self._failure is None:
            _read_far_ahead(self.directory)
        else:
            reason = said[-1] if said else f"libfuse ended with {self._failure}"
            hint = "add that line, as root; or do not let others in" if "user_allow_other" in reason else ""
            raise MountFailed(f"{printable(str(self.directory))}: cannot mount: {reason}", hint=hint) from self._failure

    def _serve(self) -> None:
        try:
            directory = str(self.directory)
            run_filesystem(self._filesystem, directory, self._set_ready, lambda: self._stopping, **self._options)
        except BaseException as error:  # noqa: BLE001 - it is raised by whoever waits
            if not self._ready.is_set():
                self._failure = error
        finally:
            self._over.set()
            self._ready.set()

    def _set_ready(self) -> None:
        os.fchdir(self._working_directory)
        self._ready.set()

    def _poke(self) -> None:
        with contextlib.suppress(OSError):
            os.statvfs(self.directory)


@contextlib.contextmanager
def _heard() -> Iterator[list[str]]:
    """Yields a list that has afterwards what libfuse and fusermount3 said meanwhile, which they do on descriptor 2.

    Where all goes well, nobody needs to hear it: libfuse 3.14 complains of its own defaults.
    """
    said: list[str] = []
    if sys.stderr is not None:
        sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said += [line for line in file.read().decode(errors="replace").splitlines() if line]


def _read_far_ahead(directory: Path) -> None:
    """Lets the kernel ask for more at once, if we may (as root): who reads on and on is served twice as fast.

    For FUSE, Linux begins with 128 KiB.
    """
    with contextlib.suppress(OSError):
        number = directory.stat().st_dev
        bdi = Path(f"/sys/class/bdi/{os.major(number)}:{os.minor(number)}")
        (bdi / "read_ahead_kb").write_text(str(_READ_AHEAD_KIB), "ascii")


def _as_option(text: str) -> str:
    """A value as libfuse takes it in a list of options."""
    return printable(text).replace("\\", "\\\\").replace(",", "\\,")
