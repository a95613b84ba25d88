"""Arguments and options that verbs share, so that they are spelt and explained alike everywhere."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import click

from dmsnap.cli.group import debug_option
from dmsnap.library.volumes.address import is_lvm_address

__all__ = ["PATH", "json_option", "origin_option", "plot_option", "prefetch_option", "snap_argument", "verb"]

PATH = click.Path(readable=False)
"""A path that the library opens: what is wrong with it is a failure, which click would call wrong usage."""

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class _Verb(click.Command):
    """A verb whose errors of usage all name it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, which forgets of an option without its value where that was."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise


def verb(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Makes a function the command of verb ``name``, with the options that every verb has."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        settings = {"help_option_names": ["-h", "--help"]}
        return click.command(name, cls=_Verb, context_settings=settings)(debug_option(function))

    return decorate


def _prefetch_callback(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    from dmsnap.store.prefetch import BadPrefetch, prefetch_policy

    try:
        prefetch_policy(value)
    except BadPrefetch as error:
        raise click.BadParameter(f"{error.message}; {error.hint}") from error
    return value


def _plot_callback(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        from dmsnap.library.plotting import BadPlotFile, check_plot_name

        try:
            check_plot_name(value)
        except BadPlotFile as error:
            raise click.BadParameter(f"{error.message}; {error.hint}") from error
    return value


snap_argument: _Decorator = click.argument("snap", metavar="SNAP", type=PATH)

prefetch_option: _Decorator = click.option(
    "--prefetch",
    metavar="auto|kernel|N",
    callback=_prefetch_callback,
    default="auto",
    show_default=True,
    help="How many metadata areas to read ahead besides the next one; 'kernel' is 12, as in Linux.",
)

plot_option: _Decorator = click.option(
    "--plot",
    metavar="FILE",
    type=PATH,
    callback=_plot_callback,
    help="Draw it, as FILE.svg or FILE.png; needs matplotlib.",
)

json_option: _Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON; its fields are stable.")


def origin_option(*, required: bool) -> _Decorator:
    """``--origin``: what the snapshot was taken of; needed, if at all, unless LVM knows it."""
    option = click.option(
        "--origin",
        metavar="ORIGIN",
        type=PATH,
        help="What the snapshot was taken of: a file or block device. A snapshot in LVM brings its own.",
    )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def checked(*args: Any, **values: Any) -> Any:
            if values["origin"] is None and not _in_lvm(values.get("snap") or values.get("snaps")):
                context = click.get_current_context()
                (origin,) = (parameter for parameter in context.command.params if parameter.name == "origin")
                raise click.MissingParameter(ctx=context, param=origin)
            return function(*args, **values)

        return option(checked if required else function)

    return decorate


def _in_lvm(snaps: str | Sequence[str] | None) -> bool:
    """Whether one of the stores that a verb was given is a volume by its address, ``NAME=`` before it or not."""
    named = [snaps] if isinstance(snaps, str) else snaps or ()
    return any(is_lvm_address(snap) or is_lvm_address(snap.partition("=")[2]) for snap in named)
