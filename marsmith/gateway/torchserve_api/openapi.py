"""TorchServe's descriptions of its own APIs (OpenApiUtils.java), as version 0.12.0 answers them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from marsmith.gateway.torchserve_api.errors import wrong_method
from marsmith.gateway.torchserve_api.messages import TorchServeEndpoint, json_response

Api = Literal["inference", "management"]
_RECORDED = Path(__file__).with_name("openapi.json")
_VERSION = "0.12.0"


def routes(*apis: Api) -> list[BaseRoute]:
    """Return the routes that describe these APIs, as they stand at one port."""

    async def describe(http: Request) -> Response:
        if http.scope["path"] == "/" and http.method != "OPTIONS":
            raise wrong_method()
        return json_response(api_description(*apis), http)

    endpoint = TorchServeEndpoint(describe)
    return [Route("/", endpoint), Route("/api-description", endpoint)]


def api_description(*apis: Api) -> dict[str, Any]:
    """Return what `OPTIONS /` answers."""
    info = {
        "title": "TorchServe APIs",
        "description": "TorchServe is a flexible and easy to use tool for serving "
        "deep learning models",
        "version": _VERSION,
    }
    return _document(info, {path: one for api in apis for path, one in _recorded()[api].items()})


def inference_description(model: str) -> dict[str, Any]:
    """Return what `OPTIONS /predictions/NAME` answers."""
    paths = json.loads(json.dumps(_recorded()["model"]).replace("NAME", json.dumps(model)[1:-1]))
    return _document({"title": f"RESTful API for: {model}", "version": "1.0.0"}, paths)


def management_description(model: str) -> dict[str, Any]:
    """Return what `OPTIONS /models/NAME` answers."""
    paths = _recorded()["management"]
    info = {"title": f"RESTful Management API for: {model}", "version": _VERSION}
    return _document(info, {path: paths[path] for path in paths if path.startswith("/models/")})


def _document(info: dict[str, str], paths: dict[str, Any]) -> dict[str, Any]:
    return {"openapi": "3.0.1", "info": info, "paths": paths}


@cache
def _recorded() -> Any:
    return json.loads(_RECORDED.read_bytes())
