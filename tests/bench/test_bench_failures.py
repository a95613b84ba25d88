"""A benchmark that cannot go on says why; what was measured before and what comes after it is still told."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"

# The benchmarks are scripts, not a package: played ones take the place of the real ones in a process of its own.
PLAYED = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import run, row, slow_disk
from dmsnap.testing.kernelvm import KernelVMUnavailable

def no_machine(*arguments, **options):
    raise KernelVMUnavailable("a slow disk needs nbdkit", hint="apt-get install nbdkit")

def child_fails(folder):
    yield row.Row("before", "1 s")
    row.in_fresh_process("one_load", folder / "none.cow", "auto")

slow_disk.kernel_load_seconds = no_machine
slow_disk.metadata_store = lambda *arguments: 0
run.BENCHMARKS = {
    "child": run.Benchmark("a process that fails", child_fails),
    "slow-disk": run.Benchmark("a machine that is not there", slow_disk.against_linux),
    "after": run.Benchmark("what comes then", lambda folder: iter([row.Row("after", "2 s")])),
}
sys.exit(run.main())
"""


def test_each_failure_is_a_row_with_its_reason(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PLAYED, str(BENCH), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, "a goal that was not measured is not met"
    assert "Traceback" not in done.stderr
    before, child, slow, after = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert (before["name"], after["name"]) == ("before", "after")
    assert child["met"] is slow["met"] is False
    assert child["figure"].startswith("not measured: ")
    assert "none.cow: no such file" in child["figure"], "what the process said, not that it failed"
    assert slow["figure"] == "not measured: a slow disk needs nbdkit (apt-get install nbdkit)"
    assert [each["benchmark"] for each in (before, child, slow, after)] == ["child", "child", "slow-disk", "after"]
    assert done.stdout == (tmp_path / "results.md").read_text()
    assert re.findall(r"^\| (\w\S+) ", done.stdout, re.MULTILINE) == ["who", "before", "child", "slow-disk", "after"]
    assert done.stdout.count("MISSED") == 2
