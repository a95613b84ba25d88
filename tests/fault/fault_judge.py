"""What Linux does when a request fails, and whether a run did so: who sees the error, and who is invalidated.

The rules are those of Linux dm-snapshot. Whoever writes to the origin never hears of a snapshot's failure. A snapshot
is lost when a copy cannot be made or a record not be written. An error of a read, of a write in place, of a flush or of
a discard goes to whoever asked, and changes nothing. Where the host has no room, which no kernel knows, nobody is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import pytest

from dmsnap.block import IOFailed, OutOfRoom
from dmsnap.block.wrap.fault import Request
from dmsnap.store import open_store
from dmsnap.store.writable import PersistentStore
from dmsnap.target.writable_snapshot import WritableSnapshot
from dmsnap.testing.fault_run import ORIGIN, FaultRun, SnapshotPlan, Step, filling
from dmsnap.testing.snapshot_model import ModelOrigin, ModelSnapshot
from dmsnap.testing.store_builder import data_chunks

SECTOR = 512
CHANGES = ("write", "zero", "discard")


class Judge:
    """Goes along with a run, step by step.

    Args:
        run: The run, nothing of which was done yet.
        plans: Its snapshots.
        sync: Their sync mode.
    """

    def __init__(self, run: FaultRun, plans: dict[str, SnapshotPlan], sync: str) -> None:
        self.run, self.plans, self.sync = run, plans, sync
        content = bytes(run.disk.read_at(0, run.disk.size_bytes))
        self.origin = ModelOrigin(content)
        self.models = {
            name: ModelSnapshot(content, plan.kind, plan.chunk_sectors * SECTOR, run.media[name].size_bytes)
            for name, plan in plans.items()
        }
        self.unsure: dict[str, set[int]] = {name: set() for name in plans}  # chunks whose records are not durable

    def follow(self, steps: Sequence[Step], *, again: bool = False) -> None:
        """Carries out a program and judges each step; ``again`` repeats the one that failed."""
        for number, step in enumerate(steps):
            self._one(number, step)
            if again and self.run.failed_in == number:
                self._one(number, step)
        for name, snapshot in self.run.snapshots.items():
            self._judge_what_is_found(name, snapshot)

    # -- what should come of a step -----------------------------------------------------------------------------------

    def _one(self, number: int, step: Step) -> None:
        models, origin, unsure = deepcopy((self.models, self.origin, self.unsure))
        asked, spent = len(self.run.asked), self.run.failed_in is not None
        error = self.run.do(number, step)
        fails = not self._go_on(number, step)
        new = bytes(self._holder(step).content)
        if self.run.failed_in == number and not spent:
            [(owner, request)] = [
                (owner, request)
                for owner, request, _ in self.run.asked[asked:]
                if (owner, request.op, request.number) == self.run.failure
            ]
            fails = self._fail(step, owner, request, (models, origin, unsure)) or fails
        assert (error is not None) == fails, f"{step}: {error}"
        if error is not None and step.action in CHANGES:
            old = (origin if step.device == ORIGIN else models[step.device]).content
            self._settle(step, old, new)
        self._judge_state(step)

    def _holder(self, step: Step) -> ModelOrigin | ModelSnapshot:
        return self.origin if step.device == ORIGIN else self.models[step.device]

    def _go_on(self, number: int, step: Step) -> bool:
        """Takes a step in the model; says whether it succeeds."""
        offset, length = step.sector * SECTOR, step.sectors * SECTOR
        data = filling(number, step.sectors) if step.action == "write" else bytes(length)
        if step.device != ORIGIN:
            return self._go_on_in_snapshot(step, offset, data)
        if step.action in CHANGES:
            for name, model in self.models.items():
                had = set(model.chunks)
                model.keep(offset, offset + length)
                touched = range(offset // model.chunk_bytes, -(-(offset + length) // model.chunk_bytes))
                if set(model.chunks) - had or self.unsure[name].intersection(touched):
                    self.unsure[name].clear()
            self.origin.content[offset : offset + length] = data
        return True

    def _go_on_in_snapshot(self, step: Step, offset: int, data: bytes) -> bool:
        name, model = step.device, self.models[step.device]
        if step.action == "read":
            return not model.invalid
        if step.action == "discard":
            return model.discard(offset, offset + len(data))
        if step.action == "flush":
            self.unsure[name].clear()
            return True
        had = set(model.chunks)
        well = model.write(offset, data)
        if self.sync == "flush" and model.kind != "N":
            self.unsure[name] |= set(model.chunks) - had
        return well

    def _fail(self, step: Step, owner: str, request: Request, before: tuple) -> bool:
        """Takes a failure in the model, where the step is done already; says whether the step fails."""
        models, _, unsure = before
        if step.action in ("read", "discard"):
            return True
        own = owner == step.device and request.op in ("write", "zero")
        if own and (owner == ORIGIN or self._is_in_place(owner, request, models[owner].chunks)):
            return True
        if self._lacks_room(owner, request):
            if self.models[owner].invalid and not self.run.snapshots[owner].exceptions.valid:
                return step.device != ORIGIN  # lost for another reason: it was the store that was to be marked
            self.models, self.unsure = models, unsure
            self._keep_what_was_copied(step, owner)
            return True
        if step.action == "flush":
            if step.device != ORIGIN and unsure[step.device]:
                self.models[step.device].invalid = True
            return True
        if owner != ORIGIN:
            self.models[owner].invalid = True
        elif step.device != ORIGIN:
            self.models[step.device].invalid = True
        else:
            [lost] = [name for name, each in self.run.snapshots.items() if not each.exceptions.valid]
            self.models[lost].invalid = True
        return step.device != ORIGIN

    def _lacks_room(self, owner: str, request: Request) -> bool:
        """Whether this is what the host has no room for: a flush that fails for it has lost what it should keep."""
        return self.run.error is OutOfRoom and owner != ORIGIN and request.op in ("write", "zero")

    def _keep_what_was_copied(self, step: Step, owner: str) -> None:
        """Lets the model know which snapshots had their copies before another's host had no room."""
        for name, model in self.models.items():
            table = self.run.snapshots[name].store.table
            held = {chunk for chunk in range(len(model.content) // model.chunk_bytes + 1) if table.lookup(chunk)}
            if step.device == ORIGIN or name == owner:
                model.chunks += sorted(held - set(model.chunks))

    def _is_in_place(self, name: str, request: Request, chunks: list[int]) -> bool:
        """Whether a write to the COW device goes to copies that were there before."""
        plan = self.plans[name]
        at = request.offset // (plan.chunk_sectors * SECTOR)
        if plan.kind == "N":
            return at < len(chunks)
        return at in data_chunks(len(chunks), plan.chunk_sectors).tolist()

    # -- what did -----------------------------------------------------------------------------------------------------

    def _settle(self, step: Step, old: bytearray, new: bytes) -> None:
        """Takes a range that a write failed in as it is, if each sector of it is either old or new."""
        model = self._holder(step)
        if isinstance(model, ModelSnapshot) and model.invalid:
            return
        device = self.run.disk if step.device == ORIGIN else self.run.snapshots[step.device]
        with self.run.at_rest():
            now = device.read_at(0, len(model.content))
        for at in range(step.sector * SECTOR, (step.sector + step.sectors) * SECTOR, SECTOR):
            held = now[at : at + SECTOR]
            assert held in (old[at : at + SECTOR], new[at : at + SECTOR]), f"{step}: sector {at // SECTOR} is neither"
            model.content[at : at + SECTOR] = held

    def _judge_state(self, step: Step) -> None:
        assert self.run.disk.read_at(0, self.run.disk.size_bytes) == self.origin.content, step
        for name, snapshot in self.run.snapshots.items():
            model = self.models[name]
            assert str(snapshot.status()) == model.status, (step, name)
            if not model.invalid:
                with self.run.at_rest():
                    assert snapshot.read_at(0, len(model.content)) == model.content, (step, name)

    def _judge_what_is_found(self, name: str, snapshot: WritableSnapshot) -> None:
        """A new process finds the same on the devices; in commit mode without another flush."""
        model = self.models[name]
        if model.kind == "N":
            return
        with self.run.at_rest():
            if self.sync == "flush":
                snapshot.flush()
            store = open_store(self.run.media[name])
            if model.invalid and store.valid:
                self._judge_unmarked(store, model)
                return
            assert store.valid != model.invalid, name
            found = WritableSnapshot(self.run.disk, PersistentStore(store))
            if model.invalid:
                with pytest.raises(IOFailed):
                    found.read_at(0, SECTOR)
                return
            assert not store.findings
            assert found.read_at(0, len(model.content)) == model.content, name

    def _judge_unmarked(self, store: object, model: ModelSnapshot) -> None:
        """A store whose header could not be written stays valid, as in Linux, but not once the origin changes."""
        failure = self.run.failure
        assert failure is not None
        assert failure.op in ("write", "zero")
        request = next(r for owner, r, _ in self.run.asked if (owner, r.op, r.number) == failure)
        assert request.offset == 0, "only the header's own write may leave a store unmarked"
        found = WritableSnapshot(self.run.disk, PersistentStore(store))
        assert found.read_at(0, len(model.content)) == model.content
