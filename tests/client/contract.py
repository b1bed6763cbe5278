"""The protos of the internal services, compiled for tests that call them; it calls nothing itself."""

import importlib
import pathlib
import sys

from node import ROOT


def compiled(folder: pathlib.Path, *packages: str) -> list:
    """Compiles the whole contract into an empty folder; the module of each package that is named, as `identity.v1.service`."""
    import grpc_tools
    from grpc_tools import protoc

    protos = [str(path) for path in sorted((ROOT / "proto" / "p92").rglob("*.proto"))]
    known = str(pathlib.Path(grpc_tools.__file__).parent / "_proto")
    arguments = ["", f"-I{ROOT / 'proto'}", f"-I{known}", f"--python_out={folder}", *protos]
    assert protoc.main(arguments) == 0, "the contract does not compile"
    sys.path.insert(0, str(folder))
    return [importlib.import_module(f"p92.{package}_pb2") for package in packages]
