"""The commands that ``dmsnap table`` prints of logical volumes, run as they are: Linux reads what we export."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import dmsnap
from dmsnap.lvm.tables import dm_name
from dmsnap.testing.kernelvm import KernelVM, Result, need_kernelvm
from dmsnap.testing.lvm_fixtures import LVMFixture, load_lvm_fixture

VOLUMES = {
    "several-disks": ("linear-one",),
    "snapshots": ("snap64", "origin", "snap4", "snap8", "snap512"),
    "partitions-gpt": ("snap", "stripes"),
    "mirrors": ("snap", "raid"),
    "raid0": ("meta",),
    "merge-half": ("other", "origin"),
}
"""Of each recorded group, the volume to be activated and what comes with it."""

SETUP = """
echo /bin/modprobe >/proc/sys/kernel/modprobe
modprobe loop; modprobe dm-raid
losetup() { /sbin/losetup "$@"; } # not that of BusyBox, which knows none of the options
digest() { echo "$1 $(sha256sum <"/dev/mapper/$1" | cut -d' ' -f1)"; }
"""

WRITING = """
yes written | dd of=/dev/mapper/vgsnap-origin bs=4096 count=50 seek=30 iflag=fullblock oflag=direct status=none
yes in the snapshot | dd of=/dev/mapper/vgsnap-snap8 bs=4096 count=9 seek=50 iflag=fullblock oflag=direct status=none
"""

FINISH = """
sync
dmsetup remove_all
losetup -D
"""


@pytest.mark.kernel
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_what_the_printed_commands_activate_reads_as_it_is_exported(tmp_path: Path) -> None:
    need_kernelvm()
    fixtures = [fixture(name, tmp_path) for name in VOLUMES]
    disks = [image for each in fixtures for image in each.images]
    script = [SETUP]
    script += [f"mkdir -p {image.parent}; ln -s /dev/disk{number} {image}" for number, image in enumerate(disks)]
    script += [str(dmsnap.table(address(each, VOLUMES[each.name][0]))) for each in fixtures]
    script += ["section before", *map(digest_words, fixtures)]
    (snapshots,) = [each for each in fixtures if each.name == "snapshots"]
    script += [WRITING, "section after", digest_words(snapshots), FINISH]
    before = exported(fixtures)
    result = KernelVM(disks, timeout_s=300).run("\n".join(script))
    assert result.sections[""] == [], result.stdout
    assert digests(result, "before") == before
    assert digests(result, "after") == exported([snapshots])
    changed = {name for name, digest in digests(result, "after").items() if digest != before[name]}
    assert changed == {"vgsnap-origin", "vgsnap-snap8"}


def fixture(name: str, folder: Path) -> LVMFixture:
    (folder / name).mkdir()
    return load_lvm_fixture(name, folder / name)


def address(fixture: LVMFixture, volume: str) -> str:
    return f"lvm:{fixture.group}/{volume}@{','.join(map(str, fixture.images))}"


def digest_words(fixture: LVMFixture) -> str:
    return "\n".join(f"digest {dm_name(fixture.group, volume)}" for volume in VOLUMES[fixture.name])


def digests(result: Result, section: str) -> dict[str, str]:
    """What the guest says of its devices."""
    return {name: digest for name, _, digest in (line.partition(" ") for line in result.sections[section])}


def exported(fixtures: list[LVMFixture]) -> dict[str, str]:
    """Digests of what we export, by the names of the devices."""
    found = {}
    for each in fixtures:
        out = each.images[0].with_name("exported")
        for volume in VOLUMES[each.name]:
            dmsnap.export(address(each, volume), None, out, overwrite=True)
            found[dm_name(each.group, volume)] = hashlib.sha256(out.read_bytes()).hexdigest()
    return found
