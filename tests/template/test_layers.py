"""The layers hold what was tested and nothing else, and are small enough. Run `make build` first."""

import importlib.util
import re
from itertools import combinations
from pathlib import Path

import pymilvus
import pytest

from tests.template.loading import BUILD, ROOT, functions, snake_case

LAYERS = ("SharedLayer", "PymilvusLayer", "ArrowLayer")
REQUIREMENTS = {
    layer: ROOT / "layers" / snake_case(layer.removesuffix("Layer")) / "requirements.txt" for layer in LAYERS
}

# Lambda allows 250 MB for a function with its layers; the rest is for what is yet to come.
MAX_UNZIPPED_BYTES = 200 * 1024**2

# Every cold start of a function that talks to Milvus unpacks it. With pymilvus whole it would be 135 MB.
MAX_BYTES_FOR_MILVUS = 25 * 1024**2

# What is left of the pinned packages in that layer.
KEPT_FOR_MILVUS = {"grpcio", "protobuf", "pymilvus", "typing-extensions"}

# What Lambda's python3.13 runs on, Amazon Linux 2023, has of the C and C++ libraries: glibc 2.34, and those of GCC 11.
SYSTEM = {"GLIBC": "2.34", "GLIBCXX": "3.4.29", "CXXABI": "1.3.13"}
NEEDED = re.compile(rb"\0(GLIBC|GLIBCXX|CXXABI)_([0-9.]+)(?=\0)")

# In the flags of a .pyc: it is found by a hash of its source, and Python does not check the hash.
UNCHECKED_HASH = 0b01


def pins(path: Path) -> dict[str, str]:
    """Return the versions that a requirements file pins, by normalised name."""
    lines = [line.partition(";")[0].strip() for line in path.read_text().splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in wanted)
    return {normalised(line.partition("==")[0]): line.partition("==")[2] for line in wanted}


def normalised(name: str) -> str:
    """Return a package's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(layer: str) -> dict[str, str]:
    """Return the versions of the packages in a built layer, by normalised name."""
    names = [path.stem.rpartition("-") for path in folder(layer).glob("*.dist-info")]
    return {normalised(name): version for name, _, version in names}


def folder(layer: str) -> Path:
    """Return where a built layer's modules are."""
    return BUILD / layer / "python"


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_has_the_versions_that_the_tests_run_with(layer: str) -> None:
    tested = pins(ROOT / "requirements" / "dev.txt")
    shipped = pins(REQUIREMENTS[layer])
    assert shipped == {name: tested.get(name) for name in shipped}


def test_packages_that_two_layers_have_are_of_one_version() -> None:
    for one, other in combinations((pins(REQUIREMENTS[layer]) for layer in LAYERS), 2):
        both = one.keys() & other.keys()
        assert {name: one[name] for name in both} == {name: other[name] for name in both}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_built_layer_holds_exactly_the_pinned_packages(layer: str) -> None:
    pinned = pins(REQUIREMENTS[layer])
    kept = KEPT_FOR_MILVUS if layer == "PymilvusLayer" else pinned.keys()
    assert installed(layer) == {name: pinned[name] for name in kept}


@pytest.mark.parametrize("name", functions())
def test_a_function_with_its_layers_is_far_from_lambdas_limit(name: str) -> None:
    layers = ["SharedLayer", *(layer["Ref"] for layer in functions()[name].get("Layers", ()) if layer["Ref"] in LAYERS)]
    files = [path for built in {name, *layers} for path in (BUILD / built).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_UNZIPPED_BYTES


@pytest.mark.parametrize("built", [*LAYERS, *functions()])
def test_everything_is_compiled_in_a_way_that_survives_zipping(built: str) -> None:
    sources = list((BUILD / built).rglob("*.py"))
    assert sources
    for source in sources:
        compiled = Path(importlib.util.cache_from_source(str(source)))
        with compiled.open("rb") as stream:
            header = stream.read(8)
        assert header[:4] == importlib.util.MAGIC_NUMBER
        assert int.from_bytes(header[4:], "little") == UNCHECKED_HASH, source


@pytest.mark.parametrize("layer", LAYERS)
def test_what_is_compiled_needs_no_newer_system_than_lambdas(layer: str) -> None:
    assert too_new(folder(layer)) == []


def too_new(built: Path) -> list[tuple[str, str]]:
    """Return the compiled files below a folder that ask for what Lambda's system lacks, each with what that is."""
    compiled = sorted(built.rglob("*.so*"))
    assert compiled
    return [
        (str(path.relative_to(built)), f"{name.decode()}_{version.decode()}")
        for path in compiled
        for name, version in NEEDED.findall(path.read_bytes())
        if _numbers(version.decode()) > _numbers(SYSTEM[name.decode()])
    ]


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


@pytest.mark.parametrize("left_out", ["tests", "include"])
def test_what_nothing_imports_of_pyarrow_is_left_out(left_out: str) -> None:
    assert (folder("ArrowLayer") / "pyarrow" / "__init__.py").exists()
    assert not (folder("ArrowLayer") / "pyarrow" / left_out).exists()


def test_of_pymilvus_the_layer_has_what_the_functions_import_and_not_what_its_client_does() -> None:
    built = folder("PymilvusLayer")
    modules = {path.stem for path in built.iterdir() if path.suffix in {"", ".py"}} - {"__pycache__"}
    assert modules == {"google", "grpc", "pymilvus", "typing_extensions"}
    assert {path.stem for path in (built / "pymilvus").iterdir()} - {"__pycache__"} == {"__init__", "grpc_gen"}
    assert (built / "pymilvus" / "__init__.py").read_bytes() == b""
    released = {path.name: path.read_bytes() for path in (Path(pymilvus.__file__).parent / "grpc_gen").glob("*.py")}
    assert released == {path.name: path.read_bytes() for path in (built / "pymilvus" / "grpc_gen").glob("*.py")}
    assert sum(path.stat().st_size for path in built.rglob("*") if path.is_file()) < MAX_BYTES_FOR_MILVUS


def test_the_package_is_in_the_shared_layer_and_nowhere_else() -> None:
    assert (folder("SharedLayer") / "milvus_vault" / "py.typed").exists()
    assert not (folder("PymilvusLayer") / "milvus_vault").exists()
