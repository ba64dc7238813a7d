# Two images from one file:
#   docker build --target api    -t thalweg-api .       no torch
#   docker build --target worker -t thalweg-worker .    torch; see TORCH_INDEX
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    PATH=/opt/thalweg/bin:$PATH

# The project itself, as a wheel, in its own stage: a change of code leaves the dependencies cached.
FROM base AS wheel
WORKDIR /src
COPY pyproject.toml LICENSE ./
COPY api api
COPY core core
COPY thalweg_service thalweg_service
COPY worker worker
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM base AS api-dependencies
RUN python3 -m venv /opt/thalweg
COPY requirements/api.txt /requirements/
RUN pip install --no-cache-dir --requirement /requirements/api.txt

FROM api-dependencies AS worker-dependencies
# Empty takes the registry's own build, which on Linux x86-64 carries CUDA and serves both kinds of
# worker. The index of torch's CPU builds, as PyTorch's page on installing names it, makes the image
# several gigabytes smaller.
ARG TORCH_INDEX=
COPY requirements/worker.txt /requirements/
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
    --requirement /requirements/worker.txt

FROM api-dependencies AS api-installed
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps /wheels/*.whl

FROM worker-dependencies AS worker-installed
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps /wheels/*.whl

FROM base AS runtime
RUN groupadd --gid 10001 thalweg \
    && useradd --uid 10001 --gid thalweg --home-dir /var/lib/thalweg --create-home \
       --shell /usr/sbin/nologin thalweg \
    && install --directory --owner thalweg --group thalweg --mode 0750 /var/lib/thalweg/artifacts
ENV THALWEG_ARTIFACTS=/var/lib/thalweg/artifacts
WORKDIR /var/lib/thalweg
VOLUME ["/var/lib/thalweg/artifacts"]
USER 10001:10001

FROM runtime AS api
COPY --from=api-installed /opt/thalweg /opt/thalweg
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('THALWEG_PORT', '8000') + '/readyz', timeout=4)"]
CMD ["thalweg", "api"]

FROM runtime AS worker
COPY --from=worker-installed /opt/thalweg /opt/thalweg
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 \
    CMD ["thalweg", "health", "worker"]
CMD ["thalweg", "worker"]
