"""Flask under gunicorn: the body is read whole, a dictionary becomes JSON. It has no batching."""
# mypy: disable-error-code="import-not-found, untyped-decorator, attr-defined"

from __future__ import annotations

from typing import Any

from flask import Flask, request

from bench.peers import work

app = Flask(__name__)
app.json.sort_keys = False
model = work.load()


@app.post("/predict")
def predict() -> dict[str, Any]:
    """Answer one picture, the body of the request."""
    return model.answers([model.prepare(request.get_data())])[0]
