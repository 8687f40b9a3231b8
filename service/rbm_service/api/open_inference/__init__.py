"""The Open Inference Protocol v2 over HTTP, as Triton and KServe speak it, for their clients as they are."""

from typing import Final

from rbm_service.api.open_inference import absent, infer, models, server, statistics

# Statistics first: `/v2/models/stats` is not a model of that name.
ROUTERS: Final = (server.router, statistics.router, models.router, infer.router, absent.router)
