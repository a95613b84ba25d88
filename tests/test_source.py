"""The rules that the source keeps, checked by reading it: floors, file sizes, public surface, what is tracked."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"

# Who stands above whom; a module imports only floors before its own. `library` is the functions behind the verbs.
FLOORS = ("errors", "block", "bufio", "store", "target", "lvm", "maintenance", "transfer", "serve", "library", "cli")
LARGEST_FILE_LINES = 400
# Third-party packages and the only places that may import them (None: where it is used, inside a function).
THIRD_PARTY = {
    "numpy": ("store", "target", "lvm", "maintenance", "transfer", "testing", "library"),
    "click": ("cli",),
    "rich": (),
    "pytest": ("testing",),
    "hypothesis": ("testing",),
}

MODULES = sorted(SOURCE.rglob("*.py"))
PYTHON_FILES = sorted(
    path for folder in ("src", "tests", "bench", "fuzz") for path in (ROOT / folder).rglob("*.py") if path.is_file()
)


def dotted(path: Path) -> str:
    """``src/dmsnap/store/format.py`` is ``dmsnap.store.format``."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def short(path: Path) -> str:
    """A path as a test's name."""
    return str(path.relative_to(ROOT))


def imports(tree: ast.AST, *, package: str) -> Iterator[tuple[str, int]]:
    """Yields every module named by an import below ``tree``, absolute, with its line; type-only ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            yield base, node.lineno
            # `from dmsnap import target` names a floor too
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names if base == "dmsnap")


def at_import_time(tree: ast.Module) -> ast.Module:
    """The part of a module that runs when it is imported: no function bodies, nothing under TYPE_CHECKING."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)

    stripped = Strip().visit(tree)
    assert isinstance(stripped, ast.Module)
    return stripped


def package_of(path: Path) -> str:
    """The package that relative imports of a module start from."""
    return dotted(path) if path.name == "__init__.py" else dotted(path).rpartition(".")[0]


def floor_of(module: str) -> str | None:
    """``dmsnap.store.format`` is on floor ``store``; ``dmsnap`` itself and foreign modules are on none."""
    parts = module.split(".")
    return parts[1] if parts[0] == "dmsnap" and len(parts) > 1 else None


# -- floors -----------------------------------------------------------------------------------------------------------


def test_every_part_of_the_package_is_a_floor() -> None:
    parts = {dotted(path).split(".")[1] for path in MODULES if dotted(path) != "dmsnap"}
    assert parts <= {*FLOORS, "testing", "__main__"}


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_imports_only_go_down(path: Path) -> None:
    floor = floor_of(dotted(path))
    if floor in (None, "testing", "__main__"):
        return
    below = FLOORS[: FLOORS.index(floor) + 1]
    wrong = [
        f"line {line}: {module}"
        for module, line in imports(ast.parse(path.read_text("utf-8")), package=package_of(path))
        if (other := floor_of(module)) is not None
        and other not in below
        and not (floor == "cli" and module.startswith("dmsnap."))
    ]
    assert not wrong, f"{floor} may import {below} only"


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_nobody_but_testing_imports_testing(path: Path) -> None:
    if floor_of(dotted(path)) == "testing":
        return
    named = [name for name, _ in imports(ast.parse(path.read_text("utf-8")), package=package_of(path))]
    assert not [name for name in named if floor_of(name) == "testing"]


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_third_party_packages_are_imported_where_they_belong(path: Path) -> None:
    tree = at_import_time(ast.parse(path.read_text("utf-8")))
    for module, line in imports(tree, package=package_of(path)):
        top = module.split(".")[0]
        if top in sys.stdlib_module_names or top == "dmsnap":
            continue
        assert top in THIRD_PARTY, f"line {line}: {top} is not among the dependencies"
        assert floor_of(dotted(path)) in THIRD_PARTY[top], f"line {line}: import {top} inside the function that uses it"


def test_the_floor_check_sees_a_wrong_import() -> None:
    tree = ast.parse("def f():\n    from ..target import snapshot\n    from dmsnap import cli\n")
    named = [module for module, _ in imports(tree, package="dmsnap.store")]
    assert [floor_of(module) for module in named] == ["target", None, "cli"]


# -- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PYTHON_FILES, ids=short)
def test_no_file_is_longer_than_one_concept(path: Path) -> None:
    lines = path.read_text("utf-8").count("\n")
    assert lines <= LARGEST_FILE_LINES


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


# -- public surface ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_every_module_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), "no docstring"
    if path.name == "__init__.py" and len(tree.body) > 1:
        assert any(isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__" for node in tree.body)


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "__main__.py"], ids=short)
def test_public_names_exist(path: Path) -> None:
    module = importlib.import_module(dotted(path))
    assert [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)] == []


def explained_in_a_base(path: Path, node: ast.ClassDef, member: str) -> bool:
    """Tells whether a member overrides one that has a docstring."""
    if not node.bases:
        return False
    bases = getattr(importlib.import_module(dotted(path)), node.name, object).__mro__[1:-1]
    return any(vars(base).get(member) is not None and vars(base)[member].__doc__ for base in bases)


def test_an_override_is_explained_in_its_base_and_nothing_else_is() -> None:
    path = SOURCE / "dmsnap/block/memory.py"
    (node,) = ast.parse("class MemoryDevice(BlockDevice): ...").body
    assert isinstance(node, ast.ClassDef)
    assert explained_in_a_base(path, node, "read_into")
    assert not explained_in_a_base(path, node, "of_no_base")


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_public_functions_and_methods_are_explained(path: Path) -> None:
    bare = []
    tree = ast.parse(path.read_text("utf-8"))
    for node in (tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))):
        for child in node.body:
            if not isinstance(child, ast.FunctionDef | ast.ClassDef) or child.name.startswith("_"):
                continue
            inherits = isinstance(node, ast.ClassDef) and explained_in_a_base(path, node, child.name)
            test = child.name.startswith("test_")  # of a contract: its name is the sentence
            setter = any(ast.unparse(mark).endswith((".setter", "overload")) for mark in child.decorator_list)
            private = isinstance(node, ast.ClassDef) and node.name.startswith("_")
            if not (ast.get_docstring(child) or inherits or test or setter or private):
                bare.append(f"{child.name} (line {child.lineno})")
    assert not bare


def test_the_library_is_what_the_readme_promises() -> None:
    import dmsnap

    assert sorted(dmsnap.__all__) == [
        "CheckReport",
        "CompactResult",
        "DmsnapError",
        "MergeResult",
        "MountedSnapshot",
        "Prediction",
        "RepairReport",
        "RestoreResult",
        "Serving",
        "Simulation",
        "SnapshotFile",
        "StoreInfo",
        "StoreSizes",
        "Trace",
        "TuneResult",
        "VolumeListing",
        "WritableSnapshotFile",
        "check",
        "compact",
        "create",
        "diff",
        "dump",
        "export",
        "info",
        "list_volumes",
        "map_changes",
        "merge",
        "mount",
        "open_snapshot",
        "predict",
        "repair",
        "restore",
        "serve",
        "simulate",
        "status",
        "store_sizes",
        "table",
        "tune",
    ]


def test_importing_the_library_is_light() -> None:
    code = "import sys, dmsnap; sys.exit(any(m in sys.modules for m in ('numpy', 'click', 'rich', 'dmsnap.library')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_listing_small_groups_does_without_numpy() -> None:
    code = "import sys, dmsnap.library.volumes.listing, dmsnap.lvm.text; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- what is tracked --------------------------------------------------------------------------------------------------


def tracked_files() -> list[Path]:
    """The files under version control, or (from an unpacked archive) none."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    return [ROOT / name for name in listing.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    # Written so that this file does not match itself.
    patterns = [
        r"/wor[k]/", r"/hom[e]/\w", r"/roo[t]/", r"/tm[p]/venv", r"/far[m]\b", r"/User[s]/\w",
        r"pypi[.]org", r"files[.]pythonhosted", r"registry[.]npmjs", r"deb[.]debian[.]org", r"proxy[.]golang",
    ]  # fmt: skip
    forbidden = re.compile("|".join(patterns), re.IGNORECASE)
    found = []
    for path in tracked_files():
        data = path.read_bytes()
        if b"\0" in data[:8192]:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if forbidden.search(line):
                found.append(f"{short(path)}:{number}: {line.strip()[:80]}")
    assert not found


def test_tracked_files_are_small() -> None:
    assert not [short(path) for path in tracked_files() if path.stat().st_size > 200 * 1024]


# -- verbs ------------------------------------------------------------------------------------------------------------


def test_every_verb_has_a_module_help_and_a_test() -> None:
    from dmsnap.cli.registry import VERBS

    modules = {path.stem for path in (SOURCE / "dmsnap/cli/verbs").glob("*.py")} - {"__init__"}
    assert {verb.module for verb in VERBS.values()} == {f"dmsnap.cli.verbs.{name}" for name in modules}
    for name, verb in VERBS.items():
        assert verb.help, f"no help for {name}"
        assert not verb.help.endswith(".")
        assert (ROOT / f"tests/cli/test_{name}_verb.py").is_file(), f"no tests/cli/test_{name}_verb.py"
        command = importlib.import_module(verb.module).command
        assert command.name == name
        assert command.help
