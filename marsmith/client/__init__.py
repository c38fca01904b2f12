"""TorchServe's inference and management APIs; `load_connection` alone opens connections besides."""

from marsmith.client.description import Model, Worker
from marsmith.client.grpc_client import GrpcClient
from marsmith.client.http import Client
from marsmith.client.retries import ONCE, Retries
from marsmith.client.tokens import KeyFile, TokenSource

__all__ = ["ONCE", "Client", "GrpcClient", "KeyFile", "Model", "Retries", "TokenSource", "Worker"]
