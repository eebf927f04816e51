"""What an installation or an image is made of, as a CycloneDX 1.6 bill of materials."""

from __future__ import annotations

import email
import re
import zipfile
from collections.abc import Iterable
from email.message import Message
from importlib import metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import canonicalize_name

import licences
from release.verify import digest

_INSTALLED = "install ok installed"


def of_wheels(wheels: Iterable[Path]) -> str:
    """Of wheel files, each with its digest."""
    return _told([_of_wheel(path) for path in wheels], "hepatica", ComponentType.APPLICATION)


def of_environment(places: list[str]) -> str:
    """Of every distribution whose metadata lie in these folders (``sys.path`` of a Python)."""
    return _told(_distributions(places), "hepatica", ComponentType.APPLICATION)


def of_image(root: Path, name: str) -> str:
    """Of the file system of an image: Debian's packages, and Python's in any site-packages."""
    places = sorted({str(path.parent) for path in root.glob("**/*.dist-info")})
    return _told([*_packages(root), *_distributions(places)], name, ComponentType.CONTAINER)


def _of_wheel(path: Path) -> Component:
    with zipfile.ZipFile(path) as archive:
        (name,) = (one for one in archive.namelist() if re.fullmatch(r"[^/]+/METADATA", one))
        told = email.message_from_bytes(archive.read(name))
    return _of_python(told, [HashType(alg=HashAlgorithm.SHA_256, content=digest(path))])


def _distributions(places: list[str]) -> list[Component]:
    """The first of a name counts, as it does for an import."""
    found: dict[str, Component] = {}
    for one in metadata.distributions(path=places):
        found.setdefault(canonicalize_name(one.metadata["Name"]), _of_python(one.metadata))
    return list(found.values())


def _of_python(
    told: metadata.PackageMetadata | Message, sums: Iterable[HashType] = ()
) -> Component:
    name, version = canonicalize_name(told["Name"]), str(told["Version"])
    licence = LicenseFactory().make_from_string(licences.told_by(told))
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        purl=PackageURL("pypi", name=name, version=version),
        bom_ref=f"pypi:{name}",
        licenses=[licence],
        hashes=sums,
    )


def _packages(root: Path) -> list[Component]:
    """What dpkg has installed."""
    status = root / "var/lib/dpkg/status"
    if not status.exists():
        return []
    entries = [email.message_from_string(text) for text in status.read_text("utf-8").split("\n\n")]
    return [
        Component(
            name=told["Package"],
            version=told["Version"],
            type=ComponentType.LIBRARY,
            purl=PackageURL("deb", "debian", told["Package"], told["Version"],
                            {"arch": told["Architecture"]}),
            bom_ref=f"deb:{told['Package']}:{told['Architecture']}",
        )
        for told in entries
        if told["Status"] == _INSTALLED
    ]  # fmt: skip


def _told(components: list[Component], name: str, kind: ComponentType) -> str:
    bom = Bom(components=components)
    whole = Component(name=name, type=kind, bom_ref=f"this:{name}")
    bom.metadata.component = whole
    bom.register_dependency(whole, components)
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"
