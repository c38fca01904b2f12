"""Marsmith forges TorchServe model archives, proves them, and runs them."""

__version__ = "0.1.0"
