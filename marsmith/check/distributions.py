"""Which distribution a module comes from, and what is installed here."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from functools import cache

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


def is_standard(module: str) -> bool:
    """Tell a module of the standard library by its top name."""
    return module.partition(".")[0] in sys.stdlib_module_names


def is_installed(module: str) -> bool:
    """Tell whether a module of that top name can be imported in this environment."""
    top = module.partition(".")[0]
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def is_of_distribution(module: str) -> bool:
    """Tell whether an installed distribution, and not a folder on `sys.path`, has that module."""
    return module in _installed()


def is_known(module: str) -> bool:
    """Tell the name of a widespread library, which hardly anybody gives to a file of their own."""
    return module in _OTHER_NAMES


def distribution_of(module: str) -> str:
    """Return the name under which a module is installed with pip."""
    top = module.partition(".")[0]
    known = _installed().get(top)
    return known[0] if known else _OTHER_NAMES.get(top, top.replace("_", "-"))


def distributions_of(module: str) -> tuple[str, ...]:
    """Return all names under which a module may be installed with pip."""
    top = module.partition(".")[0]
    return (distribution_of(top), *_VARIANTS.get(top, ()))


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
