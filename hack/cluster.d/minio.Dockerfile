# MinIO from its Go module, for tests: see object-store.yaml. Its layout is that of `hack/cluster minio`.
#
# By tag, since the digests were not known where this was written.
ARG GO_IMAGE=golang:1.26-bookworm
ARG BUSYBOX_IMAGE=busybox:1.37-musl

FROM ${GO_IMAGE} AS build
ARG VERSION
RUN CGO_ENABLED=0 GOBIN=/out go install -trimpath -ldflags "-s -w" github.com/minio/minio@${VERSION}

FROM ${BUSYBOX_IMAGE}
COPY --from=build /out/minio /bin/minio
USER 1000:1000
ENTRYPOINT ["/bin/minio"]
