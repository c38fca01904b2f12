"""Which distribution a module comes from, and what is installed here."""

from __future__ import annotations

import importlib.metadata
from functools import cache
from pathlib import Path

from marsmith.project.find_modules import HANDLERS_PACKAGE

# Where the name to install is not the name to import; the rest is found under its own name.
_OTHER_NAMES = {
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "google": "google-api-core",
    "jwt": "pyjwt",
    "magic": "python-magic",
    "PIL": "pillow",
    "pycocotools": "pycocotools",
    "segmentation_models_pytorch": "segmentation-models-pytorch",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "ts": "torchserve",
    "turbojpeg": "PyTurboJPEG",
    "usb": "pyusb",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
_NAMESPACE = "google"  # its name tells no distribution
# Found under their own name, and so widespread that an import never means a local file.
_SAME_NAMES = """
accelerate albumentations boto3 diffusers einops imageio joblib jsonschema kornia librosa lightning
matplotlib msgpack networkx nltk onnx onnxruntime openai openvino orjson pandas pydantic redis regex
requests safetensors scipy sentencepiece shapely soundfile spacy tensorflow tiktoken timm tokenizers
torchaudio torchmetrics torchtext tqdm transformers ultralytics
"""

# The same modules, built in another way.
_VARIANTS = {
    "cv2": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "faiss": ("faiss-gpu",),
    "google": ("protobuf", "googleapis-common-protos"),
    "mmcv": ("mmcv-full", "mmcv-lite"),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-openvino"),
    "PIL": ("pillow-simd",),
    "tensorflow": ("tensorflow-cpu",),
    "torch": ("torch-cpu",),
}


def is_of_distribution(module: str) -> bool:
    """Tell whether an installed distribution, and not a folder on `sys.path`, has that module."""
    return module in _installed()


def is_known(module: str) -> bool:
    """Tell the name of a widespread library, which is rarely the name of a local file."""
    return module in _OTHER_NAMES or module in _SAME_NAMES.split()


def distribution_of(module: str) -> str:
    """Return the name under which a module is installed with pip."""
    top = module.partition(".")[0]
    known = _installed().get(top)
    return known[0] if known else _OTHER_NAMES.get(top, top.replace("_", "-"))


def distributions_of(module: str) -> tuple[str, ...]:
    """Return all names under which a module may be installed with pip."""
    top = module.partition(".")[0]
    return (distribution_of(top), *_VARIANTS.get(top, ()))


def how_to_provide(module: str, root: Path | None) -> str:
    """Return the hint for a module that is not found; `root` is the project's, if there is one.

    It suggests pip only for what is known to be installed by it.
    """
    top = module.partition(".")[0]
    if top == HANDLERS_PACKAGE:
        return "it comes with Marsmith: `marsmith build` packs it into the archive"
    for found in sorted(root.glob(f"[!.]*/{top}.py")) if root else ():
        return f'add it to the archive: extra_files = ["{found.parent.name}/{top}.py"]'
    for found in sorted(root.glob(f"[!.]*/{top}/__init__.py")) if root else ():
        return f"move {found.parents[1].name}/{top} beside the file that imports it"
    if top == _NAMESPACE:
        return (
            f"many distributions have a part of {top}: install the one that has this module, "
            "and declare it in requirements_file"
        )
    if is_known(top):
        return f"pip install {distribution_of(top)}, and declare it in requirements_file"
    return (
        f"put {top}.py beside the file that imports it if it is yours, or list it in extra_files; "
        "otherwise declare its distribution in requirements_file"
    )


def is_distribution(name: str) -> bool:
    """Tell whether a distribution of that name is installed."""
    try:
        importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False
    return True


@cache
def _installed() -> dict[str, list[str]]:
    return {
        name: list(found) for name, found in importlib.metadata.packages_distributions().items()
    }
