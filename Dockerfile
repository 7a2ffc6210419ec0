# docker build --tag advkeras .                                    CPU
# docker build --tag advkeras:gpu --build-arg VARIANT=gpu .        GPU: run it with --gpus all
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG VARIANT=cpu
WORKDIR /build
COPY pyproject.toml ./
# What pip is to install beside the code, as a file of its own: as long as it stays the same, so does the large layer
# that is made from it, whatever else changes in the code or in pyproject.toml.
RUN python -c "import sys, tomllib; \
    project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
    extras = {'cpu': ['serving'], 'gpu': ['serving', 'gpu']}[sys.argv[1]]; \
    chosen = [project['dependencies'], *(project['optional-dependencies'][extra] for extra in extras)]; \
    print(*sum(chosen, []), sep='\n')" "$VARIANT" > requirements.txt
COPY README.md LICENSE ./
COPY advkeras advkeras
COPY saved_models saved_models
# Under a root of its own: what is copied from there is the installed package and nothing else.
RUN pip install --no-cache-dir --no-deps --root /install .

FROM python:${PYTHON}-slim
ENV PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=3 MPLCONFIGDIR=/tmp/matplotlib
# Any user may write to /work, so that `--user` and a folder mounted there go together.
RUN useradd --create-home --uid 10001 advkeras && install --directory --mode 1777 /work
COPY --from=build /build/requirements.txt /opt/advkeras/
# TensorFlow's headers, 0.4 GB, are for compiling operations of one's own.
RUN pip install --no-cache-dir --requirement /opt/advkeras/requirements.txt \
    && rm -r "$(python -c "import sysconfig; print(sysconfig.get_path('platlib'))")/tensorflow/include"
COPY --from=build /install /

USER 10001
WORKDIR /work
ENTRYPOINT ["advkeras"]
CMD ["--help"]
