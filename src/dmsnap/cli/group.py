"""The click group: verbs that load when used, and the state of one invocation."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from dmsnap.cli.registry import VERBS, Verb
from dmsnap.errors import DmsnapError

__all__ = ["Interrupted", "Invocation", "debug_option", "dmsnap"]


@dataclass(slots=True)
class Invocation:
    """What one run of the command carries from its options to its end.

    Attributes:
        debug: Show the traceback of an error.
    """

    debug: bool = False


def _set_debug(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Invocation).debug = True


debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_set_debug, help="Show the traceback of an error."
)
"""``--debug``, which the group and every verb take, so that it can simply be added at the end of a line that failed."""


def _show_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"dmsnap {version('dmsnap')}")
    context.exit()


class Interrupted(DmsnapError):
    """Ctrl-C, SIGTERM or SIGHUP."""


class LazyGroup(click.Group):
    """A group whose commands are modules, each imported when it runs or shows its own help.

    Args:
        *args: As click's.
        verbs: The commands by name.
        **keywords: As click's.
    """

    def __init__(self, *args: Any, verbs: Mapping[str, Verb] = VERBS, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The verbs, in the order of the registry."""
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Imports and returns a verb, or None if there is no such verb."""
        verb = self._verbs.get(cmd_name)
        if verb is None:
            return None
        command = importlib.import_module(verb.module).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the nearest verb as a hint."""
        if args and args[0] not in self._verbs and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], self._verbs, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"'{ctx.command_path} --help' lists the verbs"
            raise click.UsageError(f"no such verb '{args[0]}'; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """As click's, but for Ctrl-C, of which click would print an empty line; a verb may say what it means."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            if sys.stderr is not None and sys.stderr.isatty():
                click.echo(err=True)  # the terminal shows ^C there
            raise Interrupted(str(error) or "interrupted") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Lists the verbs from the registry alone."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.help + ".") for name, verb in self._verbs.items()])


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="VERB [ARGS]...",
    epilog="'dmsnap VERB --help' explains a verb. Exit status: 0 done, 1 failed, 2 wrong usage.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
@debug_option
@click.pass_context
def dmsnap(context: click.Context) -> None:
    """Linux device-mapper snapshots in user space.

    Opens, explains, exports and merges the copy-on-write stores that dm-snapshot and LVM2 write, on any machine,
    without root and without kernel modules. New here? Run 'dmsnap demo'.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)
