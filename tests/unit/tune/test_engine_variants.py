"""marsmith/tune/engine_variants.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from marsmith.project.spec import ArchiveSpec
from marsmith.tune.engine_variants import Calibration, reads, variants
from tests.unit.conftest import MakeProject
from tests.unit.tune.made import EAGER


def test_threads_are_tuned_where_the_handler_reads_them(project: MakeProject) -> None:
    home = project()
    (spec,) = home.specs(("tiny",))
    assert not reads(home, spec, "threads")
    (home.root / "handlers" / "helper.py").write_text("threads = 1\n")
    assert reads(home, spec, "threads")


def with_engines(spec: ArchiveSpec) -> ArchiveSpec:
    return replace(
        spec,
        model_file="model.py",
        serialized_file="w.pth",
        extra_files=("handlers/torch_engines.py",),
        handler_config={"engine": "eager"},
    )


def test_other_engines_need_a_handler_that_knows_them(project: MakeProject) -> None:
    home = project()
    (spec,) = home.specs(("tiny",))
    assert variants(home, spec) == (EAGER,)
    knowing = with_engines(spec)
    found = variants(home, knowing, ("eager", "torchscript"))
    assert {(one.engine, one.dtype) for one in found} == {
        (None, None),
        ("eager", "bfloat16"),
        ("torchscript", "float32"),
        ("torchscript", "bfloat16"),
    }


def test_int8_needs_photos_and_is_another_variant_with_others(
    project: MakeProject, tmp_path: Path
) -> None:
    home = project()
    (spec,) = map(with_engines, home.specs(("tiny",)))
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.png").write_bytes(b"%d" % number)

    def int8(agreement: float = 0.97) -> tuple[str, ...]:
        found = variants(home, spec, ("onnxruntime",), Calibration(folder, agreement))
        (one,) = [one for one in found if one.dtype == "int8"]
        return one.files

    assert "int8" not in {one.dtype for one in variants(home, spec)}
    first = int8()
    assert Path(first[0]).name == "tiny-onnx-int8.onnx"
    assert int8() == first != int8(0.5)
    (folder / "0.png").write_bytes(b"another")
    assert int8() != first
