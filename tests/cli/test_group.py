"""The command as a whole: light help, versions, wrong verbs, completion, ends that nobody planned."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys

import pytest

from dmsnap.cli import main
from dmsnap.cli.registry import VERBS, Verb

HELP_LIMIT_SECONDS = 0.2


def test_help_lists_every_verb_with_its_help(run) -> None:
    process = run("--help")
    assert process.returncode == 0
    for name, verb in VERBS.items():
        assert f"  {name}" in process.stdout
        assert verb.help in " ".join(process.stdout.split())


def test_help_imports_no_verb_and_nothing_heavy() -> None:
    code = (
        "import sys; from dmsnap.cli import main; status = main(['--help'])\n"
        "names = ('numpy', 'rich', 'dmsnap.store', 'dmsnap.cli.verbs')\n"
        "heavy = [module for module in sys.modules if module.startswith(names)]\n"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_needs_no_numpy(verb: str) -> None:
    code = (
        "import sys; from dmsnap.cli import main; status = main(sys.argv[1:])\n"
        "sys.exit('imported numpy' if 'numpy' in sys.modules else status)"
    )
    process = subprocess.run([sys.executable, "-c", code, verb, "-h"], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")


def test_help_is_quick() -> None:
    """Counted is processor time, and the best of some runs: the rest is how busy the machine is."""
    best = float("inf")
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "dmsnap", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if best < HELP_LIMIT_SECONDS:
            return
    pytest.fail(f"took {best:.3f} s at best")


def test_nothing_said_is_answered_with_the_help_on_stderr(run) -> None:
    process = run()
    assert (process.returncode, process.stdout) == (2, "")
    assert "Verbs:" in process.stderr


def test_version(run) -> None:
    process = run("--version")
    assert process.returncode == 0
    assert process.stdout.startswith("dmsnap 0.")


def test_a_mistyped_verb_gets_the_nearest_as_a_hint(run) -> None:
    process = run("exprot")
    assert process.returncode == 2
    assert process.stderr == "dmsnap: no such verb 'exprot'; did you mean 'export'? (hint: try 'dmsnap --help')\n"


@pytest.mark.parametrize("arguments", [["map", "--origin"], ["map", "--orign", "x"], ["map"]])
def test_usage_errors_of_a_verb_name_its_help(run, arguments: list[str]) -> None:
    process = run(*arguments)
    assert process.returncode == 2
    assert process.stderr.endswith(" (hint: try 'dmsnap map --help')\n")


def test_usage_errors_of_a_verb_of_lvm_name_its_help(run) -> None:
    assert run("lvm", "size", "--chunk-size").stderr.endswith(" (hint: try 'dmsnap lvm size --help')\n")


def test_a_verb_nothing_like_ours_is_pointed_to_the_list(run) -> None:
    process = run("\x1b[31m")
    assert process.returncode == 2
    assert "lists the verbs" in process.stderr
    assert "\x1b" not in process.stderr


def test_shells_complete_verbs() -> None:
    environment = os.environ | {"_DMSNAP_COMPLETE": "bash_complete", "COMP_WORDS": "dmsnap ex", "COMP_CWORD": "1"}
    process = subprocess.run(
        [sys.executable, "-m", "dmsnap"], env=environment, capture_output=True, text=True, check=False
    )
    assert process.stdout == "plain,export\n"


class Fails:
    """A verb whose command raises whatever it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, error: BaseException, *options: str) -> int:
        import click

        def command() -> None:
            raise error

        module = type(sys)("dmsnap_failing_verb")
        module.command = click.command("fail")(command)  # type: ignore[attr-defined]
        self._monkeypatch.setitem(sys.modules, module.__name__, module)
        self._monkeypatch.setitem(VERBS, "fail", Verb(module.__name__, "Fail"))
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            return main([*options, "fail"])
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Fails:
    """Runs a verb that raises."""
    return Fails(monkeypatch)


def test_a_bug_is_one_line_too(fails: Fails, capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(ZeroDivisionError("division\nby zero")) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "dmsnap: unexpected ZeroDivisionError: division\\nby zero"
        " (hint: this is a bug in dmsnap; --debug shows where)\n"
    )


def test_debug_shows_where_a_bug_is(fails: Fails, capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(ZeroDivisionError("here"), "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KeyboardInterrupt(), "dmsnap: interrupted"),
        (MemoryError(), "dmsnap: out of memory"),
        (PermissionError(13, "Permission denied", "a\nb"), "dmsnap: a\\nb: Permission denied"),
    ],
    ids=["interrupt", "memory", "system"],
)
def test_other_ends(error: BaseException, line: str, fails: Fails, capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(error) == 1
    assert capsys.readouterr().err == line + "\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_as_an_interrupt_does(number: signal.Signals) -> None:
    process = killed_by_itself(number)
    assert (process.returncode, process.stderr) == (1, "dmsnap: interrupted\n")


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    process = killed_by_itself(signal.SIGHUP, "signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_ends_is_not_interrupted_again(number: signal.Signals) -> None:
    process = killed_by_itself(signal.SIGINT, after=f"os.kill(os.getpid(), {int(number)})")
    assert (process.returncode, process.stderr) == (1, "dmsnap: interrupted\n")


def test_an_interrupt_while_python_still_imports_is_one_line() -> None:
    code = (
        "import sys\n"
        "from dmsnap.cli import main\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'click': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "sys.exit(main(['--help']))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (1, "dmsnap: interrupted\n")


def killed_by_itself(number: signal.Signals, before: str = "", after: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a verb that sends a signal to itself."""
    code = (
        "import os, signal, sys, click\n"
        "from dmsnap.cli.registry import VERBS, Verb\n"
        "from dmsnap.cli import main\n"
        "module = type(sys)('suicide'); sys.modules['suicide'] = module\n"
        f"module.command = click.command('die')(lambda: os.kill(os.getpid(), {int(number)}))\n"
        "VERBS['die'] = Verb('suicide', 'Die')\n"
        f"{before}\n"
        "status = main(['die'])\n"
        f"{after}\n"
        "sys.exit(status)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
