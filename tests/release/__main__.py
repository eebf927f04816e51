"""``make hashes``, ``make wheelhouse``, ``make sbom``: what leaves for other machines."""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path

from release import hashes, image, sbom, wheelhouse


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    wanted = commands.add_parser("hashes")
    wanted.add_argument("--uv", default="uv")
    wanted = commands.add_parser("wheelhouse")
    wanted.add_argument("folder", type=Path)
    wanted.add_argument("--python", action="append", default=[], metavar="3.12")
    wanted = commands.add_parser("image")
    wanted.add_argument("folder", type=Path, help="a wheelhouse")
    wanted.add_argument(
        "--base", default="", help="an image; else one of Debian's packages is made"
    )
    commands.add_parser("sbom")
    chosen = parser.parse_args()
    project = tomllib.loads((hashes.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    version = str(project["version"])
    match chosen.command:
        case "hashes":
            print(f"hashes.txt: {hashes.write([chosen.uv])} distributions.")
        case "wheelhouse":
            sealed = wheelhouse.make(chosen.folder, chosen.python, version)
            _say(chosen.folder, sealed)
        case "image":
            made = image.build(chosen.folder, chosen.base or image.base_of_debian(), version)
            print(made.words)
            told = f"   image       docker load -i {made.archive.name} (or podman load)"
            wheelhouse.write_readme(chosen.folder, version, f"\n{told.strip()}\n")
            _say(chosen.folder, wheelhouse.seal(chosen.folder))
        case _:
            print(sbom.of_environment(sys.path), end="")


def _say(folder: Path, sealed: str) -> None:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    wheels = len(list((folder / "wheels").iterdir()))
    print(f"{folder}: {wheels} wheels, {size / 1e6:,.0f} MB. SHA-256 of SHA256SUMS: {sealed}")


if __name__ == "__main__":
    main()
