# MinIO from its Go module, for tests: see object-store.yaml. Its layout is that of `hack/cluster minio`.
ARG GO_IMAGE=golang:1.26.9-bookworm@sha256:d9c68c2c51161e12fd77e4c6320687c9cd86e1af1e3ad6e6cd63ff970641453c
ARG BUSYBOX_IMAGE=busybox:1.37.0@sha256:9db7b59979c38555a39def84a31fb98b5296952f9e3afd4f6f11f05b07adfab0

FROM ${GO_IMAGE} AS build
ARG VERSION
RUN CGO_ENABLED=0 GOBIN=/out go install -trimpath -ldflags "-s -w" github.com/minio/minio@${VERSION}

FROM ${BUSYBOX_IMAGE}
COPY --from=build /out/minio /bin/minio
USER 1000:1000
ENTRYPOINT ["/bin/minio"]
