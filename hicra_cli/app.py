"""The typer app: assembles the commands lazily, and answers for what goes wrong before a command runs.

A command's module is imported when it is called or its own help is asked for, so that `hicra --help` stays fast.
"""

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from hicra_cli import __version__
from hicra_cli.core.errors import UsageError

COMMANDS = {
    "quickstart": "The whole pipeline on the built-in model and task, in minutes, offline.",
    "collect-grams": "Sample or read solutions and count the n-grams of successful ones.",
    "annotate-grams": "Say which candidates are strategic, and which move they make.",
    "curate": "Turn annotations into a gram-set.",
    "train": "Train a policy with GRPO, HICRA or entropy regularisation.",
    "eval": "Grade a policy on benchmarks: avg@k, pass@k with intervals.",
    "grade": "Grade answers from a file: no model, no GPU, one verdict a line.",
    "diagnose": "Compute the paper's curves and write the report.",
    "run": "Run several stages from a pipeline file; what is unchanged is not repeated.",
    "artifacts": "List, inspect, verify, move and compare what stages have published.",
    "config": "Show the resolved configuration, its JSON schema, the presets.",
    "doctor": "What this machine can run, what is missing, how to get it.",
}


class Commands(TyperGroup):
    """The top-level group; knows names and summaries, imports nothing until a command is wanted."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        names: dict[str, Any] = dict.fromkeys(COMMANDS)
        self.commands = names  # typer suggests from these names; `get_command` makes the commands

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"hicra_cli.commands.{cmd_name.replace('-', '_')}")
        return typer.main.get_command(module.app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Start with `hicra quickstart`. Each command explains itself: `hicra train --help`.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hicra {__version__}")
        raise typer.Exit


@app.callback()
def hicra(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Find strategic grams, train with HICRA, and diagnose what reinforcement learning taught (arXiv 2509.03646)."""


def main() -> None:
    """The entry point: runs a command and ends the process with its exit code."""
    # Before torch loads OpenMP: idle threads sleep instead of spinning. Beside another busy process spinning made the
    # same update 5 to 12 times slower on two cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _open_closed_streams()
    try:
        code = app(prog_name="hicra", standalone_mode=False)
    except TyperException as error:
        code = _refuse(error)
    except typer.Abort:
        code = 130
    except BrokenPipeError:
        code = 0  # `hicra --help | head -1`
    sys.exit(_flush(int(code or 0)))


def _refuse(error: TyperException) -> int:
    """A command line that cannot be read: exit 2, and under --json one JSON document all the same."""
    from hicra_cli.commands.failures import error_document
    from hicra_cli.core.output import clean, json_line

    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{error.message}\n")
        return UsageError.exit_code
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "hicra"
    failure = UsageError(clean(error.format_message()).rstrip("."), fix=f"See `{path} --help`")
    if "--json" in sys.argv:
        sys.stdout.write(json_line(error_document(path.removeprefix("hicra").strip(), failure)) + "\n")
    sys.stderr.write(f"error: {failure}\n")
    return failure.exit_code


def _open_closed_streams() -> None:
    """Standard streams that the caller closed lead nowhere, so that no file of ours gets their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Gets the lowest number that is free, and stays open until the process ends.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _flush(code: int) -> int:
    """Empty the standard streams here, where a reader that went away is no error, and not at interpreter exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except (AttributeError, ValueError):
            continue  # closed by the caller
    return code
