# The embconvert image. docs/container.md says how to build and run it.

# Renovate pins its digest and keeps it current (.github/renovate.json).
ARG BASE_IMAGE=python:3.11-slim-bookworm

# For builds without PyTorch's index: --build-context wheels=DIR puts a folder of wheels here.
FROM scratch AS wheels

FROM ${BASE_IMAGE} AS packages
# Where the CPU build of torch comes from, unless the wheels have it.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
# pip reads these: another index than its default, or none at all (then the wheels have everything).
ARG PIP_INDEX_URL
ARG PIP_NO_INDEX
RUN python -m venv --without-pip /opt/venv
COPY requirements/runtime.txt requirements/openvino.txt /build/
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    if ls /wheels/*.whl >/dev/null 2>&1; \
    then set -- --find-links /wheels; \
    else set -- --extra-index-url "$TORCH_INDEX_URL"; fi; \
    python -m pip --python /opt/venv/bin/python install --quiet --disable-pip-version-check \
        --no-compile --only-binary :all: --require-hashes "$@" \
        --requirement /build/runtime.txt --requirement /build/openvino.txt
# Before the trimming: it reads licences and dependencies of what is installed.
COPY requirements/sbom.txt /build/sbom.txt
RUN --mount=type=bind,from=wheels,target=/wheels \
    --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    python -m venv /build/sbom \
    && /build/sbom/bin/pip install --quiet --disable-pip-version-check --no-compile \
        --only-binary :all: --require-hashes --find-links /wheels --requirement /build/sbom.txt \
    && /build/sbom/bin/cyclonedx-py environment --output-reproducible --of JSON \
        -o /build/sbom.cdx.json /opt/venv/bin/python
# torch's libraries carry 100 MB of symbols. Empty where Debian's packages cannot be had.
ARG STRIP=yes
# Not pinned: Debian deletes a version when it has a newer one, and nothing of it stays.
# hadolint ignore=DL3008
RUN if [ -n "$STRIP" ]; then \
        apt-get update -qq && apt-get install -qq -y --no-install-recommends binutils >/dev/null; fi
COPY docker/slim.py /build/
RUN python /build/slim.py /opt/venv/lib/python3.11/site-packages

FROM ${BASE_IMAGE} AS app
COPY entrypoint.py LICENSE /app/
COPY embconvert/ /app/embconvert/
RUN find /app -name '__pycache__' -prune -exec rm -r {} + ; \
    python -m compileall -q --invalidation-mode unchecked-hash /app \
    && chmod -R a+rX,go-w /app

FROM ${BASE_IMAGE}
# Nothing installs packages in the image. One volume, which any user may write while it is empty
# and nobody has mounted anything over it; OpenShift's users have group 0.
RUN rm -rf /usr/local/lib/python3.11/site-packages/* /usr/local/lib/python3.11/ensurepip \
        /usr/local/bin/pip* /usr/local/bin/wheel \
    && mkdir /models && chown 1000:0 /models && chmod 2775 /models
COPY --from=packages /opt/venv /opt/venv
COPY --from=packages /build/sbom.cdx.json /opt/sbom.cdx.json
COPY --from=app /app /app
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="embconvert" \
      org.opencontainers.image.description="Turns Hugging Face embedding models into smaller, faster ONNX, and proves that they still give the same embeddings" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# USER is what getpass falls back to for a uid without a passwd entry; torch asks it.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PAGER=cat \
    HOME=/tmp USER=embconvert XDG_CACHE_HOME=/tmp/.cache \
    HF_HOME=/models/.cache/huggingface HF_HUB_DISABLE_TELEMETRY=1 \
    EMBCONVERT_REVISION=${REVISION} EMBCONVERT_IN_CONTAINER=1
VOLUME /models
# --output_parent_dir is ./models/ unless given.
WORKDIR /
USER 1000
ENTRYPOINT ["python", "/app/entrypoint.py"]
CMD ["--help"]
