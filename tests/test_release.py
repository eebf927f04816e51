"""What leaves for machines without internet: hashes, wheels, a bill of materials, an image."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import zipfile
from importlib import resources
from pathlib import Path
from urllib.parse import urljoin

import pytest
from jsonschema import Draft7Validator
from packaging.utils import canonicalize_name
from referencing import Registry, Resource

import licences
from release import hashes, image, sbom, verify, wheelhouse

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parent.parent
PINS = {pin.name: pin for pin in hashes.read()}
INSTALL = ROOT / "tests/release/install.sh"
CUT_OFF = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--net"]


def wheel(folder: Path, name: str, requires: str = "", tag: str = "py3-none-any") -> Path:
    """A wheel with one module, whose only work is to be installed."""
    told = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nLicense-Expression: MIT\n"
    told += f"Requires-Dist: {requires}\n" if requires else ""
    info = f"{name}-1.0.dist-info"
    path = folder / f"{name}-1.0-{tag}.whl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"NAME = {name!r}\n")
        archive.writestr(f"{info}/METADATA", told)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")  # fmt: skip  # noqa: E501
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A wheelhouse of two small wheels instead of sixty, with all else as it is."""
    folder = tmp_path / "house"
    wheels = [wheel(folder / "wheels", "liver"), wheel(folder / "wheels", "ward", "liver")]
    (folder / "requirements.txt").write_text(wheelhouse.requirements(wheels))
    (folder / "PYTHONS").write_text(f"cp{sys.version_info.major}{sys.version_info.minor}\n")
    for name in ("verify.py", "install.sh"):
        shutil.copy(ROOT / "tests/release" / name, folder / name)
    wheelhouse.write_readme(folder, "1.0")
    wheelhouse.seal(folder)
    return folder


def install(house: Path, place: Path) -> subprocess.CompletedProcess[str]:
    if subprocess.run([*CUT_OFF, "true"], capture_output=True).returncode:
        pytest.skip("no network can be cut off here (unshare)")
    return subprocess.run(
        [*CUT_OFF, str(house / "install.sh"), str(place)],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip


# -- hashes ---------------------------------------------------------------------------------------


def test_whatever_serving_installs_has_hashes_and_the_version_of_the_constraints() -> None:
    pinned = hashes.constraints()
    for part in licences.parts():
        if part.extra != "train":
            assert part.name in PINS, f"{part.name} has no digest: `make hashes`"
            assert PINS[part.name].version == part.version == pinned[part.name]
    for pin in PINS.values():
        assert pin.sha256, f"{pin.name} has no digest"
        assert pin.version == pinned.get(pin.name, pin.version), f"{pin.name}: `make hashes`"
        assert pin.name in pinned or not pin.is_for_this_machine, f"{pin.name} has no pin"


def test_the_image_takes_nothing_without_a_hash() -> None:
    served = (ROOT / "Dockerfile").read_text("utf-8").partition("AS worker")[0]
    fetching = [line for line in served.splitlines() if "pip install" in line]
    assert len(fetching) == 2
    for line in fetching:
        assert "--require-hashes -r hashes.txt" in line or "--no-deps --no-build-isolation" in line


# -- wheels ---------------------------------------------------------------------------------------


def test_a_wheelhouse_installs_without_a_network_and_imports(house: Path, tmp_path: Path) -> None:
    done = install(house, tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    program = "import liver, ward; print(liver.NAME, ward.NAME)"
    said = subprocess.check_output([tmp_path / "site/bin/python", "-c", program], text=True)
    assert said == "liver ward\n"
    again = install(house, tmp_path / "site")
    assert (again.returncode, "new folder" in again.stderr) == (1, True)


def test_a_wheelhouse_for_other_pythons_says_so(house: Path, tmp_path: Path) -> None:
    (house / "PYTHONS").write_text("cp399\n")
    wheelhouse.seal(house)
    done = install(house, tmp_path / "site")
    assert done.returncode == 1
    assert "cp399" in done.stderr
    assert not (tmp_path / "site").exists()


def swapped(house: Path) -> None:
    """Someone puts another wheel in place, and new sums, but cannot reach requirements.txt."""
    wheel(house / "wheels", "liver", "ward")
    wheelhouse.seal(house)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda house: (house / "wheels/liver-1.0-py3-none-any.whl").write_bytes(b""), "changed"),
        (lambda house: (house / "wheels/liver-1.0-py3-none-any.whl").unlink(), "missing"),
        (lambda house: wheel(house / "wheels", "extra"), "not in SHA256SUMS"),
        (lambda house: (house / "SHA256SUMS").unlink(), "cannot be read"),
        (swapped, "HASH"),
    ],
    ids=["changed", "missing", "extra", "no list", "swapped with its sum"],
)
def test_a_wheelhouse_that_is_not_whole_installs_nothing(house, tmp_path, harm, told) -> None:
    harm(house)
    done = install(house, tmp_path / "site")
    assert done.returncode != 0
    assert told in done.stderr
    assert not list((tmp_path / "site").glob("lib/*/site-packages/liver.py"))


def test_sha256sum_and_the_program_agree(house: Path) -> None:
    def by_sha256sum() -> int:
        command = ["sha256sum", "--strict", "--status", "-c", "SHA256SUMS"]
        return subprocess.run(command, cwd=house).returncode

    assert (verify.faults(house), by_sha256sum()) == ([], 0)
    (house / "README.txt").write_text("other words")
    assert (verify.faults(house), by_sha256sum()) == (["README.txt: changed"], 1)


def test_requirements_take_each_wheel_of_a_distribution(tmp_path: Path) -> None:
    wheels = [
        wheel(tmp_path, "liver", tag=f"cp3{n}-cp3{n}-manylinux_2_28_x86_64") for n in (11, 12)
    ]
    (line,) = wheelhouse.requirements(wheels).splitlines()
    assert line.startswith("liver==1.0 --hash=sha256:")
    assert {f"--hash=sha256:{hashlib.sha256(one.read_bytes()).hexdigest()}" for one in wheels} == set(line.split()[1:])  # fmt: skip  # noqa: E501


def test_a_wheelhouse_says_which_machines_it_is_for(tmp_path: Path) -> None:
    def named(*tags: str) -> str:
        return wheelhouse.platform([tmp_path / f"liver-1.0-cp311-cp311-{tag}.whl" for tag in tags])

    assert named("any") == "any platform"
    assert named("manylinux_2_17_x86_64.manylinux_2_28_x86_64", "manylinux2014_x86_64", "any") == (
        "Linux on x86_64 with glibc 2.17 or newer"
    )
    assert named("manylinux1_x86_64", "manylinux_2_34_x86_64").endswith("glibc 2.34 or newer")


@pytest.mark.slow
def test_the_wheelhouse_of_this_tree_serves_without_a_network(tmp_path: Path) -> None:
    house = tmp_path / "house"
    sealed = wheelhouse.make(house, [], "0.1.0")
    assert sealed == verify.digest(house / "SHA256SUMS")
    assert not verify.faults(house)
    done = install(house, tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((house / "sbom.cdx.json").read_text())
    listed = subprocess.check_output(
        [tmp_path / "site/bin/python", "-m", "pip", "list", "--format=json", "--exclude=pip",
         "--exclude=setuptools"], text=True,
    )  # fmt: skip
    assert len(told["components"]) == len(json.loads(listed))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = (
        "ip link set lo up; $0/bin/hepatica serve --port $1 & trap 'kill $!' EXIT\n"
        "for n in $(seq 300); do sleep 0.2; $0/bin/python -c 'import sys, urllib.request as r\n"
        'r.urlopen(f"http://127.0.0.1:{sys.argv[1]}/health/ready")\' $1 && exit 0; done; exit 1'
    )
    words = ["sh", "-c", program, str(tmp_path / "site"), str(port)]
    assert subprocess.run([*CUT_OFF, *words], cwd=tmp_path, timeout=200).returncode == 0


# -- bills of materials ---------------------------------------------------------------------------


def valid(text: str) -> list[dict]:
    """The components; refused where it is no CycloneDX 1.6."""
    folder = resources.files("cyclonedx.schema._res")

    def schema(name: str) -> dict:
        return json.loads((folder / name).read_text("utf-8"))

    bom = schema("bom-1.6.SNAPSHOT.schema.json")
    others = ("spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json")
    registry = Registry().with_resources(
        (urljoin(bom["$id"], name), Resource.from_contents(schema(name))) for name in others
    )
    told = json.loads(text)
    Draft7Validator(bom, registry=registry).validate(told)
    return told["components"]


def test_the_bill_of_this_environment_counts_what_is_installed() -> None:
    components = valid(sbom.of_environment([sysconfig.get_path("purelib")]))
    listed = json.loads(
        subprocess.check_output([sys.executable, "-m", "pip", "list", "--format=json"], text=True)
    )
    installed = {canonicalize_name(one["name"]): one["version"] for one in listed}
    assert {one["name"]: one["version"] for one in components} == installed
    assert len(components) == len(installed)


def test_the_bill_of_an_image_counts_packages_of_debian_and_of_python(tmp_path: Path) -> None:
    status = tmp_path / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    status.write_text(
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n"
    )
    site = tmp_path / "srv/venv/lib/python3.11/site-packages"
    with zipfile.ZipFile(wheel(tmp_path / "wheels", "liver")) as archive:
        archive.extractall(site)
    components = valid(sbom.of_image(tmp_path, "hepatica:1.0"))
    assert {one["purl"] for one in components} == {
        "pkg:deb/debian/libc6@2.36-9?arch=amd64",
        "pkg:pypi/liver@1.0",
    }


def test_the_bill_of_wheels_has_their_digests(house: Path) -> None:
    wheels = sorted((house / "wheels").iterdir())
    components = valid(sbom.of_wheels(wheels))
    found = {one["name"]: one["hashes"][0]["content"] for one in components}
    assert found == {path.name.split("-")[0]: verify.digest(path) for path in wheels}
    assert {licence["license"]["id"] for one in components for licence in one["licenses"]} == {
        "MIT"
    }


def test_an_image_without_buildah_says_what_to_install(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="apt-get install buildah"):
        image.build(tmp_path, "any", "1.0")
