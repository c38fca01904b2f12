"""The gateway's gRPC: all services at its own port, TorchServe's at TorchServe's ports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import grpc

from marsmith.core.errors import PortInUseError
from marsmith.gateway.backend import Backend
from marsmith.gateway.kserve import oip_grpc
from marsmith.gateway.torchserve_api import grpc_services as torchserve_grpc

_LARGEST = 64 << 20  # bytes of a message
AddServices = Callable[[grpc.aio.Server, Backend], None]


def _all_services(server: grpc.aio.Server, backend: Backend) -> None:
    torchserve_grpc.add_services(server, backend)
    oip_grpc.add_services(server, backend)


SERVICES: Mapping[str, AddServices] = {
    "gateway": _all_services,
    "inference": torchserve_grpc.add_inference,
    "management": torchserve_grpc.add_management,
}


async def start_grpc(
    addresses: Mapping[str, str],
    backend: Backend,
    properties: Mapping[str, str],
    interceptor: grpc.aio.ServerInterceptor,
    rotation_model: str | None = None,
) -> list[grpc.aio.Server]:
    """Listen at `addresses` (name of SERVICES → HOST:PORT); return the servers.

    With `rotation_model`, the gateway's own port has the rotation system's services, for that
    model. Raises PortInUseError.
    """
    credentials = _credentials(properties)
    started = []
    for name, address in addresses.items():
        server = grpc.aio.server(interceptors=[interceptor], options=[*_options(properties)])
        SERVICES[name](server, backend)
        if name == "gateway" and rotation_model is not None:
            from marsmith.gateway.old_clients import rotation  # few gateways have it

            rotation.add_services(server, backend, rotation_model)
        try:
            if credentials is None:
                server.add_insecure_port(address)
            else:
                server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise PortInUseError(
                f"gRPC cannot listen at {address}",
                "stop the process that does; or choose another port: --port N (gRPC takes N+1)",
            ) from error
        await server.start()
        started.append(server)
    return started


def _options(properties: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    most = int(properties.get("max_request_size", _LARGEST))
    yield "grpc.max_receive_message_length", most
    yield "grpc.max_send_message_length", int(properties.get("max_response_size", _LARGEST))
    yield "grpc.so_reuseport", 0  # a second gateway must not share the port unnoticed


def _credentials(properties: Mapping[str, str]) -> grpc.ServerCredentials | None:
    if not properties["inference_address"].startswith("https:"):
        return None
    pair = [Path(properties[key]).read_bytes() for key in ("private_key_file", "certificate_file")]
    return grpc.ssl_server_credentials([(pair[0], pair[1])])
