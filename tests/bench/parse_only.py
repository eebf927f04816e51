"""Baseline (b): an endpoint that only parses the same body."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI, Request

app = FastAPI()
ANSWER = {"bytes": 0, "filler": "x" * 500}  # about the size of a classification


@app.post("/parse")
async def parse(request: Request) -> dict[str, object]:
    form = await request.form()
    data = await form["image"].read()  # type: ignore[union-attr]
    return {**ANSWER, "bytes": len(data)}


@app.get("/ready")
def ready() -> dict[str, bool]:
    return {"ready": True}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")
