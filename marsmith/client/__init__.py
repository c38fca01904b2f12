"""The client of a running server, over HTTP and gRPC: deadlines, retries, tokens and versions.

Only this room and `tune.load_connection` open connections. It knows no files of the project.
"""

from marsmith.client.description import Model, Worker
from marsmith.client.grpc_client import GrpcClient
from marsmith.client.http import Client
from marsmith.client.retries import ONCE, Retries
from marsmith.client.tokens import KeyFile, TokenSource

__all__ = ["ONCE", "Client", "GrpcClient", "KeyFile", "Model", "Retries", "TokenSource", "Worker"]
