"""What can go wrong while measuring, told in one line with a hint."""

from __future__ import annotations

import click


class BenchError(click.ClickException):
    """Nothing can be measured: `message` says why, `hint` what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint

    def format_message(self) -> str:
        """Return both lines."""
        return f"{self.message}\n  hint: {self.hint}"


class TooLongError(Exception):
    """A trial has taken more time than it may: it is lost, the others go on."""


class SystemFailedError(Exception):
    """One of the systems failed: its part of a comparison is lost, the others go on."""
