"""The Open Inference Protocol v2 over HTTP, as Triton and KServe speak it, for their clients as they are."""

from typing import Final

from rbm_service.api.v2.infer import router as infer_router
from rbm_service.api.v2.models import router as models_router

ROUTERS: Final = (models_router, infer_router)
