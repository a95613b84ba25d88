"""Physical volumes in images: as a whole, or in their partitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dmsnap.block import BlockDevice, IOFailed
from dmsnap.block.wrap.slice import SliceDevice
from dmsnap.lvm.finding import Finding, FindingKind
from dmsnap.lvm.label import Label, read_label
from dmsnap.lvm.partitions import SECTOR_SIZES, Partition, read_partitions

__all__ = ["PhysicalVolumeImage", "find_physical_volumes"]


@dataclass(frozen=True, slots=True)
class PhysicalVolumeImage:
    """A physical volume that is there.

    Attributes:
        device: It begins where the physical volume begins: a slice of the image for a partition.
        image: The name of the image, and the partition: ``disk.img, partition 2``.
        label: What it says of itself.
    """

    device: BlockDevice
    image: str
    label: Label

    @property
    def uuid(self) -> str:
        """With its dashes."""
        return self.label.uuid

    @property
    def label_sector(self) -> int:
        """Where its label lies, 0 to 3."""
        return self.label.sector

    @property
    def size_bytes(self) -> int:
        """Of the device it was made on, which the image may contradict."""
        return self.label.size_bytes


def find_physical_volumes(devices: Iterable[BlockDevice]) -> tuple[list[PhysicalVolumeImage], list[Finding]]:
    """Returns the physical volumes in images, in the order of images and partitions, and what is odd.

    Where partitions hold physical volumes, a label of the whole image is left from before, and does not count, as LVM
    has it. Of several with one UUID the first counts. An image that cannot be read is a finding. Volumes in partitions
    are slices: they need no closing of their own, and closing one would close its image.
    """
    volumes: dict[str, PhysicalVolumeImage] = {}
    findings: list[Finding] = []
    for device in devices:
        for volume in _of_image(device, findings):
            first = volumes.setdefault(volume.uuid, volume)
            if first is not volume:
                message = f"{volume.image}: the same physical volume as {first.image}, which counts"
                findings.append(Finding(FindingKind.DUPLICATE_VOLUME, message, volume=volume.uuid, device=volume.image))
    return list(volumes.values()), findings


def _of_image(device: BlockDevice, findings: list[Finding]) -> Iterator[PhysicalVolumeImage]:
    whole, odd_label = _label(device, device.name)
    inside, odd_partitions = _in_partitions(device, lost_start=whole is None)
    if inside:
        if whole is not None:
            message = f"{device.name}: a label of {whole.uuid}, left from before it had partitions, does not count"
            findings.append(Finding(FindingKind.DAMAGED_LABEL, message, device=device.name))
        findings += odd_partitions
        yield from inside
        return
    findings += odd_label
    if whole is not None:
        yield PhysicalVolumeImage(device, device.name, whole)
    else:
        findings += odd_partitions


def _in_partitions(device: BlockDevice, *, lost_start: bool) -> tuple[list[PhysicalVolumeImage], list[Finding]]:
    """Those in the partitions by the first size of sector that shows any."""
    odd: dict[Finding, None] = {}
    sizes = sorted(SECTOR_SIZES, key=lambda size: size != device.logical_block_size_bytes)
    for sector_bytes in sizes:
        try:
            partitions, of_table = read_partitions(device, sector_bytes, lost_start=lost_start)
        except IOFailed as error:
            message = f"{device.name}: cannot be searched for partitions: {error.message}"
            odd[Finding(FindingKind.DAMAGED_PARTITIONS, message, device=device.name)] = None
            continue
        volumes, findings = [], list(of_table)
        for partition in partitions:
            part = _slice(device, partition)
            label, of_label = _label(part, part.name)
            findings += of_label
            if label is not None:
                volumes.append(PhysicalVolumeImage(part, part.name, label))
        if volumes:
            return volumes, findings
        odd.update(dict.fromkeys(findings))
    return [], list(odd)


def _label(device: BlockDevice, name: str) -> tuple[Label | None, tuple[Finding, ...]]:
    try:
        return read_label(device)
    except IOFailed as error:
        message = f"{name}: cannot be searched for a label: {error.message}"
        return None, (Finding(FindingKind.DAMAGED_LABEL, message, device=name),)


def _slice(device: BlockDevice, partition: Partition) -> SliceDevice:
    part = SliceDevice(device, partition.offset_bytes, partition.size_bytes)
    part.name = f"{device.name}, partition {partition.number}"
    return part
