"""Write marsmith/init/torchvision.json.xz and timm.json.xz: what `marsmith init` knows models by.

Every architecture is built twice on the meta device, for two counts of classes: what differs is
its head. Run it again when torchvision or timm is raised: .venv/bin/python
scripts/index_architectures.py
"""

from __future__ import annotations

import json
import lzma
import sys
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import timm
from torchvision import models

from marsmith.programs.recognise_architecture import Shapes, built, shapes_of

OUT = Path(__file__).parents[1] / "marsmith" / "init"
COUNTS = 1000, 91  # no layer of a body has so many channels by its own

TASKS = {
    models: "classification",
    models.segmentation: "segmentation",
    models.detection: "detection",
}
# Arguments that change what tensors a model of torchvision has; the first is the usual one.
AUX_LOGITS = [
    {"aux_logits": True, "init_weights": False},
    {"aux_logits": False, "init_weights": False},
]
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "googlenet": AUX_LOGITS,
    "inception_v3": AUX_LOGITS,
    "vit_b_16": [{}, {"image_size": 384}],
    "vit_l_16": [{}, {"image_size": 512}],
    "vit_h_14": [{"image_size": 518}, {}],
}
OF_BACKBONE = {"weights_backbone": None}


def main() -> None:
    for library, entries in (("torchvision", torchvision_entries), ("timm", timm_entries)):
        if len(sys.argv) > 1 and library not in sys.argv[1:]:
            continue
        groups: dict[str, dict[str, Any]] = {}
        for entry in entries():
            same = json.dumps([entry["tensors"], entry["heads"], entry["task"]])
            groups.setdefault(same, entry | {"models": []})["models"].append(entry.pop("model"))
        for group in groups.values():
            del group["model"]
        value = {
            "library": library,
            "version": version(library),
            "groups": list(groups.values()),
            "categories": categories() if library == "torchvision" else {},
        }
        text = json.dumps(value, separators=(",", ":"))
        data = lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)
        (OUT / f"{library}.json.xz").write_bytes(data)
        print(library, len(groups), "groups", len(text), "characters", len(data), "bytes")


def torchvision_entries() -> Iterator[dict[str, Any]]:
    for module, task in TASKS.items():
        for name in models.list_models(module):
            for arguments in variants(name, task):
                build = getattr(module, name)
                pair = [
                    shapes_of(built(partial(build, weights=None, num_classes=n, **arguments)))
                    for n in COUNTS
                ]
                transforms = next(iter(models.get_model_weights(name))).transforms()
                model = {"name": name, "arguments": arguments, "input": preprocessing(transforms)}
                if "image_size" in arguments:
                    model["input"] |= {
                        "size": arguments["image_size"],
                        "resize": arguments["image_size"],
                    }
                yield {"task": task, **described(*pair), "model": model}


def categories() -> dict[str, list[str]]:
    """Return the classes of ImageNet, VOC and COCO, as torchvision's own weights have them."""
    names = {"classification": "resnet50", "segmentation": "fcn_resnet50"}
    names["detection"] = "fasterrcnn_resnet50_fpn"
    weights = {task: models.get_model_weights(name) for task, name in names.items()}
    return {task: next(iter(one)).meta["categories"] for task, one in weights.items()}


def variants(name: str, task: str) -> list[dict[str, Any]]:
    if task == "classification":
        return VARIANTS.get(name, [{}])
    if task == "detection" or name.startswith("lraspp"):
        return [OF_BACKBONE]
    return [OF_BACKBONE, {**OF_BACKBONE, "aux_loss": True}]


def preprocessing(transforms: Any) -> dict[str, Any]:
    """Return how pictures go in; torchvision's detectors take them as they are."""
    if not hasattr(transforms, "resize_size"):
        return {}
    (resize,) = transforms.resize_size
    size = getattr(transforms, "crop_size", [resize])[0]
    return {"size": size, "resize": resize, "mean": transforms.mean, "std": transforms.std}


def timm_entries() -> Iterator[dict[str, Any]]:
    for name in timm.list_models(exclude_filters="test_*"):
        try:
            pair = [
                shapes_of(built(partial(timm.create_model, name, num_classes=n))) for n in COUNTS
            ]
        except Exception as error:
            print("left out:", name, type(error).__name__, str(error)[:80], file=sys.stderr)
            continue
        if pair[0] == pair[1] or any("module" in n.split(".") for n in pair[0]):
            continue  # an encoder without a head, or names as a wrapper's
        cfg = timm.get_pretrained_cfg(name)
        if cfg is None:
            continue
        size = cfg.input_size[1]
        about = {
            "size": size,
            "resize": round(size / cfg.crop_pct),
            "mean": cfg.mean,
            "std": cfg.std,
        }
        model = {"name": name, "arguments": {}, "input": about}
        yield {"task": "classification", **described(*pair), "model": model}


def described(first: Shapes, second: Shapes) -> dict[str, Any]:
    """Return a body's tensors, and of its heads' how the first size follows from the classes."""
    heads = {
        name: {"rest": shape[1:], "times": times(shape[0], second[name][0])}
        for name, shape in first.items()
        if shape != second[name]
    }
    return {"tensors": {n: s for n, s in first.items() if n not in heads}, "heads": heads}


def times(at_first: int, at_second: int) -> int:
    """Return by how much the count of classes is multiplied."""
    found = (at_first - at_second) // (COUNTS[0] - COUNTS[1])
    if (found * COUNTS[0], found * COUNTS[1]) != (at_first, at_second):
        raise ValueError("a head that does not grow with its classes")
    return found


if __name__ == "__main__":
    main()
