# The packages of every task that runs on a CPU. The pipeline's own code is not in it: Nextflow
# brings bin/ to each task. Build: make images; or docker build -f containers/cpu.Dockerfile .
ARG BASE_IMAGE=python:3.13-slim-trixie

# A stage of its own, so that addresses and certificates of the building site stay out of the image.
FROM ${BASE_IMAGE} AS build
ARG PIP_INDEX_URL
ARG PIP_CERT
ARG TORCH_INDEX
ARG TORCH_HASH
COPY containers/install.sh containers/requirements.lock containers/requirements-awscli.lock /build/
RUN /build/install.sh

FROM ${BASE_IMAGE}
# Nextflow asks for bash and ps; tasks may run under any user, who has no name and no home.
RUN { command -v python3 && command -v ps; } || { \
        apt-get update \
        && apt-get install --yes --no-install-recommends ca-certificates procps python3 \
        && rm -rf /var/lib/apt/lists/*; \
    }
RUN useradd --no-create-home --home-dir /tmp --shell /bin/bash stlatent
COPY --from=build /opt/stlatent /opt/stlatent
ENV PATH=/opt/stlatent/env/bin:$PATH HOME=/tmp USER=stlatent LANG=C.UTF-8
WORKDIR /tmp
USER stlatent
ENTRYPOINT []
CMD ["bash"]

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="stlatent (CPU)" \
    org.opencontainers.image.description="Python packages of the stlatent pipeline, without its code" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
