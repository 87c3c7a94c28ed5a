# MinIO in a cluster: sourced by hack/cluster and hack/kind, which define `kubectl_`, `say` and `die` and have loaded
# the image. Touches the namespace object-store, and the Secret s3-credentials there and in the namespaces it is given.
# shellcheck shell=bash disable=SC2154
object_store() { # namespaces…
  local namespace password
  kubectl_ apply -f "$here/cluster.d/object-store.yaml" >/dev/null
  password=$(kubectl_ -n object-store get secret s3-credentials --ignore-not-found \
    -o 'go-template={{index .data "AWS_SECRET_ACCESS_KEY" | base64decode}}')
  [ -n "$password" ] || password=$(openssl rand -hex 20)
  for namespace in object-store "$@"; do
    kubectl_ get namespace "$namespace" >/dev/null 2>&1 || kubectl_ create namespace "$namespace" >/dev/null
    kubectl_ apply -f - >/dev/null <<SECRET
apiVersion: v1
kind: Secret
metadata: {name: s3-credentials, namespace: $namespace}
stringData: {AWS_ACCESS_KEY_ID: logpipe, AWS_SECRET_ACCESS_KEY: "$password"}
SECRET
  done
  kubectl_ -n object-store rollout status deployment/minio --timeout=120s >/dev/null ||
    die "MinIO is not ready: see kubectl -n object-store describe pods"
  say "bucket logs at http://minio.object-store.svc:9000, keys in Secret s3-credentials of object-store $*"
}
