"""How much memory a further worker takes, with weights mapped and with weights copied."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import click
import psutil

ROOT = Path(__file__).parents[1]
WEIGHTS = """
import sys, torch
sys.path.insert(0, "model_defs")
from resnet_generator import ResnetGenerator
torch.manual_seed(0)
torch.save(ResnetGenerator().state_dict(), "weights/latest_net_G.pth")  # 45 MB
"""
SPEC = """\
[archives.cartoon]
version = "1.0"
handler = "handlers/image_to_image.py"
model_file = "model_defs/resnet_generator.py"
serialized_file = "weights/latest_net_G.pth"
extra_files = [
    "handlers/image_codec.py",
    "handlers/image_handler.py",
    "handlers/image_request.py",
    "handlers/image_response.py",
    "handlers/model_loader.py",
]
[archives.cartoon.serving]
minWorkers = 1
maxWorkers = 4
[archives.cartoon.handler_config]
size = [256, 256]
mean = [0.5]
std = [0.5]
output_mean = 0.5
output_std = 0.5
"""
MAPPED = "network.load_state_dict(_state_dict(weights), assign=True)"
COPIED = "network.load_state_dict({k: v.clone() for k, v in _state_dict(weights).items()})"


def make_project(folder: Path, *, mapped: bool) -> None:
    """Write a project with one archive of 45 MB of random weights."""
    for name in ("handlers", "model_defs"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copytree(ROOT / "samples", folder / "samples")
    (folder / "weights").mkdir()
    shutil.copy(ROOT / "config.properties", folder)
    (folder / "archives.toml").write_text(SPEC)
    subprocess.run([sys.executable, "-c", WEIGHTS], cwd=folder, check=True)  # noqa: S603
    if not mapped:
        loader = folder / "handlers" / "model_loader.py"
        text = loader.read_text()
        if MAPPED not in text:
            raise click.ClickException(f"{loader.name} loads weights in another way now")
        loader.write_text(text.replace(MAPPED, COPIED))


def marsmith(folder: Path, *arguments: str) -> str:
    """Run a command of the kit in a project."""
    command = [str(Path(sys.executable).parent / "marsmith"), "--project", str(folder), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return result.stdout


def workers_memory(folder: Path, workers: int) -> int:
    """Scale, let every worker answer, and return what they take: bytes of proportional set size.

    PSS counts a page that n processes share as 1/n for each, so the sum is what they really take.
    """
    marsmith(folder, "scale", "cartoon", str(workers))
    for _ in range(3 * workers):
        marsmith(folder, "predict", "cartoon", str(folder / "samples" / "cat.jpg"))
    (model,) = json.loads(marsmith(folder, "models", "--json"))
    pids = [worker["pid"] for worker in model["workers"]]
    return sum(psutil.Process(pid).memory_full_info().pss for pid in pids)


def further_workers(mapped: bool, most: int) -> list[float]:
    """Return the megabytes that the second worker takes, the third, …"""
    with tempfile.TemporaryDirectory(prefix="marsmith-bench-") as name:
        folder = Path(name)
        make_project(folder, mapped=mapped)
        marsmith(folder, "build")
        marsmith(folder, "serve", "--background", "--port", "0")
        try:
            totals = [workers_memory(folder, count) for count in range(1, most + 1)]
        finally:
            marsmith(folder, "stop")
    return [(after - before) / 1e6 for before, after in pairwise(totals)]


@click.command()
@click.option("--workers", default=3, show_default=True, help="Up to how many.")
def memory(workers: int) -> None:
    """Measure the extra memory (PSS) of each further worker, with 45 MB of random weights."""
    click.echo("MB of proportional set size that each further worker takes; 45 MB of weights")
    medians = {}
    for mapped in (True, False):
        name = "mapped, as handlers/model_loader.py does" if mapped else "copied into each worker"
        extra = further_workers(mapped, workers)
        medians[mapped] = statistics.median(extra)
        click.echo(f"  {name:42} {', '.join(f'{one:.0f}' for one in extra)}")
    click.echo(f"  ratio of the medians {medians[True] / medians[False]:.2f}")
