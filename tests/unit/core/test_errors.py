"""marsmith/core/errors.py."""

from __future__ import annotations

import pytest

from marsmith.core import errors


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        (errors.ProjectError, errors.MarsmithError),
        (errors.BuildError, errors.MarsmithError),
        (errors.ArchiveError, errors.MarsmithError),
        (errors.SigningError, errors.MarsmithError),
        (errors.ServerError, errors.MarsmithError),
        (errors.PortInUseError, errors.ServerError),
        (errors.WorkerError, errors.ServerError),
        (errors.ClientError, errors.MarsmithError),
        (errors.UnreachableError, errors.ClientError),
        (errors.RefusedError, errors.ClientError),
    ],
)
def test_the_tree_of_errors_is_the_one_on_top_of_the_file(
    child: type[Exception], parent: type[Exception]
) -> None:
    assert child.__bases__ == (parent,)


def test_an_error_carries_what_is_wrong_and_what_to_do() -> None:
    error = errors.BuildError("the disk is full", "make room")
    assert (error.message, error.hint, str(error)) == (
        "the disk is full",
        "make room",
        "the disk is full",
    )


def test_a_refusal_knows_its_status() -> None:
    assert errors.RefusedError("no", "ask again", 404).status == 404
