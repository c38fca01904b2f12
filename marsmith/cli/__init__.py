"""The `marsmith` command: parse, call one function of the kit, print one result."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from types import FrameType

import click

from marsmith import __version__
from marsmith.cli.output import print_error
from marsmith.core.errors import MarsmithError

# Command → its module and its line in --help. Modules are imported when their command runs:
# `marsmith --help` must not wait for all of them.
_COMMANDS = {
    "init": ("init", "Write a project for a file of weights into this folder."),
    "build": ("build", "Make model_store/NAME.mar of what archives.toml says."),
    "check": ("check", "Prove archives: layout, code, weights, configuration, behaviour."),
    "export": ("export", "Build an archive of a model in another format, held against eager."),
    "sign": ("sign", "Sign an archive, so that others can tell whose it is."),
    "verify-signature": ("sign", "Prove that an archive is what the owner of a key signed."),
    "new-key": ("sign", "Make a pair of keys to sign archives with."),
    "bill": ("bill", "Say what an archive is made of, as a CycloneDX bill of materials."),
    "inspect": ("inspect", "Show what an archive holds, without running any of it."),
    "diff": ("inspect", "Show what differs between two archives."),
    "run": ("run", "Let an archive answer files, without a server."),
    "sample": ("sample", "Record what an archive answers now as what it must answer."),
    "tune": ("tune", "Search how an archive is served best on this machine."),
    "serve": ("serve", "Run TorchServe with these archives, ready when it says so."),
    "status": ("status", "List this project's running servers, and how their models do."),
    "top": ("top", "Show live how the models of running servers do."),
    "logs": ("logs", "Show what a server and its workers say, tracebacks readable."),
    "stop": ("serve", "Stop this project's server."),
    "deploy": ("deploy", "Let another version answer, without losing a request."),
    "rollback": ("deploy", "Let the version before answer again."),
    "versions": ("deploy", "List versions: which is the default, since when, whose."),
    "undeploy": ("deploy", "Forget a version that is not the default one."),
    "token": ("token", "Print a token of a server that asks for one."),
    "certificate": ("token", "Make a TLS certificate for development."),
    "predict": ("models", "Send images to a model and show its answers."),
    "models": ("models", "List what is served: versions, workers, batching, memory."),
    "weights": ("weights", "Look into files of weights, and take the state_dict out."),
    "scale": ("models", "Set how many workers a model has."),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"marsmith.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="marsmith")
@click.option(
    "--project",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="The folder with archives.toml (default: the nearest one upward).",
)
@click.pass_context
def cli(context: click.Context, project: str | None) -> None:
    """Forge TorchServe model archives, prove them, and run them.

    Exit status: 0 right, 1 wrong, 2 usage.
    """
    context.obj = project


def main() -> None:
    """Run the command line; every error becomes a message, a hint and an exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.exceptions.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader, `head` for one, has enough; and nothing is left to be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except MarsmithError as error:
        print_error(error)
        sys.exit(1)
    except Exception as error:
        if os.environ.get("MARSMITH_DEBUG"):
            raise
        print_error(_foreign(error))
        sys.exit(1)


def _foreign(error: Exception) -> MarsmithError:
    """Turn an error that nobody foresaw into one with a hint."""
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else "a file could not be written: "
        return MarsmithError(
            place + error.strerror, "make room, or mend the permissions", code="file"
        )
    hint = "a bug of marsmith's: run it again with MARSMITH_DEBUG=1 and report what it prints"
    return MarsmithError(f"{type(error).__name__}: {error}", hint, code="bug")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
