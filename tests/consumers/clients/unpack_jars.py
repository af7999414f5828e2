"""Takes ONNX Runtime's and DJL's classes and native libraries out of pyserini: SDIST FOLDER."""

import platform
import sys
import tarfile
import zipfile
from pathlib import Path

MACHINE = {"x86_64": ("linux-x64", "linux-x86_64")}.get(
    platform.machine(), ("linux-aarch64", "linux-aarch64")
)
WANTED = ("ai/onnxruntime/", "ai/djl/", "org/slf4j/", "native/lib/tokenizers.properties")
NATIVE = (f"ai/onnxruntime/native/{MACHINE[0]}/", f"native/lib/{MACHINE[1]}/")

sdist, folder = Path(sys.argv[1]), Path(sys.argv[2])
with tarfile.open(sdist) as archive:
    (member,) = (m for m in archive if m.name.endswith("-fatjar.jar"))
    stream = archive.extractfile(member)
    assert stream is not None
    with zipfile.ZipFile(stream) as jar:
        names = [
            name
            for name in jar.namelist()
            if name.startswith(NATIVE) or (name.startswith(WANTED) and "/native/" not in name)
        ]
        jar.extractall(folder, names)
