"""Wrong inputs of what writes, writing to a snapshot and merging: one clear error each, and nothing is changed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import dmsnap
from dmsnap.block import FileDevice, MemoryDevice, ReadOnlyDevice
from dmsnap.errors import DmsnapError
from dmsnap.testing import need, need_tool
from dmsnap.testing.damage import DAMAGES, sound_store

CHUNK = 512  # of the sound store
REFUSED = [name for name, damage in DAMAGES.items() if not damage.huge and (damage.refusal or damage.says)]


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "sound.cow"
    path.write_bytes(sound_store())
    return path


def ways(cow, origin, **keywords):
    """Both ways to write."""
    return [lambda: dmsnap.open_snapshot(cow, origin, "r+"), lambda: dmsnap.merge(cow, origin, **keywords)]


class TestOneDevice:
    @pytest.mark.parametrize("alias", ["itself", "a hard link", "a symbolic link"])
    def test_is_not_both_origin_and_store(self, alias, store, tmp_path, dmsnap_command, unchanged):
        other = store if alias == "itself" else tmp_path / "other"
        if alias == "a hard link":
            other.hardlink_to(store)
        elif alias == "a symbolic link":
            other.symlink_to(store.name)
        with unchanged(store):
            for write in ways(store, other):
                with pytest.raises(DmsnapError, match="cannot be the same as origin device"):
                    write()
            dmsnap_command("merge", store, "--origin", other).is_one_clear_line("cannot be the same")

    def test_in_memory_neither(self):
        device = MemoryDevice(sound_store())
        for write in ways(device, device):
            with pytest.raises(DmsnapError, match="cannot be the same"):
                write()

    def test_behind_a_loop_device_neither(self, store, dmsnap_command, unchanged):
        losetup = need_tool("losetup")
        need(os.geteuid() == 0 and Path("/dev/loop-control").exists(), "loop devices need root and /dev/loop-control")
        show = [losetup, "--find", "--show", "--offset=4096", str(store)]
        loop = subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip()
        try:
            with unchanged(store):
                for pair in ((store, loop), (loop, store)):
                    dmsnap_command("merge", pair[0], "--origin", pair[1]).is_one_clear_line()
                with pytest.raises(DmsnapError, match="cannot be the same"):
                    dmsnap.open_snapshot(store, loop, "r+")
        finally:
            subprocess.run([losetup, "--detach", loop], check=True)


class TestInUse:
    HOLD = "import dmsnap, sys; dmsnap.open_snapshot(*sys.argv[1:], 'r+'); print('open', flush=True); sys.stdin.read()"

    def test_by_another_process(self, store, origin, dmsnap_command, unchanged):
        command = [sys.executable, "-c", self.HOLD, store, origin]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout.readline() == "open\n"
            with unchanged(store, origin):
                for write in ways(store, origin):
                    with pytest.raises(DmsnapError, match="in use by another writer") as raised:
                        write()
                    assert type(raised.value).__name__ == "InUse"
                    assert raised.value.hint
                dmsnap_command("merge", store, "--origin", origin).is_one_clear_line(store.name, "in use")
            assert dmsnap.info(store).exceptions == 70, "reading is always possible"
            holder.stdin.close()
        dmsnap.open_snapshot(store, origin, "r+").close()

    def test_an_origin_that_is_merged_into(self, store, origin, dmsnap_command, unchanged):
        with FileDevice(origin, writable=True, exclusive=True), unchanged(store, origin):
            dmsnap_command("merge", store, "--origin", origin).is_one_clear_line(origin.name, "in use")


class TestReadOnly:
    @pytest.mark.parametrize("which", ["store", "origin"])
    def test_a_file_that_may_not_be_written_to(self, which, dmsnap_command):
        before = ()
        if os.geteuid() == 0:
            before = (need_tool("setpriv"), "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "store").write_bytes(sound_store())
            (folder / "origin").write_bytes(bytes(1 << 20))
            (folder / which).chmod(0o444)
            words = ["merge", "store", "--origin", "origin"]
            dmsnap_command(*words, before=before, folder=folder).is_one_clear_line(f"{which}: permission denied")
            outcome = dmsnap_command(*words, "--dry-run", before=before, folder=folder)
            assert (outcome.status, outcome.stderr) == (0, "")
            assert (folder / "store").read_bytes() == sound_store()

    @pytest.mark.parametrize("which", ["store", "origin"])
    def test_a_block_device_that_is_read_only(self, which, store, origin, dmsnap_command, unchanged):
        losetup = need_tool("losetup")
        need(os.geteuid() == 0 and Path("/dev/loop-control").exists(), "loop devices need root and /dev/loop-control")
        show = [losetup, "--find", "--show", "--read-only", str(store if which == "store" else origin)]
        loop = subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip()
        try:
            with unchanged(store, origin):
                pair = (loop, origin) if which == "store" else (store, loop)
                dmsnap_command("merge", pair[0], "--origin", pair[1]).is_one_clear_line(loop, "read-only")
        finally:
            subprocess.run([losetup, "--detach", loop], check=True)

    @pytest.mark.parametrize("which", ["store", "origin"])
    def test_a_device_opened_to_look(self, which, store, origin, unchanged):
        with unchanged(store, origin), FileDevice(store, writable=which != "store") as cow:
            with FileDevice(origin, writable=which != "origin") as base, pytest.raises(ReadOnlyDevice) as raised:
                dmsnap.merge(cow, base)
            assert raised.value.hint == "open it for writing"
            if which == "store":
                with pytest.raises(ReadOnlyDevice):
                    dmsnap.open_snapshot(cow, origin, "r+")

    def test_an_origin_that_may_only_be_read_is_enough_to_write_to_a_snapshot(self, store, origin):
        with FileDevice(origin) as base, dmsnap.open_snapshot(store, base, "r+") as snapshot:
            snapshot.write(b"x")


class TestOriginOfAnotherSize:
    def test_too_small_is_refused(self, store, origin, dmsnap_command, unchanged):
        os.truncate(origin, 10 * CHUNK)
        with unchanged(store, origin):
            for write in ways(store, origin):
                with pytest.raises(
                    DmsnapError, match=r"too small for .*: 66 of its records lie past the end"
                ) as raised:
                    write()
                assert raised.value.hint.startswith("is it the right origin?")
                assert "--force" not in raised.value.hint
            for words in ([], ["--dry-run"]):
                line = dmsnap_command("merge", store, "--origin", origin, *words)
                line.is_one_clear_line("too small", "is it the right origin? nothing was changed")

    def test_of_one_that_grew_the_new_part_stays_as_it_is(self, store, origin, tmp_path):
        size = origin.stat().st_size
        dmsnap.export(store, origin, tmp_path / "before.img")
        with origin.open("ab") as file:
            file.write(b"g" * 10 * CHUNK)
        with dmsnap.open_snapshot(store, origin, "r+") as snapshot:
            assert snapshot.read() == (tmp_path / "before.img").read_bytes() + b"g" * 10 * CHUNK
        dmsnap.merge(store, origin)
        assert origin.read_bytes() == (tmp_path / "before.img").read_bytes() + b"g" * 10 * CHUNK
        assert size % CHUNK == 0

    def test_a_store_is_no_origin_to_merge_into(self, store, tmp_path, dmsnap_command, unchanged):
        other = tmp_path / "other.cow"
        dmsnap.create(other, 1 << 20)
        with unchanged(store, other):
            line = dmsnap_command("merge", store, "--origin", other)
            line.is_one_clear_line("begins as a COW store does", "SNAP and ORIGIN swapped?")

    def test_swapped_inputs_are_guessed(self, store, origin, dmsnap_command, unchanged):
        with unchanged(store, origin):
            dmsnap_command("merge", origin, "--origin", store).is_one_clear_line("SNAP and ORIGIN swapped?")


class TestStore:
    def test_of_zeros_is_not_made_a_new_one(self, origin, tmp_path, dmsnap_command, unchanged):
        zeros = tmp_path / "zeros.cow"
        zeros.write_bytes(bytes(1 << 20))
        with unchanged(zeros, origin):
            for write in ways(zeros, origin):
                with pytest.raises(DmsnapError, match="empty store") as raised:
                    write()
                assert "'dmsnap create'" in raised.value.hint
            dmsnap_command("merge", zeros, "--origin", origin).is_one_clear_line("empty store", "dmsnap create")

    def test_that_is_invalid_is_refused(self, store, origin, dmsnap_command, unchanged):
        data = bytearray(store.read_bytes())
        data[4] = 0
        store.write_bytes(data)
        with unchanged(store, origin):
            for write in ways(store, origin):
                with pytest.raises(DmsnapError, match="marked invalid"):
                    write()
            dmsnap_command("merge", store, "--origin", origin).is_one_clear_line("invalid")

    @pytest.mark.parametrize("name", REFUSED)
    def test_that_is_damaged_is_not_merged(self, name, origin, tmp_path, unchanged):
        path = tmp_path / f"{name}.cow"
        with path.open("wb") as out:
            DAMAGES[name].write(out)
        with unchanged(path, origin):
            for words in ({}, {"dry_run": True}):
                with pytest.raises(DmsnapError) as raised:
                    dmsnap.merge(path, origin, **words)
                assert raised.value.hint

    @pytest.mark.parametrize("other", ["origin", "store", "missing", "zeros"])
    def test_of_another_snapshot_is_judged_before_anything_is_written(
        self, other, store, origin, tmp_path, dmsnap_command, unchanged
    ):
        (tmp_path / "zeros").write_bytes(bytes(1 << 20))
        named = {"origin": origin, "store": store}.get(other, tmp_path / other)
        with unchanged(store, origin):
            dmsnap_command("merge", store, "--origin", origin, "--other", named).is_one_clear_line(named.name)
