# MinIO from its Go module, for tests: see object-store.yaml. Its layout is that of `hack/cluster minio`.
ARG GO_IMAGE=golang:1.26.4-bookworm@sha256:b305420a68d0f229d91eb3b3ed9e519fcf2cf5461da4bef997bf927e8c0bfd2b
ARG BUSYBOX_IMAGE=busybox:1.37.0@sha256:9db7b59979c38555a39def84a31fb98b5296952f9e3afd4f6f11f05b07adfab0

FROM ${GO_IMAGE} AS build
ARG VERSION
RUN CGO_ENABLED=0 GOBIN=/out go install -trimpath -ldflags "-s -w" github.com/minio/minio@${VERSION}

FROM ${BUSYBOX_IMAGE}
COPY --from=build /out/minio /bin/minio
USER 1000:1000
ENTRYPOINT ["/bin/minio"]
