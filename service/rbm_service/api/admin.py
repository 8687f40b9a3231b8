"""`/admin/...`: routes by which an operator decides which version is served; they need the admin key."""

from fastapi import APIRouter, Request

from rbm_bundle import Manifest, ShadowSpec
from rbm_service.api.admin_schemas import (
    ChangeResponse,
    ModelVersion,
    ModelVersions,
    PromoteRequest,
    ShadowRequest,
    UnreadableVersion,
)
from rbm_service.api.dependencies import app_state_of
from rbm_service.api.schemas import ModelRef, ShadowRef
from rbm_service.api.validation import check_media_type, parse
from rbm_service.serving.changes import Change

router = APIRouter(prefix="/admin/models/{name}", tags=["admin"])


@router.get("")
async def list_published(request: Request) -> ModelVersions:
    """Lists the published versions of a model, which of them is promoted, in service, and compared."""
    return await _versions(request)


@router.post("/promote")
async def promote_model(request: Request) -> ChangeResponse:
    """Load a version, verify it, write it to `CURRENT` and put it in service. If any of that fails, nothing
    has changed."""
    check_media_type(dict(request.scope["headers"]))
    body = parse(await request.body(), PromoteRequest)
    manager = app_state_of(request).manager
    return _response(await manager.promote(request.path_params["name"], body.version))


@router.post("/rollback")
async def rollback_model(request: Request) -> ChangeResponse:
    """Promote the next lower version than the promoted one, in the same way."""
    return _response(await app_state_of(request).manager.rollback(request.path_params["name"]))


@router.post("/reload")
async def reload_model(request: Request) -> ChangeResponse:
    """Check at once whether another version was promoted or another shadow named. A version that was refused
    is tried again."""
    return _response(await app_state_of(request).manager.reload(request.path_params["name"]))


@router.put("/shadow")
async def set_shadow(request: Request) -> ModelVersions:
    """Load a version, verify it, write it to `SHADOW` and have it compute a share of the requests once more,
    for comparison. If any of that fails, nothing has changed."""
    check_media_type(dict(request.scope["headers"]))
    body = parse(await request.body(), ShadowRequest)
    wanted = ShadowSpec(body.version, body.share)
    await app_state_of(request).manager.set_shadow(request.path_params["name"], wanted)
    return await _versions(request)


@router.delete("/shadow")
async def clear_shadow(request: Request) -> ModelVersions:
    """Compare no version with the one in service any more, if one was compared."""
    await app_state_of(request).manager.set_shadow(request.path_params["name"], None)
    return await _versions(request)


def _response(change: Change) -> ChangeResponse:
    model = ModelRef(name=change.name, version=change.version)
    return ChangeResponse(model=model, former_version=change.former_version, notes=change.notes)


async def _versions(request: Request) -> ModelVersions:
    app_state, name = app_state_of(request), request.path_params["name"]
    found = await app_state.manager.versions(name)
    served, shadow = app_state.models.find(name), found.shadow
    return ModelVersions(
        name=name,
        current=found.current,
        in_service=served.version if served else None,
        shadow=ShadowRef(version=shadow.version, share=shadow.share) if shadow else None,
        versions=[_version(version, manifest) for version, manifest in found.manifests.items()],
        problems=found.problems,
    )


def _version(version: int, manifest: Manifest | str) -> ModelVersion | UnreadableVersion:
    if isinstance(manifest, str):
        return UnreadableVersion(version=version, error=manifest)
    return ModelVersion(
        version=version,
        bundle_id=manifest.bundle_id,
        created_at=manifest.created_at,
        student=manifest.architecture.student,
        num_parameters=manifest.architecture.num_parameters,
        val_accuracy=manifest.metrics.val_accuracy,
        test_accuracy=manifest.metrics.test_accuracy,
        teacher_test_accuracy=manifest.metrics.teacher_test_accuracy,
    )
