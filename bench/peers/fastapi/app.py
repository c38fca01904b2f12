"""FastAPI: the model is loaded once, a path operation of `async def` reads the body and answers.

FastAPI has no batching. An answer is given as a response itself, which its documentation calls the
fastest way.
"""
# mypy: disable-error-code="import-not-found, untyped-decorator"

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from bench.peers import work

app = FastAPI()
model = work.load()


@app.post("/predict")
async def predict(request: Request) -> JSONResponse:
    """Answer one picture, the body of the request."""
    return JSONResponse(model.answers([model.prepare(await request.body())])[0])
