# docker build --tag advkeras .                                    CPU
# docker build --tag advkeras:gpu --build-arg VARIANT=gpu .        GPU: run it with --gpus all
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

ARG VARIANT=cpu
ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=3
WORKDIR /opt/advkeras

# The packages change less often than the code: they get a layer of their own.
COPY pyproject.toml README.md LICENSE ./
COPY advkeras/datasets/samples/NOTICE.md advkeras/datasets/samples/NOTICE.md
# hadolint ignore=DL3013
RUN mkdir saved_models && echo '__version__ = "0"' > advkeras/__init__.py \
    && if [ "$VARIANT" = gpu ]; then pip install ".[gpu]"; else pip install .; fi

COPY advkeras advkeras
COPY saved_models saved_models
RUN pip install --no-deps --force-reinstall . && useradd --create-home --uid 10001 advkeras

USER 10001
WORKDIR /home/advkeras
ENTRYPOINT ["advkeras"]
CMD ["--help"]
