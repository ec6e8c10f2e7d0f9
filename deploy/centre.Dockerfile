# The centre. Built from the repository's root:
#   docker build -f deploy/centre.Dockerfile -t mix-of-show-centre .
# PIP_FLAGS may name an index with CPU builds of torch, which save several GB.
FROM python:3.11-slim AS build
ARG PIP_FLAGS=""
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY protocol protocol
COPY shared shared
COPY server server
RUN python -m venv /opt/mix-of-show \
 && /opt/mix-of-show/bin/pip install --no-cache-dir --constraint constraints.txt \
      ${PIP_FLAGS} . ./server

FROM python:3.11-slim
RUN groupadd --gid 10001 mos && useradd --uid 10001 --gid 10001 --no-create-home mos \
 && install -d -o mos -g mos -m 0700 /state /exchange
COPY --from=build /opt/mix-of-show /opt/mix-of-show
ENV PATH=/opt/mix-of-show/bin:$PATH \
    MOS_CENTRE_HOME=/state/centre \
    HF_HOME=/state/hub \
    HOME=/tmp
USER 10001:10001
VOLUME ["/state"]
EXPOSE 9092
STOPSIGNAL SIGTERM
ENTRYPOINT ["mos-server"]
CMD ["serve", "--address", "0.0.0.0:9092"]
