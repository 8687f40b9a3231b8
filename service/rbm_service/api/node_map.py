"""`GET /map`: some of the nodes that a model knows, and its experts, in a plane."""

from functools import partial

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Request, Response
from pydantic import Field

from rbm_bundle.manifest_parts import MapSpec
from rbm_bundle.node_map import NodeMap
from rbm_service.api.classify import JsonResponse
from rbm_service.api.dependencies import app_state_of
from rbm_service.api.inference import offload
from rbm_service.api.schemas import Body, ModelRef, NodeId
from rbm_service.errors import NoMapError
from rbm_service.serving.model import ServedModel

router = APIRouter(tags=["operations"])


class Points(Body):
    """Points of the plane."""

    x: list[float] = Field(description="Where they lie along the first axis")
    y: list[float] = Field(description="Where they lie along the second axis")


class MappedNodes(Points):
    """Nodes of the plane, column by column."""

    node_ids: list[NodeId] = Field(description="[R] ids of the nodes")
    class_index: list[int] = Field(description="[R] the most probable class of each, its place in `labels`")
    expert: list[int] | None = Field(description="[R] the first expert of each, if the layer has any")


class MapResponse(Body):
    """Up to 2,000 of the nodes that a model knows, in the plane in which a layer's inputs spread the most."""

    model: ModelRef = Field(description="The model and its version in service")
    layer: int = Field(description="The layer, from 0")
    labels: tuple[str, ...] = Field(description="[C] labels of the classes, in the order of their indices")
    nodes: MappedNodes = Field(description="The nodes")
    memory: Points | None = Field(description="[E] what inputs are compared with, a point an expert, if any")


@router.get("/map", response_model=MapResponse)
async def get_map(request: Request) -> Response:
    """Shows where nodes and experts lie, for people to look at: no answer depends on it."""
    served = app_state_of(request).models.current(request.query_params.get("model"))
    node_map, spec = served.bundle.node_map, served.bundle.manifest.map
    if node_map is None or spec is None:
        raise NoMapError(f"the bundle of {served.name} {served.version} has no map")
    return JsonResponse(await offload(partial(_written, served, node_map, spec)))


def _written(served: ServedModel, node_map: NodeMap, spec: MapSpec) -> bytes:
    bundle, experts, memory = served.bundle, node_map.experts, node_map.memory
    nodes = MappedNodes(
        **_columns(node_map.points),
        node_ids=bundle.nodes.ids_of(node_map.rows),
        class_index=node_map.classes.tolist(),
        expert=None if experts is None else experts.tolist(),
    )
    answer = MapResponse(
        model=ModelRef(name=served.name, version=served.version),
        layer=spec.layer,
        labels=bundle.manifest.labels,
        nodes=nodes,
        memory=None if memory is None else Points(**_columns(memory)),
    )
    return answer.model_dump_json().encode()


def _columns(points: npt.NDArray[np.float32]) -> dict[str, list[float]]:
    return {"x": points[:, 0].tolist(), "y": points[:, 1].tolist()}
