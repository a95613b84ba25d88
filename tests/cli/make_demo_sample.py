"""Makes the sample of ``dmsnap demo``: has a real Linux write the store, and takes down what it says.

Run as ``python tests/cli/make_demo_sample.py`` to write src/dmsnap/cli/sample/notebook.* anew.
"""

from __future__ import annotations

import json
import lzma
import tempfile
from pathlib import Path

from dmsnap.cli.sample.notebook import DRAFTS, PAGE_BYTES, PAGES, REWRITTEN, KernelWords, Notebook
from dmsnap.testing.kernelvm import KernelVM

STORE_BYTES = 2 << 20
PAGE_SECTORS = PAGE_BYTES // 512
ORIGIN_SECTORS = PAGES * PAGE_SECTORS

# disk0 = the origin, disk1 = the store, disk2 = what the origin shall become, disk3 = what the snapshot shall become
JOB = """\
set -e
put() {{ dd if=$1 of=/dev/mapper/$2 bs={page} skip=$3 seek=$3 count=$4 conv=notrunc,fsync 2>/dev/null; }}
dmsetup create origin --table "0 {sectors} snapshot-origin /dev/disk0"
dmsetup create notebook --table "0 {sectors} snapshot /dev/disk0 /dev/disk1 P {chunk}"
{writes}
section release; uname -r
section status; dmsetup status notebook | cut -d' ' -f4-
section table; dmsetup table notebook | cut -d' ' -f4-
section snapshot_sha256; sha256sum /dev/mapper/notebook | cut -d' ' -f1
section origin_sha256; sha256sum /dev/mapper/origin | cut -d' ' -f1
section end
dmsetup remove notebook
dmsetup remove origin
sync
"""


def make_sample() -> tuple[bytes, KernelWords]:
    """Returns the store that the kernel wrote, and its words.

    Raises:
        KernelVMUnavailable: There is no kernel to be had here.
    """
    writes = [
        f"put {source} {target} {first} {count}"
        for source, target, where in (("/dev/disk2", "origin", REWRITTEN), ("/dev/disk3", "notebook", DRAFTS))
        for numbers in where
        for first, count in ([(numbers.start, len(numbers))] if numbers.step == 1 else [(n, 1) for n in numbers])
    ]
    job = JOB.format(page=PAGE_BYTES, sectors=ORIGIN_SECTORS, chunk=PAGE_SECTORS, writes="\n".join(writes))
    with tempfile.TemporaryDirectory() as folder:
        disks = [Path(folder, f"disk{number}") for number in range(4)]
        contents = (Notebook.monday(), bytes(STORE_BYTES), Notebook.origin(), Notebook.snapshot())
        for disk, content in zip(disks, contents, strict=True):
            disk.write_bytes(content)
        result = KernelVM(disks=disks).run(job)
        assert result.status == 0, result.stdout
        words = KernelWords(**{name: result.sections[name][0] for name in KernelWords._fields})
        return disks[1].read_bytes(), words


def main() -> None:
    """Writes the sample into the package."""
    store, words = make_sample()
    folder = Path(__file__).resolve().parents[2] / "src/dmsnap/cli/sample"
    (folder / "notebook.cow.xz").write_bytes(lzma.compress(store, preset=9))
    (folder / "notebook.json").write_text(json.dumps(words._asdict(), indent=2) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
