"""The sample that `dmsnap demo` opens: a store that a real Linux kernel wrote, and what that kernel said of it."""

from dmsnap.cli.sample.notebook import KernelWords, Notebook

__all__ = ["KernelWords", "Notebook"]
