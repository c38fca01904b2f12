"""A network on a GPU: fixed batch sizes, replayed as CUDA graphs, and halved where memory ends."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from marsmith_handlers.arrays import Array
from marsmith_handlers.image_config import ImageConfig
from marsmith_handlers.torch_engines import TorchEngine, as_array, as_tensor, mapped

logger = logging.getLogger(__name__)

_WARM_UPS = 3  # calls before a capture: libraries choose their kernels in the first ones
Network = Callable[[Any], Any]


class CudaEngine(TorchEngine):
    """A network that a GPU computes, on a stream of its own.

    Batches are padded to powers of two, so that few sizes come. With `graphs`, each of them is
    captured when it comes first, and replayed from then on: one launch instead of hundreds.
    """

    on_gpu = True

    def __init__(
        self, network: Network, device: torch.device, *, channels_last: bool, graphs: bool
    ) -> None:
        """`network` is already on the `device`."""
        super().__init__(network, channels_last=channels_last)
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._graphs: dict[tuple[int, ...], Network] | None = {} if graphs else None

    def card_decoder(self, config: ImageConfig) -> Any:
        """Return what decodes JPEGs on this GPU, or None without torchvision."""
        if importlib.util.find_spec("torchvision") is None:
            return None
        from marsmith_handlers.card_decoder import CardDecoder

        return CardDecoder(config, self.device, torch.cuda.stream(self.stream))

    def empty(self, shape: tuple[int, ...]) -> Array:
        """Return pinned memory, which the GPU fetches by itself."""
        layout = self.layout_of(len(shape))
        array: Array = torch.empty(shape, pin_memory=True, memory_format=layout).numpy()
        return array

    def __call__(self, batch: Any) -> Any:
        """Compute without gradients. `batch` may lie on the GPU already."""
        with torch.inference_mode(), torch.cuda.stream(self.stream):
            if isinstance(batch, list):
                given: Any = [self._moved(one) for one in batch]
                return mapped(halving(self.network, given), as_array)
            whole = self._moved(batch).contiguous(memory_format=self.layout_of(4))
            return mapped(halving(self._padded, whole), as_array)

    def stack(self, pictures: Sequence[Any]) -> Any:
        """Make pictures a batch; those that lie on the GPU stay there."""
        if not any(isinstance(one, torch.Tensor) for one in pictures):
            return super().stack(pictures)
        with torch.cuda.stream(self.stream):
            return torch.stack([self._moved(one) for one in pictures])

    def _moved(self, values: Array | torch.Tensor) -> torch.Tensor:
        tensor = values if isinstance(values, torch.Tensor) else as_tensor(values)
        return tensor.to(self.device, non_blocking=True)

    def _padded(self, batch: torch.Tensor) -> Any:
        padded = padded_batch(batch)
        outputs = self._replayed(padded)
        return mapped(outputs, lambda one: one[: len(batch)])

    def _replayed(self, batch: torch.Tensor) -> Any:
        if self._graphs is None:
            return self.network(batch)
        shape = tuple(batch.shape)
        if shape not in self._graphs:
            try:
                self._graphs[shape] = captured(self.network, batch, self.stream)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:  # it asks the GPU for values while it runs
                logger.info("The network cannot be captured as a CUDA graph: %s", error)
                self._graphs = None
                torch.cuda.synchronize(self.device)
                return self.network(batch)
        return self._graphs[shape](batch)


def captured(network: Network, example: torch.Tensor, stream: torch.cuda.Stream) -> Network:
    """Return a function that replays what `network` does with a batch of the example's shape."""
    given = example.clone(memory_format=torch.preserve_format)
    for _ in range(_WARM_UPS):
        network(given)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        outputs = network(given)

    def replay(batch: torch.Tensor) -> Any:
        given.copy_(batch)
        graph.replay()
        return mapped(outputs, torch.clone)  # the next replay writes into the same memory

    return replay


def padded_batch(batch: torch.Tensor) -> torch.Tensor:
    """Return a batch [N, …] with copies of its last row up to the next power of two."""
    count = len(batch)
    missing = (1 << (count - 1).bit_length()) - count
    if not missing:
        return batch
    rows = batch[-1:].expand(missing, *batch.shape[1:])
    whole = torch.cat([batch, rows])
    last = batch.is_contiguous(memory_format=torch.channels_last) if batch.dim() == 4 else False
    return whole.contiguous(memory_format=torch.channels_last) if last else whole


def halving(compute: Network, batch: Any) -> Any:
    """Compute a batch [N, …], or a list; in halves where the GPU's memory is not enough."""
    try:
        return compute(batch)
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise
    # Not in the handler of the exception: its traceback holds the tensors of the failed try.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(batch) // 2
    halves = [halving(compute, part) for part in (batch[:middle], batch[middle:])]
    return joined(halves, rows=isinstance(batch, list))


def joined(parts: list[Any], *, rows: bool) -> Any:
    """Put outputs for parts of a batch together. `rows`: a list in them has an item a picture."""
    first = parts[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(parts)
    if isinstance(first, dict):
        return {key: joined([part[key] for part in parts], rows=False) for key in first}
    if rows:
        return [one for part in parts for one in part]
    return [joined(list(column), rows=False) for column in zip(*parts, strict=True)]
