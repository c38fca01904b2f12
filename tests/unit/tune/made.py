"""Configurations and measurements that tests of the search make up."""

from __future__ import annotations

from marsmith.tune.measurements import Measurement
from marsmith.tune.space import Configuration, Space, Variant

EAGER = Variant()
ONNX = Variant(
    "onnxruntime", "float32", "onnx", (".marsmith/tune/tiny-files/t.xml", ".marsmith/t.bin")
)
ONE = Configuration(EAGER, 1, 1, 8, 2)


def space(goal: float = 0.05, connections: int = 64, cores: int = 2) -> Space:
    return Space.of((EAGER,), cores=cores, connections=connections, goal=goal, threads=True)


def measurement(
    configuration: Configuration = ONE, rate: float = 100, p99: float = 0.01
) -> Measurement:
    return Measurement(configuration, rate, p99 / 2, p99, 5.0)
