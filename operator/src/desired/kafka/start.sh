#!/bin/sh
# Made by the Logpipe operator. Starts one broker; formats its disk when it is empty.
set -eu
data=/var/lib/kafka/data
files=/etc/logpipe/kafka
conf=/tmp/server.properties
libs='/opt/kafka/libs/*'
id=${LOGPIPE_POD_NAME##*-}
host=$LOGPIPE_POD_NAME.$LOGPIPE_NODES

# Copies would not be spread over the racks, and nobody would know.
if [ -n "${LOGPIPE_RACK_LABEL:-}" ] && [ -z "$LOGPIPE_RACK" ]; then
  echo "error: the pod has no label $LOGPIPE_RACK_LABEL, which spec.kafka.managed.rack asks for: does node" \
    "$LOGPIPE_NODE have it, and is this Kubernetes 1.35 or newer, which copies it to a pod that gets its node?" \
    "1.33 and 1.34 do so with the feature gate PodTopologyLabelsAdmission of the API server." \
    "Mend that and delete the pod, or remove spec.kafka.managed.rack" >&2
  exit 3
fi

for tool in nslookup grep; do
  command -v "$tool" >/dev/null || {
    echo "Kafka's image has no $tool: name one that has it in spec.images.kafka" >&2
    exit 1
  }
done

# Others are told this name. A broker that starts before its name resolves may not find itself.
tries=0
until nslookup "$host" 2>/dev/null | grep -qF "$LOGPIPE_POD_IP"; do
  tries=$((tries + 1))
  if [ "$tries" -gt 120 ]; then
    echo "the name $host does not resolve to $LOGPIPE_POD_IP after 120 s: check the cluster's DNS, and that the chart's clusterDomain is the cluster's" >&2
    exit 1
  fi
  sleep 1
done

{
  cat "$files/server.properties"
  echo "node.id=$id"
  if [ -n "${LOGPIPE_RACK:-}" ]; then
    echo "broker.rack=$LOGPIPE_RACK"
  fi
  if [ "$id" -lt 3 ]; then
    echo "process.roles=broker,controller"
    echo "listeners=CLIENT://:9092,INTERNAL://:9094,CONTROLLER://:9093"
    echo "advertised.listeners=CLIENT://$host:9092,INTERNAL://$host:9094,CONTROLLER://$host:9093"
    echo "controller.quorum.auto.join.enable=true"
  else
    echo "process.roles=broker"
    echo "listeners=CLIENT://:9092,INTERNAL://:9094"
    echo "advertised.listeners=CLIENT://$host:9092,INTERNAL://$host:9094"
  fi
} > "$conf"

if [ ! -f "$data/meta.properties" ]; then
  # The very first disk founds the quorum; every other one joins it. Were the first one lost later and founded
  # a second quorum under the same id, everything in the first would be gone: `bootstrapped` forbids that.
  flag=--no-initial-controllers
  if [ "$id" -ge 3 ]; then
    flag=
  elif [ "$id" -eq 0 ] && [ ! -f "$files/bootstrapped" ]; then
    flag=--standalone
    if [ -f "$files/metadata-version" ]; then
      flag="$flag --release-version=$(cat "$files/metadata-version")"
    fi
  fi
  # shellcheck disable=SC2086
  if ! java -Xmx128m "-Dlog4j2.configurationFile=$files/log4j2.properties" -cp "$libs" \
    kafka.tools.StorageTool format "--cluster-id=$(cat "$files/clusterId")" -c "$conf" $flag; then
    # A failed format leaves a file that the next start would trust.
    rm -f "$data/meta.properties" "$data/bootstrap.checkpoint"
    echo "the disk could not be formatted" >&2
    exit 1
  fi
fi

# shellcheck disable=SC2086
exec java $LOGPIPE_HEAP -server -XX:+UseG1GC -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true \
  "-Dlog4j2.configurationFile=$files/log4j2.properties" -cp "$libs" kafka.Kafka "$conf"
