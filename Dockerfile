# Two images from one file:
#   docker build --target api    -t thalweg-api .       no torch
#   docker build --target worker -t thalweg-worker .    torch; see TORCH_INDEX
# What they are made of, how large they are, and how that was tried: docs/containers.md.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    PATH=/opt/thalweg/bin:$PATH

# Without pip: the base image's own fills it. Each group of packages is installed below a root of its
# own, /layer, and copied from there into the images: one layer each, which lasts until its lock changes.
FROM base AS environment
RUN python3 -m venv --without-pip /opt/thalweg
ENV INSTALL="pip --python /opt/thalweg/bin/python install --no-cache-dir --no-deps"

FROM environment AS api-packages
COPY requirements/image/api.txt /requirements/
RUN $INSTALL --require-hashes --root /layer --requirement /requirements/api.txt \
    && find /layer -type d -name tests -prune -exec rm -r {} +

FROM environment AS worker-packages
COPY requirements/image/worker.txt /requirements/
RUN $INSTALL --require-hashes --root /layer --requirement /requirements/worker.txt \
    && find /layer -type d -name tests -prune -exec rm -r {} +

FROM environment AS torch
# Empty takes the registry's own build, which on Linux carries CUDA and serves both kinds of worker.
# The index of torch's CPU builds, as PyTorch's page on installing names it, makes the image several
# gigabytes smaller; its files are checked against the sums that the index itself gives.
ARG TORCH_INDEX=
COPY requirements/image/torch.txt /requirements/
RUN if [ -z "$TORCH_INDEX" ]; then \
        $INSTALL --require-hashes --root /layer --requirement /requirements/torch.txt; \
    else \
        $INSTALL --root /layer --index-url "$TORCH_INDEX" \
            "$(grep --only-matching '^torch==[^ ]*' /requirements/torch.txt)"; \
    fi \
    && find /layer -type d -name tests -prune -exec rm -r {} +

# The page is built with a Node of its own, of which nothing is in the images. It trusts whom the base
# image trusts, as pip does: a registry of a company's own has its authority there.
FROM environment AS page
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
COPY requirements/image/page.txt /requirements/
RUN $INSTALL --require-hashes --requirement /requirements/page.txt
WORKDIR /src/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci
COPY web ./
RUN npm run build

FROM environment AS code
COPY requirements/image/build.txt /requirements/
RUN $INSTALL --require-hashes --requirement /requirements/build.txt
WORKDIR /src
COPY pyproject.toml LICENSE ./
COPY api api
COPY --from=page /src/api/page/built api/page/built
COPY client client
COPY core core
COPY thalweg_service thalweg_service
COPY worker worker
RUN $INSTALL --no-index --no-build-isolation --root /layer ./client .

FROM base AS runtime
# Nothing is installed into an image that runs: pip goes, and the copy that `venv` would bring.
RUN groupadd --gid 10001 thalweg \
    && useradd --uid 10001 --gid thalweg --home-dir /var/lib/thalweg --create-home \
       --shell /usr/sbin/nologin thalweg \
    && install --directory --owner thalweg --group thalweg --mode 0750 /var/lib/thalweg/artifacts \
    && packages="$(python3 -c 'import os, pip; print(os.path.dirname(pip.__path__[0]))')" \
    && bundled="$(python3 -c 'import ensurepip; print(ensurepip.__path__[0])')/_bundled" \
    && rm -rf "$packages"/pip "$packages"/pip-* "$bundled" "$(dirname "$(command -v pip)")"/pip*
ENV THALWEG_ARTIFACTS=/var/lib/thalweg/artifacts
WORKDIR /var/lib/thalweg
VOLUME ["/var/lib/thalweg/artifacts"]
USER 10001:10001

FROM runtime AS api
COPY --from=environment /opt/thalweg /opt/thalweg
COPY --from=api-packages /layer /
COPY --from=code /layer /
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('THALWEG_PORT', '8000') + '/readyz', timeout=4)"]
CMD ["thalweg", "api"]
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="Thalweg API" \
      org.opencontainers.image.description="Optimization jobs over HTTP: the API, without torch" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"

FROM runtime AS worker
COPY --from=environment /opt/thalweg /opt/thalweg
COPY --from=torch /layer /
COPY --from=api-packages /layer /
COPY --from=worker-packages /layer /
COPY --from=code /layer /
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 \
    CMD ["thalweg", "health", "worker"]
CMD ["thalweg", "worker"]
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="Thalweg worker" \
      org.opencontainers.image.description="Optimization jobs over HTTP: a worker, with torch" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
