"""TorchServe's gRPC services over a back end.

Imports grpc, which is an extra: the web process imports this module only where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf import message_factory

from marsmith.client.grpc_wire import SERVICES
from marsmith.client.tokens import Api
from marsmith.gateway.backend import Backend
from marsmith.gateway.torchserve_grpc_inference import InferenceService
from marsmith.gateway.torchserve_grpc_management import ManagementService


def add_services(server: grpc.aio.Server, backend: Backend) -> None:
    """Add both services to a server, as on the gateway's own port."""
    add_inference(server, backend)
    add_management(server, backend)


def add_inference(server: grpc.aio.Server, backend: Backend) -> None:
    """Add the service of TorchServe's port 7070."""
    service = InferenceService(backend)
    methods = {
        "Ping": service.ping,
        "Predictions": service.predictions,
        "StreamPredictions": service.stream_predictions,
        "StreamPredictions2": service.stream_predictions2,
    }
    _add(server, "inference", methods)


def add_management(server: grpc.aio.Server, backend: Backend) -> None:
    """Add the service of TorchServe's port 7071."""
    service = ManagementService(backend)
    methods = {
        "DescribeModel": service.describe_model,
        "ListModels": service.list_models,
        "RegisterModel": service.register_model,
        "ScaleWorker": service.scale_worker,
        "SetDefault": service.set_default,
        "UnregisterModel": service.unregister_model,
    }
    _add(server, "management", methods)


def _add(server: grpc.aio.Server, api: Api, methods: Mapping[str, Callable[..., Any]]) -> None:
    described = SERVICES[api]
    handlers = {one.name: _handler(one, methods[one.name]) for one in described.methods}
    handler = grpc.method_handlers_generic_handler(described.full_name, handlers)
    server.add_generic_rpc_handlers((handler,))


def _handler(described: Any, method: Callable[..., Any]) -> Any:
    asked, answered = (
        message_factory.GetMessageClass(one)
        for one in (described.input_type, described.output_type)
    )
    kind = "stream" if described.client_streaming else "unary"
    kind += "_stream" if described.server_streaming else "_unary"
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    return make(method, asked.FromString, answered.SerializeToString)
