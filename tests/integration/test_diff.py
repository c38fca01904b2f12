"""`marsmith inspect` and `marsmith diff` with a real model whose weights differ as is known."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch

from tests.integration.kit import Kit

STORE = "model_store"


def test_one_tensor_that_differs_is_found_with_what_it_does_to_the_answers(kit: Kit) -> None:
    kit("build")
    shutil.move(kit.root / STORE / "digits.mar", kit.root / "before.mar")
    weights = kit.root / "weights" / "convnet.pth"
    state = torch.load(weights)
    state["fc2.bias"][8] += 40.0
    torch.save(state, weights)
    kit("build")
    result = kit("diff", kit.root / "before.mar", "digits", "--json", check=False)
    assert result.returncode == 1
    found = json.loads(result.stdout)
    assert [(one["name"], one["kind"]) for one in found["files"]] == [("convnet.pth", "changed")]
    (file,) = found["weights"]
    assert file["sameTensors"] == 7
    (tensor,) = file["tensors"]
    assert (tensor["name"], tensor["differentValues"]) == ("fc2.bias", 1)
    assert tensor["largestDifference"] == pytest.approx(40, abs=1e-4)
    assert [one["request"] for one in found["answers"]] == ["seven.png", "three-photo.jpg"]
    for one in found["answers"]:
        assert one["sampleOf"] == ["A", "B"]
        assert any(line.endswith('→ "8"') for line in one["others"])
        assert one["largestDifference"] > 0.5
    text = kit("diff", kit.root / "before.mar", "digits", check=False).stdout
    assert re.findall(r"\d+", text.splitlines()[-1]) == ["1", "1", "2"]  # files, tensors, answers


def test_an_archive_whose_weights_do_not_fit_is_compared_all_the_same(kit: Kit) -> None:
    kit("build")
    shutil.move(kit.root / STORE / "digits.mar", kit.root / "before.mar")
    weights = kit.root / "weights" / "convnet.pth"
    state = torch.load(weights)
    state["fc2.bias"] = torch.zeros(11)
    torch.save(state, weights)
    kit("build")
    result = kit("diff", kit.root / "before.mar", "digits", check=False)
    text = " ".join(result.stdout.split())
    assert result.returncode == 1
    assert re.search(r"\bfc2\.bias\b.* float32 10 → float32 11\b", text)


def test_inspect_tells_a_real_archive(kit: Kit) -> None:
    kit("build")
    found = kit.json("inspect", "digits")
    (weights,) = found["weights"]
    assert (weights["kind"], weights["parameters"]) == ("PyTorch zip", 300_426)
    assert [one["name"] for one in weights["layers"]] == ["cn1", "cn2", "fc1", "fc2"]
    assert found["samples"][0]["request"]["format"] == "PNG"
    assert found["samples"][0]["answer"]["keys"] == [
        "label",
        "index",
        "confidence",
        "probabilities",
    ]
    assert found["handlerConfig"]["size"] == [28, 28]
    assert kit("inspect", "digits").stdout.startswith("digits 1.0\n")
