"""Tests the alerts and the dashboard of the chart: by promtool, and that the metrics they ask for exist."""

import json
import pathlib
import re
import sys

import yaml

from chart_programs import CHART, ROOT, run, tool

REFERENCE = ROOT / "docs/reference/metrics.md"
RULES = CHART / "files/rules.yaml"
BOARD = CHART / "files/dashboard.json"
OPERATOR_OF_PROMETHEUS = "github.com/prometheus-operator/prometheus-operator@v0.85.0"


def crds(loader):
    """The resources of the Prometheus operator that the chart makes."""
    module = json.loads(run(["go", "mod", "download", "-json", OPERATOR_OF_PROMETHEUS]))
    folder = pathlib.Path(module["Dir"]) / "example/prometheus-operator-crd"
    for name in ("podmonitors", "prometheusrules", "servicemonitors"):
        text = (folder / f"monitoring.coreos.com_{name}.yaml").read_text(encoding="utf-8")
        yield yaml.load(text, loader)["spec"]


def told():
    """The metrics that the programs tell, with their types: tests of theirs hold the reference to it."""
    rows = re.findall(r"^\| `(logpipe_\w+)` \| (\w+) \|", REFERENCE.read_text(encoding="utf-8"), flags=re.M)
    return dict(rows)


def series(metrics):
    parts = {"histogram": ("_bucket", "_count", "_sum")}
    return {name + part for name, kind in metrics.items() for part in parts.get(kind, ("",))}


def asked(expressions):
    return {name for expression in expressions for name in re.findall(r"\blogpipe_\w+", expression)}


def test(loader):
    metrics = told()
    if len(metrics) < 30:
        sys.exit(f"{REFERENCE.relative_to(ROOT)} has only {len(metrics)} metrics: has its table another form?")
    for name, kind in metrics.items():
        assert (kind == "counter") == name.endswith("_total"), f"{name} is a {kind}"
    rules = yaml.load(RULES.read_text(encoding="utf-8"), loader)["groups"][0]["rules"]
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    targets = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    variables = [one["query"] for one in board["templating"]["list"]]
    for where, expressions in (("alerts", [rule["expr"] for rule in rules]), ("dashboard", targets + variables)):
        unknown = asked(expressions) - series(metrics)
        assert not unknown, f"the {where} ask for metrics that nothing tells: {sorted(unknown)}"
    promtool = tool("promtool")
    silent = [rule["alert"] for rule in rules if not {"summary", "description", "runbook"} <= rule["annotations"].keys()]
    assert not silent, f"no word of what it is and what to do: {silent}"
    run([promtool, "check", "rules", "--lint=all", "--lint-fatal", RULES])
    run([promtool, "test", "rules", ROOT / "hack/rules_test.yaml"])
    fired = set(re.findall(r"alertname: (\w+)", (ROOT / "hack/rules_test.yaml").read_text(encoding="utf-8")))
    assert fired == {rule["alert"] for rule in rules}, "an alert has no test, or a test has no alert"
    for target in targets:
        # What Grafana puts in.
        query = target.replace("$__rate_interval", "5m").replace("$namespace", ".*").replace("$pipeline", ".*")
        run([promtool, "promql", "format", "--experimental", query])
    print(f"promtool {tool('promtool', '--version-of')}: {len(rules)} alerts fire when they should, {len(targets)} queries of the dashboard: good")
