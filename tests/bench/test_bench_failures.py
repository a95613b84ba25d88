"""A benchmark that cannot go on says why; what was measured before and what comes after it is still told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"

# The benchmarks are scripts, not a package: played ones take the place of the real ones in a process of its own.
PLAYED = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import loading, run, row
from dmsnap.testing.kernelvm import KernelVMUnavailable, load_time

def no_machine(*arguments, **options):
    raise KernelVMUnavailable("a slow disk needs nbdkit", hint="apt-get install nbdkit")

def child_fails(folder):
    yield row.Row("before", "1 s")
    row.in_fresh_process("one_load", folder / "none.cow", "auto")

load_time.kernel_load_seconds = no_machine
loading.metadata_store = lambda *arguments: None
run.BENCHMARKS = {
    "child": child_fails, "slow-disk": loading.from_slow_disk, "after": lambda folder: iter([row.Row("after", "2 s")])
}
sys.exit(run.main())
"""


def test_each_failure_is_a_row_with_its_reason(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    command = [sys.executable, "-c", PLAYED, str(BENCH), "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, "a goal that was not measured is not met"
    assert "Traceback" not in done.stderr
    before, child, slow, after = json.loads(out.read_text())["rows"]
    assert (before["name"], after["name"]) == ("before", "after")
    assert child["met"] is slow["met"] is False
    assert child["figure"].startswith("not measured: ")
    assert "none.cow: no such file" in child["figure"], "what the process said, not that it failed"
    assert slow["figure"] == "not measured: a slow disk needs nbdkit (apt-get install nbdkit)"
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["before", "child", "slow-disk", "after"]
