"""Installs, upgrades, rolls back and uninstalls the chart on a cluster: `hack/test-chart --cluster`, or `--existing`."""

import json
import pathlib
import shutil
import sys
import tempfile
import time

from chart_programs import CHART, HELM, ROOT, run, tool
from chart_use import NEXT, next_commands

# What a command begins with that is to run in the cluster's network, and what more Helm is given.
BEFORE, MORE = [], []


def inside(*command, stdin=None, ok=True):
    return run([*BEFORE, *command], stdin=stdin, ok=ok)


SYSTEM = ["-n", "logpipe-system"]
NAMESPACES = ("logpipe-system", "lp-a", "lp-b")
PIPELINES = "logpipelines.logpipe.dev"


def image_and_ready():
    """The operator's image, and how many pods of it are asked for and ready."""
    path = "{.spec.template.spec.containers[0].image} {.spec.replicas} {.status.readyReplicas}"
    return inside("kubectl", *SYSTEM, "get", "deployment", "logpipe-operator", "-o", f"jsonpath={path}").split()


def restricted(namespace):
    """Makes the namespace, with a reader and an editor."""
    text = {"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    inside("kubectl", "apply", "-f", "-", stdin=json.dumps(text))
    for role in ("view", "edit"):
        inside("kubectl", "-n", namespace, "create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}")


def may(who, verb, resource, namespace):
    command = ["kubectl", "auth", "can-i", verb, resource, "-n", namespace, f"--as={who}"]
    return inside(*command, ok=None).splitlines()[:1] == ["yes"]


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
        inside(program, "install", "logpipe", older(program, folder), *SYSTEM, *MORE, "--wait", "--timeout", "120s")
    assert "Kafka" not in columns()
    inside(program, "upgrade", "logpipe", CHART, *SYSTEM, *MORE, "--set", "crds.keep=false", "--wait", "--timeout", "120s")
    assert "Kafka" in columns(), "the CRD is still the older one"
    inside(program, "uninstall", "logpipe", *SYSTEM, "--wait")
    inside("kubectl", "wait", f"crd/{PIPELINES}", "--for=delete", "--timeout=60s")


def cycle(helm):
    """Install, upgrade, a bad upgrade and its rollback, uninstall, and again with the CRD that was kept."""
    program, began = tool(HELM[helm]), time.monotonic()
    release = ["logpipe", CHART, *SYSTEM, *MORE, "--wait", "--timeout", "120s"]
    notes = inside(program, "install", *release)
    assert next_commands(notes) == NEXT, notes
    image, *ready = image_and_ready()
    assert ready == ["1", "1"], ready
    operator = "system:serviceaccount:logpipe-system:logpipe-operator"
    assert may(operator, "patch", PIPELINES, "lp-a") and may(operator, "patch", PIPELINES, "lp-b")
    assert not may(operator, "get", "secrets", "lp-a")
    for role, verbs in {"view": ["list"], "edit": ["list", "patch"]}.items():
        eventually(lambda role=role, verbs=verbs: [v for v in ("list", "patch") if may(role, v, PIPELINES, "lp-a")] == verbs)
    reconciles("lp-a", f"one{helm}")
    inside(program, "upgrade", *release, "--set", "replicaCount=2", "--set", "networkPolicy.enabled=true")
    assert image_and_ready() == [image, "2", "2"]
    inside("kubectl", *SYSTEM, "get", "pdb,networkpolicy", "-o", "name")
    inside(program, "upgrade", *release, "--set", "watchNamespaces={lp-a}")
    assert may(operator, "patch", PIPELINES, "lp-a") and not may(operator, "patch", PIPELINES, "lp-b")
    reconciles("lp-a", f"two{helm}")
    apply("lp-a", "held")
    inside("kubectl", "delete", "namespace", "lp-a", "--timeout=120s")
    restricted("lp-a")
    bad = ["--set", "image.tag=missing", "--set", "image.digest="]
    inside(program, "upgrade", "logpipe", CHART, *SYSTEM, *MORE, *bad, "--wait", "--timeout", "15s", ok=False)
    inside(program, "rollback", "logpipe", "1", *SYSTEM, "--wait", "--timeout", "120s")
    assert image_and_ready() == [image, "1", "1"]
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


def test(before, values=()):
    """On the cluster that commands reach which begin so; with a file of values when there is one."""
    BEFORE.extend(before)
    for path in values:
        MORE.extend(["-f", path])
    if not before and not shutil.which("kubectl"):
        sys.exit("there is no kubectl on the path")
    # Its own operator, in a namespace that keeps the restricted level. All of it is deleted at the end.
    if inside("kubectl", "get", "crd,deployments", "-A", "-o", "name").count("logpipe"):
        sys.exit("a Logpipe is on this cluster already: take another")
    there = inside("kubectl", "get", "namespace", *NAMESPACES, "--ignore-not-found", "-o", "name")
    if there:
        sys.exit(f"the test makes and deletes the namespaces {', '.join(NAMESPACES)}, and there is {there.strip()}")
    for namespace in NAMESPACES:
        restricted(namespace)
    try:
        for helm in HELM:
            upgrades_the_crd(tool(HELM[helm]))
        for helm in HELM:
            cycle(helm)
            # The other Helm finds the CRD of the first: it belongs to a release of the same name and namespace.
    finally:
        inside(tool(HELM["3"]), "uninstall", "logpipe", *SYSTEM, "--ignore-not-found", ok=None)
        inside("kubectl", "delete", "crd", "logpipelines.logpipe.dev", "--ignore-not-found", "--timeout=60s")
        inside("kubectl", "delete", "namespace", *NAMESPACES, "--ignore-not-found", "--timeout=120s")
