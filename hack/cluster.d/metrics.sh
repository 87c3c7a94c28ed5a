# metrics-server, which autoscalers read: sourced by hack/cluster alone, so that no other image is made again when this
# changes. Wants `in_`, `load`, `die`, and cached() of images.sh.
# shellcheck shell=bash disable=SC2154
metrics_recipe=$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-8)

metrics() {
  local made_of
  made_of=$("$here/tools" --version-of metrics-server)-$metrics_recipe
  cached localhost/metrics-server:dev "$made_of" metrics_files --user 1000:1000 --entrypoint '["/bin/metrics-server"]'
  load "$archive"
  in_ kubectl apply -f "$here/cluster.d/metrics.yaml" >/dev/null
  in_ kubectl wait --for=condition=Available apiservice/v1beta1.metrics.k8s.io --timeout=120s >/dev/null ||
    die "metrics-server is not there: hack/cluster in kubectl -n kube-system describe pods"
}

metrics_files() {
  "$here/tools" metrics-server
  mkdir -p bin tmp
  cp "$tools/metrics-server" bin/
  chmod 755 bin/metrics-server
  chmod 1777 tmp
}
