"""``dmsnap demo``: a whole life of a snapshot, told to a newcomer and checked at every step."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import shlex
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

import dmsnap
from dmsnap.cli.options import PATH, verb
from dmsnap.cli.output import result_stream
from dmsnap.cli.registry import VERBS
from dmsnap.cli.sample.notebook import PAGE_BYTES, Notebook, page
from dmsnap.errors import DmsnapError

__all__ = ["DemoFailed", "command"]

STORE, ORIGIN, EXPORTED, NEW = "monday.cow", "notebook.img", "monday.img", "new.cow"
STORE_COPY, ORIGIN_COPY = "wednesday.cow", "wednesday.img"
CORRECTED = page(100, "corrected on Wednesday, in the snapshot")


class DemoFailed(DmsnapError):
    """A step did not give what the kernel gave."""


@verb("demo")
@click.option("--keep", metavar="DIR", type=PATH, help="Work in the new folder DIR, and keep it.")
def command(keep: str | None) -> None:
    """Show a whole life of a snapshot on generated data, verified at each step.

    The store was written by a real Linux kernel, whose words are compared with ours. All files are made in a temporary
    folder that is removed afterwards, unless --keep names one.
    """
    result_stream()  # without one, there is no point
    start = time.monotonic()
    with _folder(keep) as folder, contextlib.chdir(folder):
        checks = Demo(Notebook.load()).run()
    click.secho(f"\n{checks} checks passed in {time.monotonic() - start:.1f} s.", bold=True, nl=False)
    click.echo(f" The files are in {shlex.quote(keep)}." if keep else " 'dmsnap demo --keep DIR' leaves you the files.")


@contextlib.contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="dmsnap-demo-") as temporary:
            yield Path(temporary)
        return
    try:
        Path(keep).mkdir()
    except FileExistsError:
        raise DemoFailed(f"{keep} exists", hint="--keep wants a folder that it can make") from None
    yield Path(keep)


class Demo:
    """Tells the story in the working folder and counts what it checked."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook
        self._kernel = notebook.kernel
        self._checks = 0

    def run(self) -> int:
        """Tells all of it; returns the number of checks.

        Raises:
            DemoFailed: A check failed.
        """
        _say(
            "A snapshot keeps a disk as it was. Before somebody overwrites a part of the disk (the origin), the kernel "
            "copies the old part to a store; what is written to the snapshot goes there too. So origin and store "
            "together are the snapshot. dmsnap puts them together without a kernel, and without root."
        )
        self._show_the_sample()
        self._explain_the_store()
        self._export_the_snapshot()
        self._read_without_a_copy()
        self._go_back_to_a_kernel()
        self._write_to_the_snapshot()
        self._merge_the_snapshot()
        self._create_a_store()
        return self._checks

    def _show_the_sample(self) -> None:
        _title("A store that Linux wrote")
        _say(
            f"Linux {self._kernel.release} took a snapshot of a notebook of 1,024 pages on Monday. On Tuesday 262 "
            "pages were rewritten in it, and 10 drafts were written through the snapshot. It left us these files:"
        )
        Path(ORIGIN).write_bytes(self._notebook.origin())
        Path(STORE).write_bytes(self._notebook.store)
        for name, what in ((ORIGIN, "the origin as it is today"), (STORE, "the store, or COW device")):
            click.echo(f"    {name:<14}{Path(name).stat().st_size:>9,} bytes  {what}")
        self._check(
            _sha256(ORIGIN) == self._kernel.origin_sha256, "the checksum of the origin is what the kernel printed"
        )

    def _explain_the_store(self) -> None:
        _title("What the store says")
        _run("info", STORE, "--origin", ORIGIN)
        self._check(dmsnap.status(STORE) == self._kernel.status, "the status is what 'dmsetup status' printed")
        click.echo()
        _run("map", STORE, "--origin", ORIGIN)
        changed = sum(change.length for change in dmsnap.map_changes(STORE, origin=ORIGIN) if change.exists)
        self._check(changed == 272 * PAGE_BYTES, "262 rewritten pages and 10 drafts, of 4,096 bytes each")

    def _export_the_snapshot(self) -> None:
        _title("The notebook as it was on Monday, with the drafts")
        _run("export", STORE, EXPORTED, "--origin", ORIGIN)
        self._check(
            _sha256(EXPORTED) == self._kernel.snapshot_sha256, "its checksum is what the kernel read from the snapshot"
        )
        exported, origin = Path(EXPORTED).read_bytes(), Path(ORIGIN).read_bytes()
        for number in (5, 100, 12):
            click.echo(f"    {ORIGIN:<13} {_line(origin, number)}")
            click.echo(f"    {EXPORTED:<13} {_line(exported, number)}")
        self._check(exported == self._notebook.snapshot(), "every page is the one that was written")

    def _read_without_a_copy(self) -> None:
        _title("The same from Python, reading only what is asked for")
        click.echo(f'>>> with dmsnap.open_snapshot("{STORE}", origin="{ORIGIN}") as snapshot:')
        click.echo("...     snapshot.seek(100 * 4096)")
        click.echo("...     snapshot.read(4096)")
        with dmsnap.open_snapshot(STORE, origin=ORIGIN) as snapshot:
            snapshot.seek(100 * PAGE_BYTES)
            page = bytes(snapshot.read(PAGE_BYTES))
        click.echo(f"{page.rstrip(bytes(1))!r}… and zeros")
        self._check(page == self._notebook.page_on_monday(100), "page 100 is Monday's")

    def _go_back_to_a_kernel(self) -> None:
        _title("Back into a kernel")
        _say("With --keep, these commands would activate them, with root and device-mapper:")
        _run("table", STORE, "--origin", ORIGIN)
        line = dmsnap.table(STORE, ORIGIN).line
        self._check(line.split()[-2:] == self._kernel.table.split()[-2:], "type and chunk size are those of the kernel")
        inputs = Path(STORE).read_bytes() == self._notebook.store and _sha256(ORIGIN) == self._kernel.origin_sha256
        self._check(inputs, "nothing so far has changed the store or the origin")

    def _write_to_the_snapshot(self) -> None:
        _title("A correction, written to the snapshot")
        _say("What is written to a snapshot goes to its store, and the origin stays as it is. On copies of both:")
        Path(STORE_COPY).write_bytes(self._notebook.store)
        Path(ORIGIN_COPY).write_bytes(self._notebook.origin())
        click.echo(f'>>> with dmsnap.open_snapshot("{STORE_COPY}", origin="{ORIGIN_COPY}", mode="r+") as snapshot:')
        click.echo("...     snapshot.seek(100 * 4096)")
        click.echo(f"...     snapshot.write({CORRECTED.rstrip(bytes(1))!r})")
        with dmsnap.open_snapshot(STORE_COPY, origin=ORIGIN_COPY, mode="r+") as snapshot:
            snapshot.seek(100 * PAGE_BYTES)
            snapshot.write(CORRECTED.rstrip(bytes(1)))
        with dmsnap.open_snapshot(STORE_COPY, origin=ORIGIN_COPY) as reading:
            corrected = bytes(reading.read()) == self._corrected()
        self._check(corrected, "page 100 of the snapshot is corrected, and no other")
        self._check(_sha256(ORIGIN_COPY) == self._kernel.origin_sha256, "the origin is as it was")

    def _merge_the_snapshot(self) -> None:
        _title("Back to Monday: the snapshot goes into its origin")
        _run("merge", STORE_COPY, "--origin", ORIGIN_COPY, "--dry-run")
        _run("merge", STORE_COPY, "--origin", ORIGIN_COPY)
        self._check(
            Path(ORIGIN_COPY).read_bytes() == self._corrected(),
            "the notebook is Monday's, with the drafts and the correction",
        )
        _run("status", STORE_COPY)
        self._check(dmsnap.status(STORE_COPY) == "16/4096 16", "the store is empty, and could be deleted")

    def _corrected(self) -> bytes:
        before = self._notebook.snapshot()
        return before[: 100 * PAGE_BYTES] + CORRECTED + before[101 * PAGE_BYTES :]

    def _create_a_store(self) -> None:
        _title("A new store")
        _run("create", NEW, "--size", "64M", "--chunk-size", "4K")
        with Path(NEW).open("rb") as store:
            start = store.read(3 * 4096)
        header = b"SnAp" + bytes.fromhex("01000000 01000000 08000000")
        self._check(start == header.ljust(len(start), b"\0"), "byte for byte what Linux writes: header, empty area")
        _run("status", NEW)
        self._check(dmsnap.status(NEW) == "16/131072 16", "2 chunks in use: the header and the area")

    def _check(self, passed: bool, claim: str) -> None:
        if not passed:
            raise DemoFailed(f"not true: {claim}", hint="please report this as a bug")
        self._checks += 1
        click.secho(f"{_TICK} {claim}", fg="green")


_TICK = "✓"


def _title(text: str) -> None:
    click.secho(f"\n== {text} ==\n", bold=True)


def _say(text: str) -> None:
    click.echo(click.wrap_text(text, width=88))


def _run(name: str, *arguments: str) -> None:
    """Shows a command line and runs it."""
    click.secho(f"$ dmsnap {shlex.join((name, *arguments))}", fg="cyan")
    result_stream().flush()
    command: click.Command = importlib.import_module(VERBS[name].module).command
    command.main(list(arguments), prog_name=f"dmsnap {name}", standalone_mode=False)


def _sha256(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _line(image: bytes, number: int) -> str:
    return image[number * PAGE_BYTES :].partition(b"\n")[0].decode("ascii")
