"""How the chart is used: as a part of another chart, with `null` for a value, and what it says at its end. Run by
hack/test-chart."""

import json
import pathlib
import re
import shutil
import tempfile

import yaml

from chart_programs import CHART, HELM, run, tool

# The commands that NOTES.txt has people run next.
NEXT = ["kubectl -n logpipe-system rollout", "kubectl create", "kubectl apply", "kubectl get", "kubectl describe"]


def next_commands(text):
    return re.findall(r"^  (kubectl (?:-n \S+ )?\w+)", text, flags=re.M)


def template(helm, chart, values, ok=True):
    command = [tool(HELM[helm]), "template", "logpipe", chart, "-n", "logpipe-system", "--kube-version", "1.34.0", "-f", "-"]
    return run(command, stdin=json.dumps(values), ok=ok)


def parent(folder):
    """A chart of somebody's that has ours under a condition."""
    chart = pathlib.Path(folder) / "parent"
    shutil.copytree(CHART, chart / "charts/logpipe")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["version"]
    about = {"apiVersion": "v2", "name": "parent", "version": "1.0.0",
             "dependencies": [{"name": "logpipe", "version": version, "condition": "logpipe.enabled"}]}
    (chart / "Chart.yaml").write_text(json.dumps(about), encoding="utf-8")
    return chart


def in_a_parent_chart(loader):
    with tempfile.TemporaryDirectory() as folder:
        chart = parent(folder)
        for helm in HELM:
            for enabled in (True, False):
                values = {"global": {"imageRegistry": "r.example"}, "logpipe": {"enabled": enabled, "replicaCount": 2}}
                found = [one for one in yaml.load_all(template(helm, chart, values), loader) if one]
                replicas = [one["spec"]["replicas"] for one in found if one["kind"] == "Deployment"]
                assert replicas == ([2] if enabled else []), f"Helm {helm}, enabled {enabled}: {replicas}"
                assert enabled or not found, found
            # What a parent takes away is refused as it is without one.
            said = template(helm, chart, {"logpipe": {"crds": None}}, ok=False)
            assert "logpipe:\n- at" in said and "crds" in said, said


def paths(schema, path=()):
    for name, field in schema.get("properties", {}).items():
        yield (*path, name)
        yield from paths(field, (*path, name))


def nothing(value):
    """Whether there is a null in it."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(nothing(one) for one in inner)


# Every template says something.
ON = {
    "replicaCount": 2,
    "networkPolicy": {"enabled": True},
    "metrics": {part: {"enabled": True} for part in ("podMonitor", "serviceMonitor", "prometheusRule", "dashboard")},
}


def null_is_empty_or_refused(loader):
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    refused = 0
    for path in paths(schema):
        if path[0] in ("global", "enabled"):
            continue
        values = inner = json.loads(json.dumps(ON))
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = None
        for helm in HELM:
            where = f"Helm {helm}, {'.'.join(path)}: null"
            command = [tool(HELM[helm]), "template", "logpipe", CHART, "--kube-version", "1.34.0", "-f", "-"]
            said = run(command, stdin=json.dumps(values), ok=None)
            if said.startswith("Error: "):
                assert f"missing property '{path[-1]}'" in said, f"{where} is refused with other words: {said}"
                refused += 1
            else:
                assert "<nil>" not in said and not nothing(list(filter(None, yaml.load_all(said, loader)))), where
    assert refused > 20, "null is taken nearly everywhere"


def notes():
    helm = tool(HELM["4"])

    def said(values):
        command = [helm, "install", "logpipe", CHART, "-n", "logpipe-system", "--dry-run=client", "-f", "-"]
        return run(command, stdin=json.dumps(values)).split("NOTES:\n")[1]

    local = said({})
    assert next_commands(local) == NEXT, local
    assert "image, workerImage, kafkaImage." in local, local
    registry = {"registry": "r.example"}
    other = said({"image": registry, "workerImage": registry, "kafkaImage": registry})
    assert "localhost" not in other, other
    some = said({"watchNamespaces": ["shop", "web"]})
    assert next_commands(some)[1:] == [command.replace("kubectl", "kubectl -n shop") for command in NEXT[1:]], some


def test(loader):
    in_a_parent_chart(loader)
    null_is_empty_or_refused(loader)
    notes()
    print("a parent chart with a condition, null for each value, and the notes: good")
