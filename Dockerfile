# syntax=docker/dockerfile:1
# Two images from one file: `api` has no torch, `worker` has. Neither has a compiler, pip's cache or the source tree in it.
ARG PYTHON=3.12

# ---- what is installed, in a virtual environment that is copied as a whole

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Without pip in it: the image's own installs into it, and what runs later needs none.
RUN python -m venv --without-pip /opt/venv
# Only this and two empty files, so that the layers with the dependencies stay as long as the dependencies do.
COPY pyproject.toml ./
RUN touch README.md LICENSE

FROM build AS build-api
RUN --mount=type=cache,target=/root/.cache/pip pip --python /opt/venv/bin/python install ".[server,s3]"
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip pip --python /opt/venv/bin/python install --no-deps --force-reinstall .

FROM build AS build-worker
# PyTorch's own CPU build by default: PyPI's brings gigabytes of CUDA. For NVIDIA cards: TORCH_INDEX=https://pypi.org/simple
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# As pyproject.toml has it; a test compares the two.
ARG TORCH="torch>=2.9,<3"
RUN --mount=type=cache,target=/root/.cache/pip pip --python /opt/venv/bin/python install --index-url "${TORCH_INDEX}" "${TORCH}"
ARG EXTRAS=worker,s3,onnx,lora,messages
RUN --mount=type=cache,target=/root/.cache/pip pip --python /opt/venv/bin/python install ".[${EXTRAS}]"
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip pip --python /opt/venv/bin/python install --no-deps --force-reinstall .

# ---- what runs

FROM python:${PYTHON}-slim AS runtime
# A fixed number, so that the files in the volumes keep their owner from image to image. A new volume takes over the owner of the
# folder it is mounted on, so the folders have to be here.
RUN useradd --uid 10001 --user-group --home-dir /var/lib/potstill/home --shell /usr/sbin/nologin potstill \
 && install --directory --owner potstill --group potstill --mode 0700 /var/lib/potstill/home /var/lib/potstill/store
# PYTHONSAFEPATH: the folder a process is started in never shadows our modules.
ENV PATH=/opt/venv/bin:$PATH PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /var/lib/potstill
USER 10001:10001

FROM runtime AS api
COPY --from=build-api /opt/venv /opt/venv
EXPOSE 8400
CMD ["potstill", "api", "--host", "0.0.0.0"]

FROM runtime AS worker
COPY --from=build-worker /opt/venv /opt/venv
CMD ["potstill", "worker"]
