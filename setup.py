"""What pyproject.toml cannot say: a build compiles the .proto files of marsmith/client/protos."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build import build

ROOT = Path(__file__).parent


class BuildProtos(Command):
    """Runs protoc. A step of `build`, so that wheels and editable installs have its modules."""

    user_options = []  # noqa: RUF012 (setuptools' own form)
    editable_mode = False

    def initialize_options(self) -> None:
        """There are no options."""

    def finalize_options(self) -> None:
        """There are no options."""

    def run(self) -> None:
        """Write the modules beside their .proto files, where packages are looked for."""
        # Only here: metadata is asked for where grpcio-tools need not be installed yet.
        import grpc_tools
        from grpc_tools import protoc

        os.chdir(ROOT)
        sources = self.get_source_files()
        included = Path(grpc_tools.__file__).parent / "_proto"
        with tempfile.TemporaryDirectory(dir=ROOT / "marsmith" / "client" / "protos") as folder:
            arguments = ["protoc", "-I.", f"-I{included}", f"--python_out={folder}", *sources]
            if protoc.main(arguments):
                sys.exit(
                    "error: marsmith/client/protos cannot be compiled; protoc's lines above say why"
                )
            for name in self.get_outputs():
                Path(folder, name).replace(name)

    def get_source_files(self) -> list[str]:
        """Return what a source distribution needs for this step."""
        return sorted(
            str(path.relative_to(ROOT))
            for path in (ROOT / "marsmith/client/protos").glob("*.proto")
        )

    def get_outputs(self) -> list[str]:
        """Return what this step writes."""
        return [name.removesuffix(".proto") + "_pb2.py" for name in self.get_source_files()]

    def get_output_mapping(self) -> dict[str, str]:
        """Nothing is written outside the source tree: build_py copies it on."""
        return {}


class Build(build):
    """The usual steps after that one."""

    sub_commands = [("build_protos", None), *build.sub_commands]  # noqa: RUF012


setup(cmdclass={"build": Build, "build_protos": BuildProtos})
