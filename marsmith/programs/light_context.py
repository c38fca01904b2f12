"""What a handler gets beside its requests: the attributes and methods of ts/context.py."""

from __future__ import annotations

import os
from typing import Any

from marsmith.programs.light_metrics import Metrics

SERVER_VERSION = "0.12.0"  # of the TorchServe that this worker imitates


class RequestProcessor:
    """The headers of one request, and what a handler says of its answer.

    The attributes have TorchServe's names, for the handlers that reach for them.
    """

    def __init__(self, request_header: dict[str, Any]) -> None:
        self._status_code: int | None = 200
        self._reason_phrase: str | None = None
        self._response_header: dict[str, str] = {}
        self._request_header = request_header

    def get_request_property(self, key: str) -> Any:
        """Return a header of the request."""
        return self._request_header.get(key)

    def get_request_properties(self) -> dict[str, Any]:
        """Return all headers of the request."""
        return self._request_header

    def report_status(self, code: int | None, reason_phrase: str | None = None) -> None:
        """Set the answer's status."""
        self._status_code, self._reason_phrase = code, reason_phrase

    def get_response_status_code(self) -> int | None:
        """Return the answer's status."""
        return self._status_code

    def get_response_status_phrase(self) -> str | None:
        """Return what stands beside the status."""
        return self._reason_phrase

    def add_response_property(self, key: str, value: str) -> None:
        """Set a header of the answer."""
        self._response_header[key] = value

    def get_response_headers(self) -> dict[str, str]:
        """Return the answer's headers."""
        return self._response_header

    def get_response_header(self, key: str) -> str | None:
        """Return one of the answer's headers."""
        return self._response_header.get(key)


class Context:
    """What a handler knows of its archive, its worker and the batch at hand."""

    def __init__(
        self,
        model_name: str,
        system_properties: dict[str, Any],
        manifest: dict[str, Any] | None,
        model_yaml_config: Any,
        metrics: Metrics,
    ) -> None:
        self.model_name = model_name
        self._system_properties = system_properties
        self.manifest = manifest
        self.model_yaml_config = model_yaml_config
        self.metrics = metrics
        self.request_ids: dict[int, str] | None = None
        self._request_processor: list[RequestProcessor] | None = None
        self.stopping_criteria: Any = None
        self.cl_socket: Any = None
        sequence = "ts_request_sequence_"
        self.header_key_sequence_id = os.getenv("TS_REQUEST_SEQUENCE_ID", f"{sequence}id")
        self.header_key_sequence_start = os.getenv("TS_REQUEST_SEQUENCE_START", f"{sequence}start")
        self.header_key_sequence_end = os.getenv("TS_REQUEST_SEQUENCE_END", f"{sequence}end")

    @property
    def system_properties(self) -> dict[str, Any]:
        """The model's folder, its device and its batch size."""
        return self._system_properties

    @property
    def request_processor(self) -> list[RequestProcessor] | None:
        """The requests of the batch, in order."""
        return self._request_processor

    @request_processor.setter
    def request_processor(self, processors: list[RequestProcessor]) -> None:
        self._request_processor = processors

    def _request(self, index: int) -> RequestProcessor:
        if self._request_processor is None:
            raise TypeError("there are no requests while the model is loaded")
        return self._request_processor[index]

    def get_request_id(self, idx: int = 0) -> str | None:
        """Return a request's x-request-id."""
        return None if self.request_ids is None else self.request_ids.get(idx)

    def get_request_header(self, idx: int, key: str) -> Any:
        """Return a header of a request."""
        return self._request(idx).get_request_property(key)

    def get_all_request_header(self, idx: int) -> dict[str, Any]:
        """Return all headers of a request."""
        return self._request(idx).get_request_properties()

    def get_sequence_id(self, idx: int) -> Any:
        """Return the id of the sequence that a request belongs to."""
        return self.get_request_header(idx, self.header_key_sequence_id)

    def set_response_content_type(self, idx: int, value: str) -> None:
        """Set the content type of an answer."""
        self.set_response_header(idx, "content-type", value)

    def get_response_content_type(self, idx: int) -> str | None:
        """Return the content type of an answer."""
        return self.get_response_headers(idx).get("content-type")

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        """Set the status of an answer."""
        if self.request_processor is not None:
            self._request(idx).report_status(code, phrase)

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        """Set the status of all answers of the batch."""
        for processor in self.request_processor or ():
            processor.report_status(code, phrase)

    def get_response_status(self, idx: int) -> tuple[int | None, str | None]:
        """Return the status of an answer, and what stands beside it."""
        request = self._request(idx)
        return request.get_response_status_code(), request.get_response_status_phrase()

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """Set a header of an answer."""
        self._request(idx).add_response_property(key, value)

    def get_response_headers(self, idx: int) -> dict[str, str]:
        """Return the headers of an answer."""
        return self._request(idx).get_response_headers()
