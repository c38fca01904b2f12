"""Whether an exported model agrees with eager PyTorch."""

from __future__ import annotations

import base64
import sys
from dataclasses import dataclass, replace
from typing import Any

from marsmith.answers.agreement import Agreement, agreement
from marsmith.archive.reader import Archive
from marsmith.core.errors import BuildError
from marsmith.project.spec import ArchiveSpec


@dataclass(frozen=True)
class Limits:
    """How much a model may differ from eager.

    `outputs`: difference of a float32 model's outputs, as a share of the largest (at least 1).
    `agreement`: for bfloat16 and int8, the share of photos with the same answer.
    `samples`: the smallest tolerance of samples in the new archive.
    """

    outputs: float = 1e-4
    agreement: float = 0.97
    samples: float = 0.0


def require_agreement(
    archive: Archive, other: ArchiveSpec, found: dict[str, Any], limits: Limits, dtype: str
) -> Agreement | None:
    """Return how well the answers agree. Raises BuildError if a limit is exceeded."""
    name = f"{archive.name} as {other.name.removeprefix(archive.name + '-')}"
    for where, distance in found["differences"].items():
        # For other dtypes, answers are compared, and outputs only need to be finite.
        limit = limits.outputs if dtype == "float32" else sys.float_info.max
        if distance["relative"] > limit:
            raise BuildError(
                f"{name} differs from eager by {distance['absolute']:.3g} on "
                f"{where}, {distance['relative']:.2g} of the output's largest value",
                "a model with branches on data needs torchscript-script; or raise --tolerance",
                code="export-differs",
            )
    answers = [base64.b64decode(one) for one in found["answers"]]
    for sample, spec, answer in zip(archive.samples, other.samples, answers, strict=True):
        judged = replace(sample, tolerance=spec.tolerance, largest=spec.largest)
        if wrong := judged.difference(archive.read(sample.response), answer):
            raise BuildError(
                f"{name} gives a wrong answer to its sample {sample.request}: {wrong}",
                f"check the archive itself: marsmith check {archive.name}"
                if dtype == "float32"
                else f"if the answer is good enough: --sample-tolerance above {spec.tolerance:g}",
                code="export-differs",
            )
    pairs = [(base64.b64decode(one), base64.b64decode(two)) for one, two in found["pairs"]]
    if not pairs:
        return None
    agreed = agreement(pairs, max(sample.tolerance for sample in other.samples))
    if dtype != "float32" and agreed.share < limits.agreement:
        raise BuildError(
            f"{name} answers {agreed.same} of {agreed.total} photos as eager does, "
            f"{agreed.share:.1%}, less than {limits.agreement:.1%}",
            "calibrate with photos like those in later requests (--calibrate), use bfloat16, or "
            "lower --agreement",
            code="export-differs",
        )
    return agreed
