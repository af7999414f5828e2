"""Makes site-packages small, and quick to import, for the image.

    python slim.py SITE_PACKAGES

Removes what only compiling against or testing the libraries needs, the symbols of torch's libraries
where there is a strip command, and compiles byte code ahead.
"""

import compileall
import multiprocessing
import os
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from py_compile import PycInvalidationMode

# Headers, static libraries, C++ test programs, protobuf's compiler, CMake files; and the sources
# that transformers' modeling files were generated from.
_DEVELOPMENT = (
    "torch/include", "torch/test", "torch/bin/test_*", "torch/bin/protoc*", "torch/share",
    "torch/lib/*.a", "torchgen/packaged", "numpy/_core/include", "numpy/_core/lib/*.a",
    "numpy/random/lib", "onnx/backend/test/data", "transformers/models/*/modular_*.py",
    # Devices and formats of models that no conversion uses.
    "openvino/libs/*_intel_gpu_plugin.so", "openvino/libs/*_intel_npu_plugin.so",
    "openvino/libs/cache.json", "openvino/libs/*_tensorflow*", "openvino/libs/*_paddle*",
    "openvino/libs/*_gguf*", "openvino/libs/*_pytorch*", "openvino/libs/*_jax*",
    # Syntax of Python 3.12, which has no byte code here.
    "torch/testing/_internal/py312_*.py",
    "**/*.pyi", "**/*.pyx", "**/*.pxd", "**/*.h", "**/*.hpp", "**/*.cpp", "**/*.cuh", "**/*.cu",
)  # fmt: skip

# Test suites, by the folder's name. torch.testing and numpy.testing are libraries, and stay.
_SUITES = {"tests", "test"}


def trim(packages: Path) -> int:
    """Removes what is not needed; returns the bytes that it took."""
    doomed = {path for pattern in _DEVELOPMENT for path in packages.glob(pattern)}
    doomed |= {path for path in packages.rglob("*") if path.is_dir() and path.name in _SUITES}
    freed = 0
    for path in sorted(doomed):
        if not path.exists():
            continue
        files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
        freed += sum(file.stat().st_size for file in files)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return freed


def strip(packages: Path) -> int:
    """Removes symbols that only debuggers read from torch's libraries; returns their bytes.

    Only torch's: strip breaks libraries that auditwheel has moved, as numpy's and scipy's.
    """
    if shutil.which("strip") is None:
        return 0
    libraries = sorted((packages / "torch/lib").glob("*.so"))
    before = sum(path.stat().st_size for path in libraries)
    subprocess.run(["strip", "--strip-unneeded", *libraries], check=True)
    return before - sum(path.stat().st_size for path in libraries)


def compile_ahead(packages: Path) -> None:
    """Writes byte code that is never checked, and is the same in every build.

    What marshal writes depends on which strings the process has seen, and on the hash seed: each
    package gets a process of its own, with the seed fixed.
    """
    os.environ["PYTHONHASHSEED"] = "0"
    folders = sorted(path for path in packages.iterdir() if path.is_dir())
    with ProcessPoolExecutor(
        mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        done = list(pool.map(_compile_folder, folders))
    if not _compile_folder(packages, levels=0) or not all(done):
        sys.exit("some files do not compile")


def _compile_folder(folder: Path, levels: int = 100) -> bool:
    return bool(
        compileall.compile_dir(
            folder,
            maxlevels=levels,
            quiet=1,
            force=True,
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(f"removed {trim(folder) / 1e6:.0f} MB")
    print(f"stripped {strip(folder) / 1e6:.0f} MB")
    compile_ahead(folder)
