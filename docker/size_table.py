"""Prints the image's size by package, as a Markdown table.

docker run --rm -i --network none --entrypoint python embconvert - < docker/size_table.py
"""

import sysconfig
from collections import Counter
from pathlib import Path

_ROOTS = {
    "/app": "embconvert",
    "/usr/local": "Python",
    "/opt": "list of contents (SBOM)",
}
# Packages below this are summed up.
_SMALL_BYTES = 20_000_000


def files_below(folder: Path) -> list[Path]:
    """Returns a folder's own files: no links, nothing mounted into it."""
    device = folder.stat().st_dev
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.stat().st_dev == device
    ]


def main() -> None:
    """Prints the table."""
    packages = Path(sysconfig.get_path("purelib"))
    sizes: Counter[str] = Counter()
    compiled: Counter[str] = Counter()
    for top in [p for p in Path("/").iterdir() if p.name not in ("proc", "sys", "dev", "models")]:
        if top.is_symlink() or not top.is_dir():
            continue
        for path in files_below(top):
            size = path.stat().st_size
            if path.is_relative_to(packages):
                name = path.relative_to(packages).parts[0].removesuffix(".libs")
            else:
                roots = (n for root, n in _ROOTS.items() if path.is_relative_to(root))
                name = next(roots, "Debian")
            sizes[name] += size
            compiled[name] += size if path.suffix == ".pyc" else 0
    small = [n for n, s in sizes.items() if s < _SMALL_BYTES and n not in _ROOTS.values()]
    rest = f"{len(small)} smaller folders of packages"
    for name in small:
        sizes[rest] += sizes.pop(name)
        compiled[rest] += compiled.pop(name)
    print("| part | MB | of which byte code |\n|---|---:|---:|")
    for name, size in sizes.most_common():
        print(f"| {name} | {size / 1e6:.0f} | {compiled[name] / 1e6:.0f} |")
    print(f"| **all** | **{sizes.total() / 1e6:.0f}** | **{compiled.total() / 1e6:.0f}** |")


if __name__ == "__main__":
    main()
