"""The `marsmith` command: each one parses, calls one function of Marsmith, prints one result."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import click

from marsmith import __version__
from marsmith.cli.commands import Commands, as_marsmith_error, usage_error
from marsmith.cli.output import accept_any_encoding, print_error, print_json_error


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="More about one command: marsmith COMMAND --help. "
    "Completion in your shell: marsmith completion --help.",
)
@click.version_option(__version__, prog_name="marsmith")
@click.option(
    "--project",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="The folder with archives.toml (default: the nearest one upward).",
)
@click.pass_context
def cli(context: click.Context, project: str | None) -> None:
    """Build TorchServe model archives, check them, and serve them.

    Exit status: 0 success, 1 failure, 2 wrong usage.
    """
    context.obj = project


def main() -> None:
    """Run the command line; every error becomes a message, a hint and an exit status."""
    accept_any_encoding()
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and "--json" in sys.argv[1:]:
            print_json_error(usage_error(error))  # not noted in the context if parsing failed
        else:
            error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe; nothing must be flushed into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        known = as_marsmith_error(error)
        if known is None:
            raise
        print_error(known)
        sys.exit(1)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
