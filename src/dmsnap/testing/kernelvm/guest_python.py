"""What of this machine's Python goes into the guest: the interpreter and the part of its library that guests use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["GUEST_MODULES", "guest_python_files"]

GUEST_MODULES = (
    *("__future__", "collections.abc", "contextlib", "errno", "fcntl", "json", "mmap", "os", "re"),
    *("struct", "time", "typing", "zipimport", "zlib"),
)
"""Modules of the standard library that a program in the guest may import, with all they import themselves."""

_LIST_FILES = """
import {modules}, os, sys
library = os.path.dirname(os.__file__)
for name, module in list(sys.modules.items()):
    by_name = os.path.join(library, *name.split(".")) + ".py"  # some frozen modules go by another's name
    for path in (getattr(module, "__file__", None), getattr(module, "__cached__", None), by_name):
        if path:
            print(path)
"""


def guest_python_files() -> tuple[Path, list[Path]]:
    """Returns the interpreter and the files of its library, all of which keep their paths in the guest.

    Compiled files come along where there are any: an emulated machine takes seconds to compile the library.
    """
    interpreter = Path(os.path.realpath(sys.executable))
    code = _LIST_FILES.format(modules=", ".join(GUEST_MODULES))
    listing = subprocess.run(  # noqa: S603 - a fixed program
        [interpreter, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    ).stdout
    return interpreter, [path for path in sorted(set(map(Path, listing.splitlines()))) if path.is_file()]
