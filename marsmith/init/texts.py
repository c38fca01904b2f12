"""The texts of a new project's files: handler, test, configuration, notes for people."""

from __future__ import annotations

from marsmith.init.plan import Plan
from marsmith.init.recognise import EMBEDDING

CONFIG = """\
# Read by `marsmith serve`, and by `torchserve --ts-config config.properties`.

# This machine only. At other addresses `marsmith serve` turns token authorization on.
inference_address=http://127.0.0.1:8080
management_address=http://127.0.0.1:8081
metrics_address=http://127.0.0.1:8082
grpc_inference_address=127.0.0.1
grpc_inference_port=7070
grpc_management_address=127.0.0.1
grpc_management_port=7071
disable_token_authorization=true

# Archives come from the model store alone: this pattern matches no URL.
allowed_urls=(?!)
# No workflows: POST /workflows runs the code of any .war in this folder.
workflow_store=/dev/null

# 32 MiB, both ways; TorchServe's own limit is 6.25 MiB.
max_request_size=33554432
max_response_size=33554432

# Without this, GET :8082/metrics stays empty.
metrics_mode=prometheus
"""
IGNORED = """\
__pycache__/
.venv/
.pytest_cache/
# archives: marsmith build makes them again
model_store/*
!model_store/.gitkeep
*.mar
# records, logs and state of marsmith and of TorchServe
.marsmith/
logs/
# keys and tokens
key_file.json
*.key
*.pem
"""


def handler(plan: Plan) -> str:
    """Return the handler: a class to change."""
    module, base = plan.handler
    return f'''\
"""Answers for the archive {plan.names.archive}."""

from marsmith_handlers.{module} import {base}


class {plan.names.handler}({base}):
    """Override a hook here to change its step; what is not overridden stays {base}'s.

    prepare(picture): turn a picture into the model's input, an array [C, H, W].
    infer(batch): run the model on a batch of these, [N, C, H, W], and return its outputs.
    answers(outputs, pictures): return an answer for each picture.
    write(answer, picture, content_type): turn one answer into bytes, text or JSON values.
    """
'''


_CHECKS = {
    "classification": 'assert 0 <= answer.json()["confidence"] <= 1',
    "segmentation": "assert answer.json()",
    "detection": "assert isinstance(answer.json(), list)",
    "image-to-image": 'assert answer.content_type.startswith("image/")',
    EMBEDDING: "assert answer.json()",
}


def test(plan: Plan, picture: str) -> str:
    """Return a test of the archive, which pytest runs."""
    name = plan.names.archive
    return f'''\
"""Run it with pytest: the archive is loaded as a worker loads it, and answers a picture."""

from pathlib import Path

from marsmith.building.building import build
from marsmith.project.project import Project
from marsmith.pytest_plugin import RunArchive

ROOT = Path(__file__).parents[1]


def test_{plan.names.module}_answers_a_picture(run_archive: RunArchive) -> None:
    (archive,) = build(Project(ROOT), ("{name}",))
    answer = run_archive(archive.path).predict(ROOT / "{picture}")
    assert answer.ok, answer.complaint
    {_CHECKS[plan.task]}
'''


def readme(plan: Plan, picture: str) -> str:
    """Return the project's README."""
    name = plan.names.archive
    lines = [
        f"# {name}",
        "",
        f"{plan.title[:1].upper()}{plan.title[1:]}, served by TorchServe with Marsmith.",
        "",
        "```sh",
        f"marsmith build    # makes model_store/{name}.mar",
        "marsmith check    # proves it: layout, code, weights, behaviour",
        "marsmith serve    # ready once its samples pass",
        f"curl -T {picture} http://127.0.0.1:8080/predictions/{name}",
        "```",
        "",
        f"Change the answers in `handlers/{plan.names.module}_handler.py`, sizes and normalisation "
        "in `archives.toml`.",
        f"After a change that is meant: `marsmith sample {name} {picture}` records the new answer.",
    ]
    if plan.notes:
        lines += ["", "## Not sure", "", *(f"- {note}" for note in plan.notes)]
    return "\n".join(lines) + "\n"
