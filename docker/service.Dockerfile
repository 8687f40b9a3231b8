# The service, without torch and without training code.
#
#   docker build -f docker/service.Dockerfile -t rbm-service:gpu .
#   docker build -f docker/service.Dockerfile -t rbm-service:cpu --build-arg EXTRA=cpu .
#
# CUDA and cuDNN come as wheels with the extra `gpu`; the host brings the driver.

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
RUN pip --python /opt/rbm/bin/python install -c constraints.txt ".[service,$EXTRA]"
COPY bundle bundle
COPY service service
RUN pip --python /opt/rbm/bin/python install --no-deps --force-reinstall . \
    # Tests of the dependencies, and the sources of what is compiled: nothing imports them.
    && find /opt/rbm -type d -name tests -prune -exec rm -r {} + \
    && find /opt/rbm -type f -regex '.*\.\(c\|cpp\|h\|hpp\|pyx\|pxd\)' -delete \
    # Imports everything, ONNX Runtime too: a misspelt EXTRA ends here.
    && /opt/rbm/bin/rbm-serve --help >/dev/null

FROM python:3.11-slim-bookworm AS base
# Nothing is installed at run time: pip with the folder it lives in, and what apt keeps, can go.
RUN rm -r "$(python3 -c 'import pathlib, pip; print(pathlib.Path(pip.__file__).parents[1])')"/* \
    && rm "$(command -v pip)"* \
    && rm -rf /var/cache/apt /var/cache/debconf /var/lib/apt/lists

# One layer from the cleaned base, so that what was removed takes no room.
FROM scratch
ARG REVISION=unknown
LABEL org.opencontainers.image.title="routing-by-memory service" \
      org.opencontainers.image.description="Classifies the nodes of a graph without the graph" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="python:3.11-slim-bookworm"
COPY --from=base / /
COPY --from=build /opt/rbm /opt/rbm
ENV PATH=/opt/rbm/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8 \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    RBM_HOST=0.0.0.0 \
    RBM_MODELS_DIR=/models
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Readiness, not liveness: a container without a model in service is of no use to whoever waits for it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('RBM_PORT') or 8000}/readyz\", timeout=4)"]
ENTRYPOINT ["rbm-serve"]
