"""What the arguments of check stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from marsmith.check.targets import refuse_request, targets
from marsmith.core.errors import ProjectError
from tests.codes import coded


def nowhere() -> object:
    raise AssertionError


def test_a_folder_of_workflows_alone_is_named_as_one(tmp_path: Path) -> None:
    for name in ("flow.war", "other.war"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ProjectError, match=r"flow\.war, other\.war") as caught:
        targets((str(tmp_path),), nowhere)  # type: ignore[arg-type]
    assert caught.value.code == "workflow-archive"


def test_archives_beside_workflows_are_checked(tmp_path: Path) -> None:
    (tmp_path / "flow.war").write_bytes(b"x")
    (tmp_path / "model.mar").write_bytes(b"x")
    (found,) = targets((str(tmp_path),), nowhere)  # type: ignore[arg-type]
    assert found.path == tmp_path / "model.mar"


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, check=coded("target-missing")):
        targets((str(tmp_path),), nowhere)  # type: ignore[arg-type]


def test_a_request_where_an_archive_belongs_is_refused(tmp_path: Path) -> None:
    request = tmp_path / "Both.JSON"
    request.write_text("{}")
    with pytest.raises(ProjectError, check=coded("target-missing")):
        refuse_request(str(request))
    with pytest.raises(ProjectError, check=coded("target-missing")):
        targets((str(request),), nowhere)  # type: ignore[arg-type]
    refuse_request("named.json")  # an archive may be called that
