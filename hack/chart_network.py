"""Tests the network policies: who reaches whom by examples/network-policy.yaml. Run by hack/test-chart."""

import itertools
import re

import yaml

from chart_programs import ROOT

EXAMPLE = ROOT / "examples/network-policy.yaml"


def numbers(path, pattern):
    """What the sources say."""
    found = re.findall(pattern, (ROOT / path).read_text(encoding="utf-8"))
    assert found, f"{path} has no {pattern} any more"
    return {int(one) for one in found}


def labels(part):
    return {"logpipe.dev/pipeline": "demo", "logpipe.dev/component": part}


def selects(selector, pod):
    """Whether a selector of labels takes the pod."""
    listed = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in listed)
    return selector.get("matchLabels", {}).items() <= pod.items() and all(pod.get(one["key"]) in one["values"] for one in listed)


def takes(peers, pod):
    """Whether one of the peers is a pod of the same namespace with these labels; no peers are everybody."""
    return not peers or any("namespaceSelector" not in one and selects(one["podSelector"], pod) for one in peers)


def opens(policies, way, peers, own, other):
    """The ports by which a pod with the labels `own` may talk to, or be talked to by, one with the labels `other`."""
    rules = [rule for policy in policies if selects(policy["podSelector"], own) for rule in policy[way]]
    return {port["port"] for rule in rules if takes(rule.get(peers), other) for port in rule["ports"]}


def test(loader):
    pipeline, *objects = yaml.load_all(EXAMPLE.read_text(encoding="utf-8"), loader)
    assert pipeline["metadata"]["name"] == "demo"
    policies = [one["spec"] for one in objects]
    client = numbers("probe/src/wire.rs", r"CLIENT_PORT: u16 = (\d+)")
    among = client | numbers("operator/src/desired/kafka.rs", r'(?:CONTROLLER_PORT: u16 = |\("internal", )(\d+)')
    metrics = numbers("operator/src/desired/pod.rs", r'METRICS: \(&str, u16\) = \("metrics", (\d+)\)')
    generator = numbers("operator/src/desired/pod.rs", r'METRICS: \(&str, u16\) = \("metrics-gen", (\d+)\)')
    parts = ("kafka", "topic", "source", "etl")
    for part in parts:
        assert sum(selects(one["podSelector"], labels(part)) for one in policies) == 1, f"{part} has not one policy"
    for one, other in itertools.product(parts, repeat=2):
        out = opens(policies, "egress", "to", labels(one), labels(other))
        let_in = opens(policies, "ingress", "from", labels(other), labels(one))
        wanted = set() if other != "kafka" else among if one == "kafka" else client
        assert out & let_in == wanted, f"{one} reaches {other} by {out & let_in}, not by {wanted}"
        # DNS for all, and the API server for those that commit.
        assert out - let_in == {53} | ({443, 6443} if one == "etl" else set()), f"{one} has the way out {out - let_in}"
    told = {part: {port["port"] for policy in policies if selects(policy["podSelector"], labels(part)) for rule in policy["ingress"]
                   if "monitoring" in str(rule["from"]) for port in rule["ports"]} for part in parts}
    assert told["source"] == metrics | generator and told["etl"] == metrics and not told["kafka"], told
    print(f"who reaches whom by {EXAMPLE.relative_to(ROOT)}: good")
