# The images of Logpipe: the worker, which is the command line, and the operator. For amd64 and arm64:
#
#   docker buildx build --target worker   --platform linux/amd64,linux/arm64 -t REGISTRY/logpipe-worker:VERSION .
#   docker buildx build --target operator --platform linux/amd64,linux/arm64 -t REGISTRY/logpipe-operator:VERSION .
#
# The number is in Cargo.toml: --build-arg VERSION=…, as hack/release gives it. The build runs on the builder's own
# processor and compiles for the other one: no emulation is needed.
#
# An image holds the programs, the libraries that they load, and the certificates of authorities: no shell and no
# package manager. hack/images, which makes the images for tests, puts the same files together.

# The digest is of the index of all platforms.
ARG RUST_IMAGE=rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1

FROM --platform=${BUILDPLATFORM} ${RUST_IMAGE} AS build
ARG BUILDARCH
ARG TARGETARCH
# The toolchain of the image: rust-toolchain.toml would have rustup fetch the formatter and the linter, too.
ENV RUSTUP_TOOLCHAIN=1.95.0
# An image has the names of functions and no more: hack/images.
ENV CARGO_PROFILE_RELEASE_DEBUG=false
RUN if [ "${TARGETARCH}" != "${BUILDARCH}" ]; then \
      case ${TARGETARCH} in amd64) cpu=x86_64 ;; arm64) cpu=aarch64 ;; *) exit 1 ;; esac && \
      apt-get update && \
      apt-get install --yes --no-install-recommends "g++-$(echo ${cpu} | tr _ -)-linux-gnu" && \
      rm -rf /var/lib/apt/lists/* && \
      rustup target add ${cpu}-unknown-linux-gnu; \
    fi
WORKDIR /src
COPY . .
# Two platforms are built at once, and take turns at what they share. The build is in a copy that stays in the cache, in
# which a file has a new time when its content is another: hack/mirror.
RUN --mount=type=cache,id=logpipe-registry,sharing=locked,target=/usr/local/cargo/registry \
    --mount=type=cache,id=logpipe-target-${TARGETARCH},sharing=locked,target=/cache \
    hack/mirror . /cache/src && \
    CARGO_TARGET_DIR=/cache/target /cache/src/hack/images --arch "${TARGETARCH}" files /images

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
      org.opencontainers.image.description="The command line, with the roles of a pipeline" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /images/logpipe-worker /
USER 1000:1000
WORKDIR /tmp
ENV PATH=/usr/local/bin
ENTRYPOINT ["/usr/local/bin/logpipe", "worker"]
