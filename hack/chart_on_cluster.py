"""Installs, upgrades, rolls back and uninstalls the chart on the running hack/cluster: `hack/test-chart --cluster`."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from chart_programs import CHART, HELM, ROOT, run, tool


def inside(*command, stdin=None, ok=True):
    return run([ROOT / "hack/cluster", "in", *command], stdin=stdin, ok=ok)


SYSTEM = ["-n", "logpipe-system"]
PIPELINES = "logpipelines.logpipe.dev"


def image_and_ready():
    path = "{.spec.template.spec.containers[0].image} {.spec.replicas} {.status.readyReplicas}"
    return inside("kubectl", *SYSTEM, "get", "deployment", "logpipe-operator", "-o", f"jsonpath={path}")


def restricted(namespace):
    """Makes the namespace, with a reader and an editor."""
    text = {"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    inside("kubectl", "apply", "-f", "-", stdin=json.dumps(text))
    for role in ("view", "edit"):
        inside("kubectl", "-n", namespace, "create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}")


def may(who, verb, resource, namespace):
    command = ["kubectl", "auth", "can-i", verb, resource, "-n", namespace, f"--as={who}"]
    done = subprocess.run([str(ROOT / "hack/cluster"), "in", *command], capture_output=True, text=True, check=False)
    return done.stdout.strip() == "yes"


def eventually(holds):
    """Waits for what the cluster's controllers do, such as the sum of aggregated roles."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "not within 30 seconds"
        time.sleep(0.2)


def apply(namespace, pipeline, more=""):
    """Makes a pipeline, and comes back when the operator has said something about it."""
    text = (ROOT / "examples/cluster.yaml").read_text(encoding="utf-8").replace("name: demo", f"name: {pipeline}")
    inside("kubectl", "-n", namespace, "apply", "-f", "-", stdin=text.replace("spec:\n", f"spec:\n{more}", 1))
    seen = "--for=jsonpath={.status.observedGeneration}=1"
    inside("kubectl", "-n", namespace, "wait", f"logpipeline/{pipeline}", "--timeout=60s", seen)


def delete(namespace, pipeline):
    inside("kubectl", "-n", namespace, "delete", "logpipeline", pipeline, "--timeout=300s")


def reconciles(namespace, pipeline):
    apply(namespace, pipeline)
    delete(namespace, pipeline)


KAFKA_COLUMN = """    - jsonPath: .status.kafka.readyReplicas
      name: Kafka
      type: integer
"""


def older(program, folder):
    """A package of the chart as it could have been before this one: its CRD lacks a column."""
    chart = pathlib.Path(folder) / "logpipe"
    shutil.copytree(CHART, chart)
    crd = chart / "templates/crd.yaml"
    text = crd.read_text(encoding="utf-8")
    assert text.count(KAFKA_COLUMN) == 1, "the CRD has no longer the column that an older one lacks here"
    crd.write_text(text.replace(KAFKA_COLUMN, ""), encoding="utf-8")
    run([program, "package", chart, "--version", "0.0.1", "-d", folder])
    return pathlib.Path(folder) / "logpipe-0.0.1.tgz"


def columns():
    path = "{.spec.versions[0].additionalPrinterColumns[*].name}"
    return inside("kubectl", "get", "crd", PIPELINES, "-o", f"jsonpath={path}").split()


def upgrades_the_crd(program):
    """From the package of an older chart to this one, and away again."""
    with tempfile.TemporaryDirectory() as folder:
        inside(program, "install", "logpipe", older(program, folder), *SYSTEM, "--wait", "--timeout", "120s")
    assert "Kafka" not in columns()
    inside(program, "upgrade", "logpipe", CHART, *SYSTEM, "--set", "crds.keep=false", "--wait", "--timeout", "120s")
    assert "Kafka" in columns(), "the CRD is still the older one"
    inside(program, "uninstall", "logpipe", *SYSTEM, "--wait")
    inside("kubectl", "wait", f"crd/{PIPELINES}", "--for=delete", "--timeout=60s")


def cycle(helm):
    """Install, upgrade, a bad upgrade and its rollback, uninstall, and again with the CRD that was kept."""
    program, began = tool(HELM[helm]), time.monotonic()
    release = ["logpipe", CHART, *SYSTEM, "--wait", "--timeout", "120s"]
    notes = inside(program, "install", *release)
    assert re.findall(r"^  (kubectl (?:-n \S+ )?\w+)", notes, flags=re.M) == [
        "kubectl -n logpipe-system rollout", "kubectl create", "kubectl apply"], notes
    assert image_and_ready() == "localhost/logpipe-operator:dev 1 1"
    operator = "system:serviceaccount:logpipe-system:logpipe-operator"
    assert may(operator, "patch", PIPELINES, "lp-a") and may(operator, "patch", PIPELINES, "lp-b")
    assert not may(operator, "get", "secrets", "lp-a")
    for role, verbs in {"view": ["list"], "edit": ["list", "patch"]}.items():
        eventually(lambda role=role, verbs=verbs: [v for v in ("list", "patch") if may(role, v, PIPELINES, "lp-a")] == verbs)
    reconciles("lp-a", f"one{helm}")
    inside(program, "upgrade", *release, "--set", "replicaCount=2", "--set", "networkPolicy.enabled=true")
    assert image_and_ready() == "localhost/logpipe-operator:dev 2 2"
    inside("kubectl", *SYSTEM, "get", "pdb,networkpolicy", "-o", "name")
    inside(program, "upgrade", "logpipe", CHART, *SYSTEM, "--set", "watchNamespaces={lp-a}", "--wait", "--timeout", "120s")
    assert may(operator, "patch", PIPELINES, "lp-a") and not may(operator, "patch", PIPELINES, "lp-b")
    reconciles("lp-a", f"two{helm}")
    apply("lp-a", "held")
    inside("kubectl", "delete", "namespace", "lp-a", "--timeout=120s")
    restricted("lp-a")
    inside(program, "upgrade", "logpipe", CHART, *SYSTEM, "--set", "image.tag=missing", "--wait", "--timeout", "15s", ok=False)
    inside(program, "rollback", "logpipe", "1", *SYSTEM, "--wait", "--timeout", "120s")
    assert image_and_ready() == "localhost/logpipe-operator:dev 1 1"
    apply("lp-b", "stays", "  suspend: All\n")
    inside("kubectl", "-n", "lp-b", "wait", "statefulset/stays-kafka", "--for=create", "--timeout=60s")
    inside(program, "uninstall", "logpipe", *SYSTEM, "--wait")
    assert "stays" in inside("kubectl", "-n", "lp-b", "get", "lp", "-o", "name"), "uninstalling took the pipelines"
    assert "stays-kafka" in inside("kubectl", "-n", "lp-b", "get", "statefulset", "-o", "name"), "and what they run"
    left = inside("kubectl", "get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/instance=logpipe", "-o", "name")
    assert left == "", left
    inside(program, "install", *release)
    delete("lp-b", "stays")
    inside(program, "uninstall", "logpipe", *SYSTEM, "--wait")
    print(f"Helm {tool(HELM[helm], '--version-of')} on the cluster: good, {time.monotonic() - began:.0f} s", flush=True)


def cluster():
    # Its own operator, in a namespace that keeps the restricted level.
    if inside("kubectl", "get", "crd,deployments", "-A", "-o", "name").count("logpipe"):
        sys.exit("a Logpipe is on this cluster already: take another by LOGPIPE_CLUSTER_STATE")
    for namespace in ("logpipe-system", "lp-a", "lp-b"):
        restricted(namespace)
    try:
        for helm in HELM:
            upgrades_the_crd(tool(HELM[helm]))
        for helm in HELM:
            cycle(helm)
            # The other Helm finds the CRD of the first: it belongs to a release of the same name and namespace.
    finally:
        subprocess.run([str(ROOT / "hack/cluster"), "in", tool(HELM["3"]), "uninstall", "logpipe", *SYSTEM, "--ignore-not-found"],
                       capture_output=True, check=False)
        inside("kubectl", "delete", "crd", "logpipelines.logpipe.dev", "--ignore-not-found", "--timeout=60s")
        inside("kubectl", "delete", "namespace", "logpipe-system", "lp-a", "lp-b", "--ignore-not-found", "--timeout=120s")
