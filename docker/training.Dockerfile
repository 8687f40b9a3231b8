# Training, without the service: `rbm-train` and `rbm-models`.
#
#   docker build -f docker/training.Dockerfile -t rbm-training:gpu .
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD/runs:/runs" \
#       rbm-training:gpu run /experiments/digits.toml --out /runs/digits
#
# torch from the default index brings CUDA along, whatever EXTRA says. For an image without it, name the index or
# the folder that has torch's CPU wheels: --build-arg EXTRA=cpu --build-arg PIP_EXTRA_INDEX_URL=... (or PIP_FIND_LINKS).

FROM python:3.11-slim-bookworm AS build
ARG EXTRA=gpu
# Where pip looks, for those who keep a mirror.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv --without-pip /opt/rbm
WORKDIR /source
# The dependencies first: they stay cached while only the code changes.
COPY pyproject.toml constraints.txt LICENSE ./
RUN pip --python /opt/rbm/bin/python install -c constraints.txt ".[training,$EXTRA]"
COPY bundle bundle
COPY training training
RUN pip --python /opt/rbm/bin/python install --no-deps --force-reinstall . \
    # Imports everything, torch too: a misspelt EXTRA ends here.
    && /opt/rbm/bin/python -c "import onnxruntime, rbm_training.pipeline"

FROM python:3.11-slim-bookworm
ARG REVISION=unknown
LABEL org.opencontainers.image.title="routing-by-memory training" \
      org.opencontainers.image.description="Distils a graph neural network into Routing-by-Memory experts" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="python:3.11-slim-bookworm"
COPY --from=build /opt/rbm /opt/rbm
COPY training/experiments /experiments
ENV PATH=/opt/rbm/bin:$PATH \
    LANG=C.UTF-8 \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
ENTRYPOINT ["rbm-train"]
