"""A wheel and an sdist against what git tracks: `python contents.py CHECKOUT FOLDER`, which holds both."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

NEEDED = {
    "graphfew/py.typed",
    "graphfew/data/datasets/cifar100.json",
    "graphfew/labeling/annotation/static/annotate.css",
    "graphfew/labeling/annotation/static/annotate.js",
    "graphfew/labeling/annotation/static/map.js",
    "graphfew/labeling/annotation/templates/base.html",
    "graphfew/benchmark/report/templates/page.html",
    "graphfew/benchmark/report/templates/macros.html",
    "graphfew/benchmark/report/templates/plot.mplstyle",
    "graphfew/benchmark/report/templates/style.css",
    "graphfew/benchmark/report/templates/table.md",
}
KINDS = (".py", ".json", ".css", ".html", ".js", ".md", ".mplstyle", ".safetensors", "py.typed")


def tracked(checkout: Path) -> set[str]:
    """Every file that git tracks or would; where there is no git, every file but caches and hidden folders' files."""
    command = ["git", "-C", str(checkout), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        below = [path.relative_to(checkout) for path in checkout.rglob("*")]
        names = [
            path.as_posix()
            for path in below
            if not any(part.startswith(".") or part == "__pycache__" for part in path.parts[:-1])
        ]
    return {name for name in names if (checkout / name).is_file()}


def of_wheel(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def of_sdist(path: Path) -> dict[str, bytes]:
    """Files below the one folder that it unpacks to."""
    with tarfile.open(path) as archive:
        files = {
            member.name: archive.extractfile(member)
            for member in archive.getmembers()
            if member.isfile()
        }
        return {
            name.split("/", 1)[1]: file.read() for name, file in files.items() if file is not None
        }


def faults(
    checkout: Path, wheel: dict[str, bytes], again: dict[str, bytes], sdist: dict[str, bytes]
) -> list[str]:
    """What is wrong: `wheel` is of the sdist, `again` of the checkout."""
    every = tracked(checkout)
    own = {name for name in every if name.startswith("graphfew/")}
    packed = {name for name in wheel if not name.split("/")[0].endswith(".dist-info")}
    facts = {name.split("/", 1)[1] for name in set(wheel) - packed}
    return [
        *(f"the wheel lacks {name}" for name in sorted((own | NEEDED) - packed)),
        *(f"the wheel has {name}" for name in sorted(packed - own)),
        *(
            f"the wheel has a file of no known kind, {name}"
            for name in sorted(packed)
            if not name.endswith(KINDS)
        ),
        *(
            f"{name} differs from the checkout's"
            for name in sorted(own & packed)
            if wheel[name] != (checkout / name).read_bytes()
        ),
        *(
            f"the wheel lacks its {name}"
            for name in ("METADATA", "entry_points.txt", "licenses/LICENSE")
            if name not in facts
        ),
        *(
            f"the sdist lacks {name}"
            for name in sorted(own | {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml"})
            if name not in sdist
        ),
        *(f"the sdist has {name}" for name in sorted(set(sdist) - every - {"PKG-INFO"})),
        *(
            f"{name} differs between the wheel of the sdist and that of the checkout"
            for name in sorted(wheel.keys() | again.keys())
            if wheel.get(name) != again.get(name)
        ),
    ]


def main(checkout: Path, folder: Path) -> None:
    (wheel,), (sdist,), (again,) = (
        sorted(folder.glob(p)) for p in ("*.whl", "*.tar.gz", "checkout/*.whl")
    )
    found = faults(checkout, of_wheel(wheel), of_wheel(again), of_sdist(sdist))
    if found:
        raise SystemExit("\n".join(found))
    print(
        f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, {sdist.name}: {sdist.stat().st_size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
