"""Logs of workers, as TorchServe 0.12.0 writes them."""

from __future__ import annotations

from marsmith.torchserve.tracebacks import Failure, find_failure
from marsmith.torchserve.worker_lines import model_lines

UNPACKED = "/tmp/marsmith-rlr34nm2/models/0f3a61c2b7d84e5f9a0b1c2d3e4f5a6b"  # noqa: S108
LOADER = "/venv/lib/python3.11/site-packages/ts/model_loader.py"
WORKER = "/venv/lib/python3.11/site-packages/ts/model_service_worker.py"

STARTED = """\
s_name_part0=/tmp/marsmith-rlr34nm2/.ts.sock, s_name_part1=9000, pid=7219
Listening on port: /tmp/marsmith-rlr34nm2/.ts.sock.9000
[PID]7219
Torch worker started.
Python runtime: 3.11.7
model_name: digits, batchSize: 32
"""

MASKED_IMPORT_ERROR = f"""\
Backend worker process died.
Traceback (most recent call last):
  File "{LOADER}", line 108, in load
    module, function_name = self._load_handler_file(handler)
                            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "{LOADER}", line 153, in _load_handler_file
    module = importlib.import_module(module_name)
  File "<frozen importlib._bootstrap>", line 1204, in _gcd_import
  File "{UNPACKED}/digit_classifier.py", line 7, in <module>
    from image_classifer import ImageClassifier
ModuleNotFoundError: No module named 'image_classifer'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "{WORKER}", line 301, in <module>
    worker.run_server()
  File "{LOADER}", line 110, in load
    module = self._load_default_handler(handler)
ModuleNotFoundError: No module named 'ts.torch_handler.digit_classifier'
"""

UNKNOWN_EXCEPTION = f"""\
Failed to load model digits, exception mean needs one number a channel
Traceback (most recent call last):
  File "{WORKER}", line 134, in load_model
    service = model_loader.load(
  File "{UNPACKED}/inner/image_handler.py", line 31, in initialize
    raise RuntimeError("mean needs one number a channel")
RuntimeError: mean needs one number a channel
Backend worker process died.
Traceback (most recent call last):
  File "{WORKER}", line 301, in <module>
    worker.run_server()
  File "{WORKER}", line 244, in handle_connection
    raise RuntimeError("{{}} - {{}}".format(code, result))
RuntimeError: 500 - Unknown exception
"""

SYNTAX_ERROR = f"""\
Backend worker process died.
Traceback (most recent call last):
  File "{LOADER}", line 153, in _load_handler_file
    module = importlib.import_module(module_name)
  File "{UNPACKED}/digit_classifier.py", line 3
    def f(:
          ^
SyntaxError: invalid syntax
"""

STATE_DICT = f"""\
Failed to load model digits, exception Error(s) in loading state_dict for ConvNet:
\tMissing key(s) in state_dict: "cn1.weight".
Traceback (most recent call last):
  File "{WORKER}", line 134, in load_model
    service = model_loader.load(
  File "{UNPACKED}/image_handler.py", line 40, in initialize
    model.load_state_dict(state_dict)
RuntimeError: Error(s) in loading state_dict for ConvNet:
\tMissing key(s) in state_dict: "cn1.weight", "cn1.bias".
\tsize mismatch for fc2.weight: copying a param with shape torch.Size([5, 64]).
Backend worker process died.
Traceback (most recent call last):
  File "{WORKER}", line 301, in <module>
    worker.run_server()
RuntimeError: 500 - Unknown exception
"""


def logged(text: str, worker: str = "W-9000-digits_1.0", stream: str = "stdout") -> list[str]:
    """Return a worker's output as lines of workers.log."""
    return [f"2026-11-21T00:10:31,053 {worker}-{stream} {line}" for line in text.splitlines()]


def failure_in(*lines: str) -> Failure | None:
    return find_failure(model_lines("\n".join(lines) + "\n", "digits", "1.0"))
