"""TorchServe's gRPC services over a back end.

Imports grpc, which is an extra: the web process imports this only where it is installed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf import message_factory

from marsmith.client.grpc_wire import SERVICES
from marsmith.client.tokens import Api
from marsmith.gateway.backend import Backend
from marsmith.gateway.torchserve_api.grpc_services import InferenceService, ManagementService


def add_services(server: grpc.aio.Server, backend: Backend) -> None:
    """Add both services to a server, as at the gateway's own port."""
    add_inference(server, backend)
    add_management(server, backend)


def add_inference(server: grpc.aio.Server, backend: Backend) -> None:
    """Add the service of TorchServe's port 7070."""
    _add(server, "inference", InferenceService(backend))


def add_management(server: grpc.aio.Server, backend: Backend) -> None:
    """Add the service of TorchServe's port 7071."""
    _add(server, "management", ManagementService(backend))


def _add(server: grpc.aio.Server, api: Api, service: Any) -> None:
    """Let set_default answer SetDefault, and so on."""
    described = SERVICES[api]
    handlers = {
        one.name: _handler(one, getattr(service, re.sub(r"\B[A-Z]", r"_\g<0>", one.name).lower()))
        for one in described.methods
    }
    handler = grpc.method_handlers_generic_handler(described.full_name, handlers)
    server.add_generic_rpc_handlers((handler,))


def _handler(described: Any, method: Callable[..., Any]) -> Any:
    types = (described.input_type, described.output_type)
    asked, answered = (message_factory.GetMessageClass(one) for one in types)
    kind = "stream" if described.client_streaming else "unary"
    kind += "_stream" if described.server_streaming else "_unary"
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(method, asked.FromString, answered.SerializeToString)
