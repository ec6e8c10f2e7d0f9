# A site. Built from the repository's root:
#   docker build -f deploy/site.Dockerfile -t mix-of-show-site .
# Every package is installed by its hash, from deploy/locks. TORCH=cpu takes the build of
# torch for processors, which saves several GB; TORCH_FLAGS may name its index, PIP_FLAGS
# one for all packages. BASE with a digest pins the system: deploy/docs/supply.md.
ARG BASE=python:3.11-slim
FROM ${BASE} AS build
ARG PIP_FLAGS=""
ARG TORCH=cuda
ARG TORCH_FLAGS=""
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY deploy/locks deploy/locks
COPY protocol protocol
COPY shared shared
COPY client client
RUN python -m venv /opt/mix-of-show
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/mix-of-show/bin:$PATH
RUN pip install --require-hashes --no-deps --only-binary :all: \
      ${PIP_FLAGS} ${TORCH_FLAGS} --requirement deploy/locks/torch-${TORCH}.txt \
 && pip install --require-hashes --no-deps --only-binary :all: \
      ${PIP_FLAGS} --requirement deploy/locks/site.txt \
 && pip install --no-deps --no-index --no-build-isolation . ./client \
 && pip check

FROM ${BASE}
RUN groupadd --gid 10001 mos && useradd --uid 10001 --gid 10001 --no-create-home mos \
 && install -d -o mos -g mos -m 0700 /state /exchange
COPY --from=build /opt/mix-of-show /opt/mix-of-show
ENV PATH=/opt/mix-of-show/bin:$PATH \
    MOS_SITE_HOME=/state/site \
    HF_HOME=/state/hub \
    HOME=/tmp
USER 10001:10001
VOLUME ["/state"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["mos-client"]
CMD ["join"]
