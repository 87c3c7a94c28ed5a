# The images of Logpipe: the worker with the command line, and the operator. For each platform that the builder can run:
#
#   docker buildx build --target worker   --platform linux/amd64,linux/arm64 -t REGISTRY/logpipe-worker:VERSION .
#   docker buildx build --target operator --platform linux/amd64,linux/arm64 -t REGISTRY/logpipe-operator:VERSION .
#
# The number is in Cargo.toml: --build-arg VERSION=…, as hack/release gives it.
#
# An image holds the programs, the libraries that they load, and the certificates of authorities: no shell and no
# package manager. hack/images, which makes the images for tests, puts the same files together.

# By tag, since its digest was not known where this was written: for a release, give NAME@sha256:….
ARG RUST_IMAGE=rust:1.95.0-bookworm

FROM ${RUST_IMAGE} AS build
# The toolchain of the image: rust-toolchain.toml would have rustup fetch the formatter and the linter, too.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/cache \
    CARGO_TARGET_DIR=/cache/$(uname -m) hack/images files /images

FROM scratch AS operator
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="logpipe-operator" \
      org.opencontainers.image.description="Makes a LogPipeline what its manifest says" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /images/logpipe-operator /
USER 1000:1000
WORKDIR /tmp
ENV PATH=/usr/local/bin
ENTRYPOINT ["/usr/local/bin/logpipe-operator"]

FROM scratch AS worker
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="logpipe-worker" \
      org.opencontainers.image.description="The roles of a pipeline, and the command line" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /images/logpipe-worker /
USER 1000:1000
WORKDIR /tmp
ENV PATH=/usr/local/bin
ENTRYPOINT ["/usr/local/bin/logpipe", "worker"]
