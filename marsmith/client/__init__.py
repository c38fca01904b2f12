"""TorchServe's inference and management APIs; `load_connection` alone opens connections besides."""

from marsmith.client.description import Model, Worker
from marsmith.client.http import Client

__all__ = ["Client", "Model", "Worker"]
