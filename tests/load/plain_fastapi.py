"""What one would write without this project: the same ONNX graph behind an ordinary FastAPI route.

A pydantic model for the body and one for the answer, a forward pass for every request. Run as
`python -m tests.load.plain_fastapi PORT GRAPH [logged]`.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from uvicorn.config import LOGGING_CONFIG


class Question(BaseModel):
    """Nodes by their features and positions."""

    features: list[list[float]]
    positions: list[list[float]]


class Prediction(BaseModel):
    """The answer for one node."""

    class_index: int
    confidence: float


class Answer(BaseModel):
    """One prediction per node."""

    predictions: list[Prediction]


def create_app(graph: Path) -> FastAPI:
    """The route, and the one that a start waits for."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    app = FastAPI()

    @app.post("/classify", response_model=Answer)
    async def classify(question: Question) -> Answer:
        model_inputs = {
            "features": np.array(question.features, np.float32),
            "positions": np.array(question.positions, np.float32),
        }
        (probabilities,) = session.run(["probabilities"], model_inputs)
        return Answer(
            predictions=[
                Prediction(class_index=int(row.argmax()), confidence=float(row.max()))
                for row in probabilities
            ]
        )

    @app.get("/readyz")
    async def readyz() -> str:
        return "ready"

    return app


def main(port: int, graph: Path, *, logged: bool = False) -> None:
    """Serve until told to stop, with the fastest of uvicorn's settings."""
    uvicorn.run(
        create_app(graph),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=logged,
        log_config=LOGGING_CONFIG if logged else None,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), logged="logged" in sys.argv)
