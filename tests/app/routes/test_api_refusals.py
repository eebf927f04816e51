"""What the API refuses, and that its description says so."""

from __future__ import annotations

import io
import threading
import zipfile

import numpy as np
import pytest

from app.drawings import AT_ONCE
from factories import make_png

GENERATOR = "phantom-diffusion-cyst"
DRAW = "/api/v1/synthetics"
CLASSIFY = "/api/v1/classifications"


@pytest.fixture
def api(client, token):
    client.headers["authorization"] = f"Bearer {token}"
    return client


def test_every_refusal_of_the_api_is_in_its_description(client):
    described = client.get("/openapi.json").json()
    calls = [
        operation
        for path, ways in described["paths"].items()
        if path.startswith("/api/")
        for operation in ways.values()
    ]
    assert len(calls) == 14
    for operation in calls:
        responses = operation["responses"]
        assert {"200", "202"} & set(responses)
        assert {"400", "401", "403", "404", "422", "429", "503"} <= set(responses)
        assert ("requestBody" in operation) == ("413" in responses)
        for status, response in responses.items():
            good = status in ("200", "202")
            kind = "application/json" if good else "application/problem+json"
            assert kind in response["content"]
            assert good or len(response["content"]) == 1
        assert "Retry-After" in responses["429"]["headers"]
    assert "HTTPValidationError" not in described["components"]["schemas"]


@pytest.mark.parametrize(
    "order",
    [{"seed": False}, {"seed": True}, {"seed": 1.0}, {"seed": "1"}, {"count": True}, {"count": 257},
     {"count": 1.5}, {"count": None}, {"seed": 10**400}],
)  # fmt: skip
def test_a_number_is_a_whole_number_and_nothing_else(api, order):
    reply = api.post(DRAW, json={"checkpoint": GENERATOR, **order})
    assert reply.status_code in (400, 422)
    assert reply.headers["content-type"] == "application/problem+json"


def test_large_orders_at_once_are_few_and_the_next_is_told_when_to_come(api, app, monkeypatch):
    let_go, drawing = threading.Event(), threading.Semaphore(0)
    draw = app.state.inference.draw

    def slowly(*arguments):
        drawing.release()
        let_go.wait(30)
        return draw(*arguments)

    monkeypatch.setattr(app.state.inference, "draw", slowly)
    order = {"checkpoint": GENERATOR, "count": 7}
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(api.post(DRAW, json=order).status_code))
        for _ in range(AT_ONCE)
    ]
    for thread in threads:
        thread.start()
        assert drawing.acquire(timeout=30)
    refused = api.post(DRAW, json=order)
    let_go.set()
    for thread in threads:
        thread.join()
    assert codes == [200] * AT_ONCE
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert api.post(DRAW, json=order).status_code == 200


def bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        array = io.BytesIO()
        np.save(array, np.zeros((4000, 64, 64), np.float32))
        archive.writestr("rois.npy", array.getvalue())
    return stream.getvalue()


def test_a_bomb_of_an_array_is_refused_before_it_is_unpacked(api, monkeypatch):
    from ml.images import roi

    def unpacked(*_arguments):
        raise AssertionError("it was unpacked")

    monkeypatch.setattr(roi, "load", unpacked)
    data = bomb()
    assert len(data) < 200_000
    reply = api.post(CLASSIFY, files={"image": ("rois.npz", data)})
    assert reply.status_code == 422
    assert "larger than one ROI" in reply.json()["detail"]
    plain = b"\x93NUMPY" + b"\0" * 1_100_000
    assert api.post(CLASSIFY, files={"image": ("rois.npy", plain)}).status_code == 422


def test_what_no_call_reads_is_refused_and_not_left_out(api):
    order = {"checkpoint": GENERATOR}
    for reply in (
        api.post(DRAW, json={**order, "number": 3}),
        api.post(f"{DRAW}?count=3", json=order),
        api.post(f"{CLASSIFY}?frame=2", files={"image": ("a.png", make_png(64))}),
    ):
        assert reply.status_code == 422
    assert "number: there is no such field" in api.post(DRAW, json={**order, "number": 3}).text


@pytest.mark.parametrize(
    "fields",
    [
        {"frame": "²"}, {"frame": "٣"}, {"frame": "1_0"}, {"frame": "9" * 21},
        {"box": "1_0,2,30,40"}, {"box": "٣,٣,٣٠,٣٠"}, {"box": "1,2,nan,40"}, {"box": "1,2,3"},
        {"center": "32,32", "diameter_mm": "0"}, {"center": "32,32", "diameter_mm": "-5"},
        {"center": "32,32", "diameter_mm": "1e999"}, {"box": "1e308,1e308,1e308,1e308"},
        {"box": "9" * 4000}, {"diameter": "28"}, {"box": ["1,2,30,40", "1,2,30,40"]},
    ],
)  # fmt: skip
def test_a_place_that_is_no_number_is_refused(api, fields):
    reply = api.post(CLASSIFY, files={"image": ("a.png", make_png(64))}, data=fields)
    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/problem+json"
