"""marsmith/check/downloads.py: which calls download, and how to switch it off."""

from __future__ import annotations

import ast

import pytest

from marsmith.check.downloads import downloads
from marsmith.project.python_outline import unused_functions

IMPORTS = """
import torch, timm
from own import resnet18 as mine
from torchvision import models as m
from torchvision.models import resnet18, ResNet18_Weights as W
from torch.hub import load_state_dict_from_url
from transformers import AutoModel
"""


def remedies(code: str, *own: str) -> list[str]:
    return [found.remedy for found in downloads(ast.parse(IMPORTS + code), (), own)]


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("resnet18(True)", "weights=None"),
        ("m.resnet18(weights='DEFAULT')", "weights=None"),
        ("resnet18(weights=W.DEFAULT)", "weights=None"),
        ("m.detection.fasterrcnn(weights_backbone='DEFAULT')", "weights_backbone=None"),
        ("timm.create_model('x', pretrained=True)", "pretrained=False"),
        ("torch.hub.load('a/b', 'c')", ""),
        ("load_state_dict_from_url('http://a')", ""),
        ("AutoModel.from_pretrained('bert')", ""),
    ],
)
def test_what_downloads(code: str, remedy: str) -> None:
    (found,) = remedies(code)
    assert found
    assert remedy in found


@pytest.mark.parametrize(
    "code",
    [
        "mine(pretrained=True)",
        "load(weights='a.pth')",
        "Model.from_pretrained('a.pth')",
        "m.resnet18(weights=None)",
        "m.resnet18(1)",
        "AutoModel.from_pretrained('./folder')",
        "torch.hub.load(folder, 'c', source='local')",
        "if pretrained:\n    resnet18(True)",
    ],
)
def test_what_does_not(code: str) -> None:
    assert remedies(code) == []


def test_modules_of_ones_own_are_ones_own() -> None:
    assert remedies("timm.create_model('x', pretrained=True)", "timm") == []


def test_functions_that_nobody_calls() -> None:
    tree = ast.parse(
        "def used(): pass\n"
        "def alone(): helper()\n"
        "def helper(): pass\n"
        "class A:\n"
        "    def __init__(self): used()\n"
        "    def forward(self): self.part()\n"
        "    def part(self): pass\n"
        "    @classmethod\n"
        "    def pretrained(cls): pass\n"
        "    @register\n"
        "    def hook(self): pass\n"
        "if __name__ == '__main__':\n"
        "    alone()\n"
    )
    assert unused_functions([tree]) == {"alone", "helper", "pretrained"}
    assert unused_functions([tree], ["alone"]) == {"pretrained"}
