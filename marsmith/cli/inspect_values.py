"""What `marsmith inspect` and `marsmith diff` tell other programs."""

from __future__ import annotations

from typing import Any

from marsmith.inspect.describe_body import Body
from marsmith.inspect.diff import SIDES, AnswerComparison, Comparison, WeightsDifference
from marsmith.inspect.summary import Inspection, Weights
from marsmith.weights.pt2 import Program


def inspection_as_values(inspection: Inspection) -> dict[str, Any]:
    """Return everything for other programs."""
    return {
        "archive": str(inspection.path),
        "name": inspection.name,
        "form": inspection.form,
        "size": inspection.size,
        "sha256": inspection.digest,
        "signature": str(inspection.signature) if inspection.signature else None,
        "signedBy": inspection.signed_by,
        "manifest": inspection.manifest,
        "files": [{"name": one.name, "size": one.size} for one in inspection.entries],
        "weights": [_weights_values(one) for one in inspection.weights],
        "samples": [
            {
                "name": one.name,
                "request": _body_values(one.request),
                "answer": _body_values(one.response),
                "tolerance": one.tolerance,
            }
            for one in inspection.examples
        ],
        "serving": inspection.serving,
        "handlerConfig": inspection.handler_config,
        "requirements": inspection.requirements,
        "problems": inspection.problems,
    }


def _body_values(body: Body) -> dict[str, Any]:
    return {"kind": body.kind, "size": body.size, **body.facts}


def _weights_values(weights: Weights) -> dict[str, Any]:
    file = weights.file
    program = file.program if file else None
    return {
        "file": weights.name,
        "size": weights.size,
        "problem": weights.problem or None,
        "kind": file.kind if file else None,
        "object": (file.object_name or None) if file else None,
        "code": file.code if file else [],
        "hostile": file.hostile if file else [],
        "parameters": weights.parameters,
        "dtypes": dict(weights.dtypes),
        "tensors": {
            name: {"dtype": one.dtype, "shape": list(one.shape)}
            for name, one in weights.tensors.items()
        },
        "layers": [{"name": one.name, "parameters": one.parameters} for one in weights.layers()],
        "program": _program_values(program) if program else None,
    }


def _program_values(program: Program) -> dict[str, Any]:
    return {
        "writer": program.writer or None,
        "inputs": list(program.inputs),
        "outputs": list(program.outputs),
        "operators": dict(program.operators),
    }


def comparison_as_values(comparison: Comparison) -> dict[str, Any]:
    """Return all that differs; `before` is archive A, `after` is B."""
    archives = zip(SIDES, comparison.archives, strict=True)
    return {
        "same": comparison.is_same,
        "archives": {
            side: {"path": str(one.path), "name": one.name, "sha256": one.digest}
            for side, one in archives
        },
        "files": [
            {
                "name": one.name,
                "kind": one.kind,
                "before": one.before,
                "after": one.after,
                "diff": list(one.lines),
            }
            for one in comparison.files
        ],
        "values": [vars(one) for one in comparison.values],
        "weights": [_weights_difference(one) for one in comparison.weights],
        "answers": [_answer_values(one) for one in comparison.answers],
        "loadFailures": comparison.load_failures,
        "problems": [{"archive": side, "problem": text} for side, text in comparison.problems],
    }


def _weights_difference(weights: WeightsDifference) -> dict[str, Any]:
    return {
        "before": weights.names[0],
        "after": weights.names[1],
        "problem": weights.problem or None,
        "sameTensors": weights.same,
        "tensors": [
            {
                "name": one.name,
                "kind": one.kind,
                "before": one.before or None,
                "after": one.after or None,
                "differentValues": one.count,
                "largestDifference": one.largest,
                "notFinite": one.not_finite,
            }
            for one in weights.tensors
        ],
    }


def _answer_values(answer: AnswerComparison) -> dict[str, Any]:
    found = answer.difference
    return {
        "request": answer.request,
        "sampleOf": list(answer.sides),
        "tolerance": answer.tolerance,
        "same": found is None,
        "largestDifference": found.largest if found else None,
        "meanDifference": found.mean if found else None,
        "place": (found.place or None) if found else None,
        "others": list(found.others) if found else [],
    }
