# syntax=docker/dockerfile:1
# Descry as an image. Targets: `cpu` (what a plain build makes) and `cuda`.
#   docker build --target cpu  -t descry:cpu .
#   docker build --target cuda -t descry:cuda .
# Inside, everything listens on 0.0.0.0, and so nothing is open: the first key is made with
#   docker exec CONTAINER descry keys create NAME --scope admin
# `python -m deploy.rehearse` runs the instructions of a target by hand, for machines without a container engine.
ARG PYTHON_IMAGE=python:3.11.13-slim-bookworm
# The wheels of torch in constraints.txt are built for CUDA 13.2, and bring its libraries with them: the runtime image
# need not have them again. The kernels of the extra `mamba` want the compiler of the same version.
ARG CUDA_BUILD_IMAGE=nvidia/cuda:13.2.1-devel-ubuntu24.04
ARG CUDA_IMAGE=nvidia/cuda:13.2.1-base-ubuntu24.04

FROM ${PYTHON_IMAGE} AS cpu-build
# torch and torchvision of one family; `cpu` saves about 4 GB. Empty: both from the package index.
ARG TORCH_BACKEND=cpu
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_TORCH_BACKEND=${TORCH_BACKEND}
WORKDIR /build
COPY pyproject.toml constraints.txt ./
RUN python3 -m venv /opt/uv && /opt/uv/bin/python -m pip install --no-cache-dir -c constraints.txt uv
RUN python3 -m venv --without-pip /opt/descry
# The dependencies are a layer of their own: a change of the source does not fetch them again.
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --python /opt/descry/bin/python -c constraints.txt -r pyproject.toml \
    --extra cpu --extra postgres --extra s3 --extra milvus --extra openvino --extra video --extra otel
COPY README.md ./
COPY migrations ./migrations
COPY models ./models
COPY training ./training
COPY app ./app
RUN /opt/uv/bin/uv pip install --python /opt/descry/bin/python -c constraints.txt --no-deps .

FROM ${CUDA_BUILD_IMAGE} AS cuda-build
# The cards that the kernels are compiled for: A100, A10 and RTX 30, L4 and RTX 40, H100 and H200.
ARG CUDA_ARCHITECTURES="8.0;8.6;8.9;9.0"
# Both packages would take a wheel from elsewhere if they found one; what is compiled here fits torch.
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy TORCH_CUDA_ARCH_LIST=${CUDA_ARCHITECTURES} \
    MAMBA_FORCE_BUILD=TRUE CAUSAL_CONV1D_FORCE_BUILD=TRUE MAX_JOBS=4
WORKDIR /build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv python3-dev \
    && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml constraints.txt ./
RUN python3 -m venv /opt/uv && /opt/uv/bin/python -m pip install --no-cache-dir -c constraints.txt uv
RUN python3 -m venv --without-pip /opt/descry
RUN --mount=type=cache,target=/root/.cache/uv \
    /opt/uv/bin/uv pip install --python /opt/descry/bin/python -c constraints.txt -r pyproject.toml \
    --extra gpu --extra postgres --extra s3 --extra milvus --extra video --extra otel
# Decision 0013. Everything runs without the kernels; `--build-arg MAMBA=` leaves them out and saves the compilation.
ARG MAMBA=mamba
RUN --mount=type=cache,target=/root/.cache/uv \
    if [ -n "${MAMBA}" ]; then \
    /opt/uv/bin/uv pip install --python /opt/descry/bin/python -c constraints.txt setuptools wheel ninja packaging \
    && /opt/uv/bin/uv pip install --python /opt/descry/bin/python -c constraints.txt --no-build-isolation \
    -r pyproject.toml --extra gpu --extra mamba; fi
COPY README.md ./
COPY migrations ./migrations
COPY models ./models
COPY training ./training
COPY app ./app
RUN /opt/uv/bin/uv pip install --python /opt/descry/bin/python -c constraints.txt --no-deps .

FROM ${CUDA_IMAGE} AS cuda
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 tini \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 descry \
    && useradd --uid 10001 --gid descry --no-create-home --home-dir /data --shell /usr/sbin/nologin descry \
    && install -d -o descry -g descry -m 0750 /data
COPY --from=cuda-build /opt/descry /opt/descry
ENV PATH=/opt/descry/bin:$PATH PYTHONUNBUFFERED=1 HOME=/data HF_HOME=/data/cache/huggingface \
    MPLCONFIGDIR=/tmp/matplotlib DESCRY_DATA_DIR=/data DESCRY_HOST=0.0.0.0 DESCRY_PORT=8000 DESCRY_SUPERVISE=false \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility,video
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=180s --retries=3 CMD ["python", "-m", "app.probe"]
# tini takes in what the worker's and the trainings' processes leave behind, and passes signals on.
ENTRYPOINT ["tini", "--", "descry"]
CMD ["serve"]

FROM ${PYTHON_IMAGE} AS cpu
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 descry \
    && useradd --uid 10001 --gid descry --no-create-home --home-dir /data --shell /usr/sbin/nologin descry \
    && install -d -o descry -g descry -m 0750 /data
COPY --from=cpu-build /opt/descry /opt/descry
ENV PATH=/opt/descry/bin:$PATH PYTHONUNBUFFERED=1 HOME=/data HF_HOME=/data/cache/huggingface \
    MPLCONFIGDIR=/tmp/matplotlib DESCRY_DATA_DIR=/data DESCRY_HOST=0.0.0.0 DESCRY_PORT=8000 DESCRY_SUPERVISE=false
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=3 CMD ["python", "-m", "app.probe"]
# tini takes in what the worker's and the trainings' processes leave behind, and passes signals on.
ENTRYPOINT ["tini", "--", "descry"]
CMD ["serve"]
