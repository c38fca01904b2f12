"""The commands in their groups, and what a misspelt one gets.

The module of a command is imported when the command runs: `marsmith --help` waits for none.
"""

from __future__ import annotations

import importlib
import os

import click

from marsmith.cli.output import print_json_error, wants_json
from marsmith.core.errors import MarsmithError
from marsmith.core.suggestions import did_you_mean

# Group → command → its module and its line in --help.
GROUPS = {
    "Make": {
        "init": ("init", "Start a project in this folder, from weights or a template."),
        "build": ("build", "Build model_store/NAME.mar as archives.toml describes it."),
        "export": ("export", "Build an archive of the same model for another engine."),
        "sample": ("sample", "Record the answers that an archive must give."),
        "weights": ("weights", "List what a weights file holds; extract its state_dict."),
        "new-key": ("sign", "Make a key pair for signing archives."),
        "sign": ("sign", "Sign an archive."),
    },
    "Prove": {
        "check": ("check", "Check archives: files, code, weights, settings, answers."),
        "run": ("run", "Send files to an archive without a server."),
        "diff": ("inspect", "Show the differences between two archives."),
        "verify-signature": ("sign", "Check which key signed an archive."),
    },
    "Serve": {
        "serve": ("serve", "Start TorchServe; ready once all samples pass."),
        "gateway": ("gateway", "Serve without TorchServe, or in front of one."),
        "stop": ("serve", "Stop a server of this project."),
        "predict": ("models", "Send files to a served model and show its answers."),
        "scale": ("models", "Set the number of workers of a model."),
        "tune": ("tune", "Find the fastest way to serve an archive here."),
        "token": ("token", "Print the access token of a server."),
        "certificate": ("token", "Make a self-signed TLS certificate for development."),
    },
    "Change versions": {
        "deploy": ("deploy", "Switch a running server to a new version."),
        "rollback": ("deploy", "Switch back to the previous version."),
        "versions": ("deploy", "List the versions that are served."),
        "undeploy": ("deploy", "Unregister a version that is not the default."),
    },
    "Look": {
        "status": ("status", "List running servers, their models and request counts."),
        "top": ("top", "Show live figures of running servers."),
        "logs": ("logs", "Show the logs of a server and its workers."),
        "models": ("models", "List served models: versions, workers, memory."),
        "inspect": ("inspect", "Show what an archive holds, without running it."),
        "bill": ("bill", "Print a software bill of materials for an archive."),
    },
}
_OTHERS = {"completion": ("completion", "Print a shell's completion script.")}
_COMMANDS = {name: place for group in (*GROUPS.values(), _OTHERS) for name, place in group.items()}


class Commands(click.Group):
    """The group of all commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"marsmith.cli.{_COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            hint = did_you_mean(name, _COMMANDS, "see marsmith --help")
            ctx.fail(f"no such command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        width = max(map(len, _COMMANDS))
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), line) for name, (_, line) in group.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except Exception as error:
            known = as_marsmith_error(error)
            if known is None or not wants_json(ctx):
                raise
            print_json_error(known)
            ctx.exit(1)


def usage_error(error: click.UsageError) -> MarsmithError:
    """Return click's error about a command's arguments with a code and a hint, for --json."""
    command = error.ctx.command_path if error.ctx else "marsmith"
    return MarsmithError(error.format_message(), f"see {command} --help", code="usage")


def as_marsmith_error(error: Exception) -> MarsmithError | None:
    """Return an error with a code and a hint; None for what is passed on as it is."""
    if isinstance(error, MarsmithError):
        return error
    passed_on = (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError)
    if isinstance(error, passed_on) or os.environ.get("MARSMITH_DEBUG"):
        return None
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else "a file could not be written: "
        hint = "make room on the disk, or change the permissions"
        return MarsmithError(place + error.strerror, hint, code="file")
    hint = "this is a bug in Marsmith: run it again with MARSMITH_DEBUG=1 and report the output"
    return MarsmithError(f"{type(error).__name__}: {error}", hint, code="bug")
