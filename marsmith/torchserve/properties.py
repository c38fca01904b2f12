"""`config.properties` as data; no IO.

The keys are those of TorchServe's ConfigManager.java, the syntax that of java.util.Properties.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from marsmith.core.errors import ProjectError

CONFIG_FILE = "config.properties"

# A key ends at the first `=`, `:` or white space that no backslash protects.
_KEY_AND_VALUE = re.compile(
    r"(?P<key>(?:\\.|[^\\=: \t\f])*)[ \t\f]*(?:[=:][ \t\f]*)?(?P<value>.*)$", re.DOTALL
)

# Where TorchServe listens by default (ConfigManager.java).
_DEFAULTS = {
    "inference_address": "http://127.0.0.1:8080",
    "management_address": "http://127.0.0.1:8081",
    "metrics_address": "http://127.0.0.1:8082",
    "grpc_inference_address": "127.0.0.1",
    "grpc_inference_port": "7070",
    "grpc_management_address": "127.0.0.1",
    "grpc_management_port": "7071",
}

# What Marsmith sets unless config.properties does. TorchServe's default is a worker for each core,
# each with a thread for each core.
OWN_DEFAULTS = {"default_workers_per_model": "1"}
# And without config.properties: no tokens at addresses of this machine alone, metrics, larger
# requests than 6.25 MiB, and a longer queue than 100. `marsmith serve --secure` turns tokens on.
WITHOUT_CONFIG = {
    "disable_token_authorization": "true",
    "metrics_mode": "prometheus",
    "job_queue_size": "1000",
    "max_request_size": "33554432",
    "max_response_size": "33554432",
}

# All keys that TorchServe reads (ConfigManager.java of 0.12.0).
_NAMES = """
    model_store workflow_store cpp_log_config load_models models model_snapshot enable_model_api
    disable_token_authorization token_expiration_min number_of_gpu async_logging allowed_urls
    use_env_allowed_urls enable_envvars_config debug management_address metrics_address
    inference_address grpc_management_address grpc_inference_address grpc_management_port
    grpc_inference_port grpc_management_max_connection_age_ms grpc_inference_max_connection_age_ms
    grpc_management_max_connection_age_grace_ms grpc_inference_max_connection_age_grace_ms
    ts_open_inference_protocol enable_grpc_ssl prefer_direct_buffer install_py_dep_per_model
    enable_metrics_api cpu_launcher_enable cpu_launcher_args ipex_enable ipex_gpu_enable
    number_of_netty_threads netty_client_threads job_queue_size metrics_config metrics_mode
    model_metrics_auto_detect disable_system_metrics metric_time_interval system_metrics_cmd
    default_service_handler service_envelope default_workers_per_model default_response_timeout
    default_startup_timeout unregister_model_timeout cors_allowed_origin cors_allowed_methods
    cors_allowed_headers private_key_file certificate_file keystore keystore_pass keystore_type
    blacklist_env_vars max_response_size max_request_size limit_max_image_pixels
    decode_input_request use_native_io io_ratio initial_worker_port initial_distribution_port
    ts_header_key_sequence_id ts_header_key_sequence_start ts_header_key_sequence_end vmargs
    plugins_path python
"""
KEYS = frozenset(_NAMES.split())


@dataclass(frozen=True)
class Address:
    """An address where TorchServe listens; `role` is its name for users."""

    role: str
    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """`scheme://host:port`, with brackets around an IPv6 host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def local_url(self) -> str:
        """The URL from this machine: 0.0.0.0 means all of its addresses."""
        return replace(self, host="127.0.0.1").url if self.host == "0.0.0.0" else self.url  # noqa: S104

    @property
    def key(self) -> str:
        """The key of config.properties that holds the host."""
        return f"{self.role.replace('gRPC ', 'grpc_')}_address"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_properties(text: str) -> dict[str, str]:
    """Read a properties file's text as java.util.Properties.load does."""
    values: dict[str, str] = {}
    for line in _logical_lines(text):
        match = _KEY_AND_VALUE.match(line)
        if match:
            values[_unescape(match["key"])] = _unescape(match["value"])
    return values


def property_lines(text: str) -> dict[str, int]:
    """Return the line of each key, counted from 1; if a key is set twice, the last one."""
    lines: dict[str, int] = {}
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        bare = line.lstrip(" \t\f")
        if bare and bare[0] not in "#!" and (match := _KEY_AND_VALUE.match(bare)):
            lines[_unescape(match["key"])] = number
    return lines


def _logical_lines(text: str) -> Iterator[str]:
    """Yield lines without comments; a line that ends in an odd number of backslashes continues."""
    pending = ""
    for line in re.split(r"\r\n|\n|\r", text):
        line = line.lstrip(" \t\f")
        if not pending and (not line or line[0] in "#!"):
            continue
        backslashes = len(line) - len(line.rstrip("\\"))
        if backslashes % 2:
            pending += line[:-1]
        else:
            yield pending + line
            pending = ""
    if pending:
        yield pending


def _unescape(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] == "u" and len(code) == 5:
            return chr(int(code[1:], 16))
        return {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}.get(code, code)

    return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", plain, text)


def format_properties(values: dict[str, str]) -> str:
    """Return values as the text of a properties file, in ASCII."""
    return "".join(f"{_escape(key)}={_escape(value)}\n" for key, value in values.items())


def _escape(text: str) -> str:
    escaped = re.sub(r"[\\ \t\f=:#!]", r"\\\g<0>", text).replace("\n", "\\n").replace("\r", "\\r")
    units = (escaped[i].encode("utf-16-be") for i in range(len(escaped)))
    return "".join(
        unit.decode("utf-16-be")
        if unit < b"\x00\x7f"
        else "".join(f"\\u{unit[i : i + 2].hex()}" for i in range(0, len(unit), 2))
        for unit in units
    )


def addresses(values: dict[str, str]) -> tuple[Address, ...]:
    """Return where TorchServe will listen: inference, management, metrics, and two for gRPC.

    Raises ProjectError for an address that is not an http or https URL with a port.
    """
    merged = _DEFAULTS | values
    http = [_http_address(role, merged) for role in ("inference", "management", "metrics")]
    grpc = [_grpc_address(role, merged) for role in ("inference", "management")]
    return (*http, *grpc)


def with_ports(values: dict[str, str], first: int) -> dict[str, str]:
    """Return `values` with ports `first` to `first + 4`, in the order of `addresses`."""
    moved = {}
    for offset, address in enumerate(addresses(values)):
        if address.scheme == "grpc":
            moved[address.key.replace("_address", "_port")] = str(first + offset)
        else:
            moved[address.key] = replace(address, port=first + offset).url
    return values | moved


def _grpc_address(role: str, values: dict[str, str]) -> Address:
    port = values[f"grpc_{role}_port"]
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ProjectError(
            f"{CONFIG_FILE}: grpc_{role}_port={port} is not a port",
            f"write grpc_{role}_port={_DEFAULTS[f'grpc_{role}_port']}",
            code="config-port",
        )
    return Address(f"gRPC {role}", "grpc", values[f"grpc_{role}_address"], int(port))


def _http_address(role: str, values: dict[str, str]) -> Address:
    key = f"{role}_address"
    value = values[key]
    parts = urlsplit(value)
    try:
        port = parts.port
    except ValueError:
        port = None
    # TorchServe does not accept IPv6 addresses (Connector.java).
    known = parts.scheme in ("http", "https")
    if not known or not parts.hostname or ":" in parts.hostname or port is None:
        raise ProjectError(
            f"{CONFIG_FILE}: {key}={value} is not an address that marsmith can serve on",
            f"write {key}={_DEFAULTS[key]}",
            code="config-address",
        )
    return Address(role, parts.scheme, parts.hostname, port)
