"""From end to end: a study goes into a real Orthanc, and a real OHIF shows the answer there."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import ohif
import pytest
import sqlalchemy as sa
import uvicorn
from pynetdicom import AE

import marks
from app.db import Database
from app.main import create_app
from app.models import ApiToken, Case, Checkpoint
from app.node.node import Listening
from app.node.serving import node_of
from app.place import ROOT
from app.settings import Settings
from factories import make_dicom
from orthanc import PASSWORD, PERSON, Orthanc, missing
from stow import parsed
from tests.browser.conftest import FLAGS, _chromium

pytestmark = pytest.mark.long

SIDE = 256
BOX = (90, 100, 40, 30)
"""Left, top, width and height of the lesion in pixels."""
WEBGL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
MADE = {
    "1.2.840.10008.5.1.4.1.1.88.33": "report",
    "1.2.840.10008.5.1.4.1.1.11.1": "presentation state",
    "1.2.840.10008.5.1.4.1.1.7": "secondary capture",
}


def slices() -> list[bytes]:
    """Three slices of liver with a dark lesion on the middle one."""
    rng = np.random.default_rng(3)
    files = []
    for n in (1, 2, 3):
        hu = 110 + 8 * rng.standard_normal((SIDE, SIDE))
        if n == 2:
            left, top, width, height = BOX
            y, x = np.mgrid[:SIDE, :SIDE]
            inside = ((x - left - width / 2) / width) ** 2 + ((y - top - height / 2) / height) ** 2
            hu[inside < 0.25] -= 90
        shown = {"WindowCenter": 90, "WindowWidth": 300, "StudyDate": "20261101"}
        whole = np.rint(hu).astype(np.int16)
        files.append(
            make_dicom(
                whole, number=n, z=5.0 * n, study="e2e", FrameOfReferenceUID="1.2.3.4", **shown
            )
        )
    return files


def segmented(files: list[bytes]) -> bytes:
    left, top, width, height = BOX
    mask = np.zeros((3, SIDE, SIDE), bool)
    mask[1, top : top + height, left : left + width] = True
    return marks.segmentation(files, mask, "Segment 1")


def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(application):
    """Its address, while it runs in a thread of its own."""
    server = uvicorn.Server(
        uvicorn.Config(application, port=port(), log_level="error", access_log=False)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, "the server to start")
    try:
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join(20)


def until(found, what: str, within_s: float = 120.0):
    """What ``found`` gives, once it gives something."""
    end = time.monotonic() + within_s
    while not (got := found()):
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.1)
    return got


@pytest.fixture
def build() -> Path:
    if reason := missing():
        pytest.skip(reason)
    if _chromium() is None:
        pytest.skip("no Chromium on this machine: `make setup-browser` installs it")
    try:
        return ohif.build()
    except ohif.Missing as error:
        pytest.skip(str(error))


@pytest.fixture
def viewer(chromium):
    """Chromium with WebGL in software; its pages share what they have loaded."""
    kind = chromium.browser_type  # one driver serves all browsers of a process
    browser = kind.launch(executable_path=_chromium(), args=[*FLAGS[:2], *WEBGL])
    context = browser.new_context(viewport={"width": 1280, "height": 800}, service_workers="block")
    context.add_init_script(
        "localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))"
    )
    yield context
    browser.close()


@contextmanager
def opened(viewer, origin: str, study: str):
    """OHIF with a study, once its series are listed; faults of its page fail the test."""
    page = viewer.new_page()
    page.set_default_timeout(60_000)  # of a machine that does much else
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{origin}/viewer?StudyInstanceUIDs={study}")
    page.wait_for_selector("canvas.cornerstone-canvas")
    page.wait_for_selector("[data-cy^=study-browser-thumbnail]")
    yield page
    page.close()
    assert faults == []


@pytest.mark.timeout(240)
def test_a_study_goes_in_and_ohif_shows_the_answer_in_the_pacs(
    build, viewer, tmp_path, checkpoints
):
    files = slices()
    node_port = port()
    pacs = Orthanc(
        tmp_path / "orthanc",
        DicomModalities={"hepatica": ["HEPATICA", "127.0.0.1", node_port]},
        LuaScripts=[str(ROOT / "app" / "node" / "route.lua")],
    )
    entry = (
        f'[{{"name": "main", "url": "{pacs.url}", "user": "{PERSON}", "password": "{PASSWORD}", '
        f'"aet": "{pacs.aet}", "takes_results": true}}]'
    )
    chosen = Settings(
        database_url=f"sqlite:///{tmp_path}/hepatica.sqlite3",
        installation_key="k" * 32,
        pacs=entry,
        door_node="return-results",
        node_callers=f"{pacs.aet}@127.0.0.1",
        classify_quiet_series=True,
        series_quiet_s=2,
    )
    database = Database(chosen.database_url)
    database.migrate()
    with database.transaction() as session:
        for folder in checkpoints:
            Checkpoint.register(session, folder, "tests")
        token = ApiToken.add(session, "viewer", "machine")
    node = node_of(chosen, database, Listening("HEPATICA", "127.0.0.1", node_port), "portal")
    origin = ohif.OneOrigin(build, create_app(chosen), token, pacs.url, (PERSON, PASSWORD))
    node.start()
    pacs.start()
    try:
        with served(origin) as address:
            _stored(pacs, *files, segmented(files))
            held = until(lambda: _answers(pacs), "the answer in the PACS")
            study = str(parsed(files[0]).StudyInstanceUID)
            for one in held.values():
                assert str(one.StudyInstanceUID) == study and one.PatientID == "12345678"
            _shows_the_report(viewer, address, study, held["report"], tmp_path)
            with database.reading() as session:
                own = session.scalars(sa.select(Case.uid)).one()
            origin.root = "/dicomweb"
            with opened(viewer, address, own) as page:
                texts = page.locator("[data-cy^=study-browser-thumbnail]").all_inner_texts()
                assert len(texts) == 1
                page.screenshot(path=tmp_path / "own.png")
    finally:
        node.stop()
        pacs.kill()
        database.engine.dispose()


def _stored(pacs: Orthanc, *files: bytes) -> None:
    """As a scanner does."""
    entity = AE("SCANNER")
    datasets = [parsed(one) for one in files]
    for kind, syntax in {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in datasets}:
        entity.add_requested_context(kind, syntax)
    association = entity.associate("127.0.0.1", pacs.dicom_port, ae_title=pacs.aet)
    assert association.is_established
    assert [association.send_c_store(one).Status for one in datasets] == [0] * len(datasets)
    association.release()


def _answers(pacs: Orthanc) -> dict:
    """What Hepatica sent back, once all of it is there."""
    held = [parsed(one) for one in pacs.held().values()]
    found = {MADE[one.SOPClassUID]: one for one in held if one.SOPClassUID in MADE}
    assert len([one for one in held if one.SOPClassUID in MADE]) <= len(MADE)
    return found if len(found) == len(MADE) else {}


def numbers_in(item) -> list:
    """The measurements of a report, in order."""
    found = [item] if item.get("ValueType") == "NUM" else []
    return found + [one for child in item.get("ContentSequence") or [] for one in numbers_in(child)]


def _shows_the_report(viewer, address: str, study: str, report, folder: Path) -> None:
    """The report is listed; its box lies at the lesion, its class and percent beside it."""
    scores = [
        f"{measured.ConceptNameCodeSequence[0].CodeMeaning}: "
        f"{float(measured.MeasuredValueSequence[0].NumericValue):.2f} %"
        for measured in numbers_in(report)
        if measured.ConceptNameCodeSequence[0].CodeMeaning.startswith("Score of ")
    ]
    assert scores
    with opened(viewer, address, study) as page:
        shown = page.locator("[data-cy^=study-browser-thumbnail]")
        kinds = " ".join(shown.all_inner_texts())
        assert "SR" in kinds and "CT" in kinds
        beside = page.locator("svg.svg-layer [data-annotation-uid] tspan")

        def is_shown() -> bool:
            shown.filter(has_text="SR").first.dblclick()  # lost while the viewer is still busy
            for _ in range(50):
                if beside.count():
                    return True
                page.wait_for_timeout(100)
            return False

        until(is_shown, "the report to be drawn")
        page.screenshot(path=folder / "report.png")
        assert beside.all_text_contents() == [*scores, "363698007: Liver"]
        lines = page.locator("svg.svg-layer polyline")
        drawn = lines.evaluate_all("all => all.map(one => one.getAttribute('points'))")
        canvas = page.locator("canvas.cornerstone-canvas").first.bounding_box()
        assert canvas
        values = [float(one) for line in drawn for one in line.replace(",", " ").split()]
        places = list(zip(values[0::2], values[1::2], strict=True))
        assert places, "no box is drawn"
        across, down = [x for x, _ in places], [y for _, y in places]
        # the image fills the shorter side of the canvas and is in its middle
        scale = min(canvas["width"], canvas["height"]) / SIDE
        left = (canvas["width"] - SIDE * scale) / 2 + BOX[0] * scale
        top = (canvas["height"] - SIDE * scale) / 2 + BOX[1] * scale
        near = 4 * scale
        assert abs(min(across) - left) < near and abs(min(down) - top) < near
        assert abs(max(across) - min(across) - BOX[2] * scale) < near
        assert abs(max(down) - min(down) - BOX[3] * scale) < near
