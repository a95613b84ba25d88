"""Handing devices out to other programs: NBD, FUSE, nbdkit, and numbers for Prometheus.

The package can also be called: ``dmsnap.serve(["a.cow"], origin="o.img")`` is the library's function of that name, one
floor above. A function in its place would vanish from ``dmsnap`` once anything imports ``dmsnap.serve.nbd``, as that
binds the package to the name.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__all__ = ()


class _CallablePackage(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """As `dmsnap.library.serving.serve`."""
        return importlib.import_module("dmsnap.library.serving").serve(*arguments, **options)


sys.modules[__name__].__class__ = _CallablePackage
