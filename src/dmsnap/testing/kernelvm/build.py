"""Builds the guest: Debian's cloud kernel and an initramfs of this machine's own programs, once, in a cache.

The kernel comes from ``apt-get download`` and is unpacked, never installed; nothing here needs root. What the build
itself needs installed is `APT_PACKAGES`.
"""

from __future__ import annotations

import fcntl
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from dmsnap.errors import DmsnapError
from dmsnap.testing.kernelvm.guest_python import GUEST_MODULES, guest_python_files

__all__ = [
    "APT_PACKAGES",
    "REQUIRED_TOOLS",
    "KernelVMUnavailable",
    "Machine",
    "cache_folder",
    "find_program",
    "only_one",
    "prepare",
]

APT_PACKAGES = (
    *(
        "qemu-system-x86",
        "busybox-static",
        "cpio",
        "kmod",
        "mount",
        "dmsetup",
        "lvm2",
        "e2fsprogs",
        "xfsprogs",
        "nbdkit",
    ),
)
"""Debian packages with every program that building and running the machine (and `load_time`) takes."""

REQUIRED_TOOLS = (
    "apt-cache",
    "apt-get",
    "busybox",
    "cpio",
    "depmod",
    "dmsetup",
    "dpkg-deb",
    "ldd",
    "losetup",
    "lvm",
    "mke2fs",
    "mkfs.xfs",
    "qemu-system-x86_64",
)

_KERNEL_METAPACKAGE = "linux-image-cloud-amd64"
_GUEST_PROGRAMS = ("busybox", "dd", "dmsetup", "lvm", "blockdev", "losetup", "mke2fs", "e2fsck", "mkfs.xfs")
_KERNEL_MODULES = (
    *("virtio_pci", "virtio_blk", "loop", "nbd", "brd", "ext4", "crc32c_generic"),
    *("dm-mod", "dm-bufio", "dm-snapshot", "dm-zero", "dm-delay", "dm-flakey", "dm-log-writes"),
    *("dm-mirror", "dm-raid", "raid0", "raid1", "dm-thin-pool", "dm-cache", "dm-cache-smq", "xfs"),
)
_RECIPE = 2
"""Raised when this file changes what is built in a way that its constants do not show."""


class KernelVMUnavailable(DmsnapError):
    """The machine cannot be built here: a program is missing, or the kernel package cannot be had."""


class Machine(NamedTuple):
    """A built guest.

    Attributes:
        kernel: The kernel image.
        initramfs: Its initramfs, whose first program is ``guest_init.sh``.
        kernel_version: As in ``uname -r``.
    """

    kernel: Path
    initramfs: Path
    kernel_version: str


def cache_folder() -> Path:
    """Where the guest is kept: ``$DMSNAP_KERNELVM_CACHE``, or a folder named by content in the user's cache."""
    if override := os.environ.get("DMSNAP_KERNELVM_CACHE"):
        return Path(override)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    recipe = repr((_RECIPE, _KERNEL_METAPACKAGE, _GUEST_PROGRAMS, _KERNEL_MODULES, GUEST_MODULES, _guest_init()))
    return base / "dmsnap" / f"kernelvm-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"


@contextmanager
def only_one(purpose: str) -> Iterator[None]:
    """Lets one process of this user at a time do ``purpose`` (``build``, ``boot``); the others wait."""
    folder = cache_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f"{folder.name}.{purpose}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare() -> Machine:
    """Returns the guest, building it first where the cache has none.

    The build happens in a temporary folder that is renamed when whole, so that neither an interrupted nor a
    concurrent build can leave half a machine.

    Raises:
        KernelVMUnavailable: With what is missing.
    """
    folder = cache_folder()
    if not folder.is_dir():
        with only_one("build"):
            if not folder.is_dir():
                _build(folder)
    return Machine(folder / "vmlinuz", folder / "initramfs", (folder / "kernel-version").read_text().strip())


def _build(folder: Path) -> None:
    if missing := [name for name in REQUIRED_TOOLS if find_program(name) is None]:
        raise KernelVMUnavailable(
            f"the kernel machine needs {', '.join(missing)}", hint=f"apt-get install {' '.join(APT_PACKAGES)}"
        )
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.new-") as temporary:
        work = Path(temporary)
        version, tree = _unpack_kernel(work)
        root = work / "root"
        _make_root(root, tree / "lib" / "modules" / version, version)
        whole = work / "whole"
        whole.mkdir()
        (whole / "kernel-version").write_text(version + "\n")
        shutil.copyfile(tree / "boot" / f"vmlinuz-{version}", whole / "vmlinuz")
        (whole / "initramfs").write_bytes(_archive(root))  # unpacking a compressed one costs more than reading it
        whole.rename(folder)


def _unpack_kernel(work: Path) -> tuple[str, Path]:
    depends = _run(["apt-cache", "depends", _KERNEL_METAPACKAGE])
    match = re.search(r"Depends: linux-image-(\S+)", depends)
    if match is None:
        raise KernelVMUnavailable(f"apt knows no {_KERNEL_METAPACKAGE}", hint="run `apt-get update` on Debian")
    version = match.group(1)
    download, tree = work / "package", work / "tree"
    download.mkdir()
    download.chmod(0o777)  # apt drops to a user of its own for downloads
    work.chmod(0o755)
    _run(["apt-get", "download", "-qq", f"linux-image-{version}"], cwd=download)
    (package,) = download.glob("*.deb")
    _run(["dpkg-deb", "-x", str(package), str(tree)])
    return version, tree


def _make_root(root: Path, modules: Path, version: str) -> None:
    for name in ("bin", "sbin", "proc", "sys", "dev", "mnt", "tmp", "run", "etc", "var/lib"):
        (root / name).mkdir(parents=True)
    init = root / "init"
    init.write_text(_guest_init())
    init.chmod(0o755)
    for program in _GUEST_PROGRAMS:
        _install_program(root, program)
    _install_python(root)
    mke2fs_settings = Path("/etc/mke2fs.conf")
    if mke2fs_settings.exists():
        shutil.copyfile(mke2fs_settings, root / "etc" / "mke2fs.conf")
    _install_modules(root, modules, version)


def _install_program(root: Path, name: str) -> None:
    found = find_program(name)
    if found is None:
        raise KernelVMUnavailable(f"the kernel machine needs {name}")
    shutil.copy(os.path.realpath(found), root / ("bin" if name == "busybox" else "sbin") / name)
    _install_libraries(root, found)


def _install_python(root: Path) -> None:
    interpreter, library = guest_python_files()
    for file in (interpreter, *library):
        _install_file(root, file)
        if file == interpreter or ".so" in file.suffixes:
            _install_libraries(root, file)
    (root / "sbin" / "python3").symlink_to(interpreter)


def _install_libraries(root: Path, program: str | Path) -> None:
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout  # noqa: S603, S607
    for library in re.findall(r"(?:=>\s+|^\s+)(/\S+)", linked, re.MULTILINE):
        _install_file(root, Path(library))


def _install_file(root: Path, file: Path) -> None:
    """Copies a file to the same path in the guest, with its time, which compiled Python files are checked against."""
    target = root / file.relative_to("/")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(os.path.realpath(file), target)


def _install_modules(root: Path, modules: Path, version: str) -> None:
    """Copies the wanted modules and all they depend on, unpacked, since newer Debian packages compress them."""
    target = root / "lib" / "modules" / version
    target.mkdir(parents=True)
    for listing in modules.glob("modules.builtin*"):
        shutil.copy(listing, target)
    shutil.copy(modules / "modules.order", target)
    _run(["depmod", "-b", str(modules.parents[2]), version])
    for relative in _with_dependencies((modules / "modules.dep").read_text(), _KERNEL_MODULES):
        content = (modules / relative).read_bytes()
        if relative.endswith(".xz"):
            relative, content = relative.removesuffix(".xz"), lzma.decompress(content)
        copy = target / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    _run(["depmod", "-b", str(root), version])


def _with_dependencies(modules_dep: str, wanted: Iterable[str]) -> list[str]:
    """Returns the files of the ``wanted`` modules and of their dependencies; one built in has no file."""
    needs = {line.partition(":")[0]: line.partition(":")[2].split() for line in modules_dep.splitlines()}
    by_name = {Path(path).name.partition(".ko")[0].replace("-", "_"): path for path in needs}
    files = [by_name[name.replace("-", "_")] for name in wanted if name.replace("-", "_") in by_name]
    return sorted({file for path in files for file in (path, *needs[path])})


def _archive(root: Path) -> bytes:
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    return subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet", "--reproducible"],  # noqa: S607
        cwd=root,
        input=names.encode(),
        capture_output=True,
        check=True,
    ).stdout


def _guest_init() -> str:
    return resources.files(__package__).joinpath("guest_init.sh").read_text()


def find_program(name: str) -> str | None:
    """Returns the path of a program, looking also where only root does."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _run(command: list[str], cwd: Path | None = None) -> str:
    program = find_program(command[0])
    try:
        return subprocess.run(  # noqa: S603 - fixed commands
            [program or command[0], *command[1:]], cwd=cwd, capture_output=True, text=True, check=True, timeout=600
        ).stdout
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise KernelVMUnavailable(f"{command[0]} failed: {said.strip().splitlines()[-1]}") from error
