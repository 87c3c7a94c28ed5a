"""What hack/test-chart does: see there. Needs PyYAML. Touches files only with --bless, a cluster only with --cluster
or --existing.
"""

import json
import pathlib
import re
import sys
import tempfile

import yaml

import chart_metrics
import chart_network
import chart_on_cluster
import chart_use
from chart_programs import CHART, HELM, ROOT, run, tool

CRD = ROOT / "crds/logpipelines.yaml"
PLAIN = ROOT / "hack/operator.yaml"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def rendered(values=None, helm="3", release="logpipe", ok=True):
    """The text of the chart in the namespace logpipe-system."""
    command = [tool(HELM[helm]), "template", release, CHART, "-n", "logpipe-system", "--kube-version", "1.34.0", "-f", "-"]
    return run(command, stdin=json.dumps(values or {}), ok=ok)


def objects(text):
    return [one for one in yaml.load_all(text, LOADER) if one]


def named(found, kind, name="logpipe-operator", namespace=None):
    """The one object of that kind and name; None when there is none."""
    same = [
        one
        for one in found
        if (one["kind"], one["metadata"]["name"]) == (kind, name)
        and namespace in (None, one["metadata"].get("namespace"))
    ]
    assert len(same) < 2, f"{len(same)} times {kind} {name}"
    return same[0] if same else None


def kinds(found):
    return sorted((one["kind"], one["metadata"]["name"]) for one in found)


# --- what is generated ---------------------------------------------------------------------------------------------


def crd_template():
    """The CRD as a template of the chart, from crds/logpipelines.yaml."""
    text = re.sub(r"\A(#.*\n)+", "", CRD.read_text(encoding="utf-8"))
    assert "{{" not in text, "the CRD has braces that Helm would take for its own"
    head = "  name: logpipelines.logpipe.dev\n"
    assert text.count(head) == 1
    keep = (
        '  labels: {{- include "logpipe.labels" . | nindent 4 }}\n'
        "  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n"
    )
    first = "{{- /* From crds/logpipelines.yaml: hack/test-chart --bless */}}\n{{- if .Values.crds.enabled }}\n"
    return first + text.replace(head, head + keep) + "{{- end }}\n"


def described(text):
    """Path, default and description of each value with a description."""
    rows, path, words = [], [], None
    values = yaml.load(text, LOADER)
    for line in text.splitlines():
        note, key = re.match(r" *# -- (.*)", line), re.match(r"( *)([A-Za-z]+):", line)
        if note:
            words = note[1]
        elif key:
            path = path[: len(key[1]) // 2] + [key[2]]
            if words:
                value = values
                for part in path:
                    value = value[part]
                rows.append((".".join(path), value, words))
            words = None
    return rows


def readme():
    rows = [
        f"| `{path}` | `{json.dumps(value, ensure_ascii=False)}` | {words.replace('|', chr(92) + '|')} |"
        for path, value, words in described((CHART / "values.yaml").read_text(encoding="utf-8"))
    ]
    table = "\n".join(["| Value | Default | What it is |", "|---|---|---|", *rows])
    text = (CHART / "README.md").read_text(encoding="utf-8")
    begin, end = "<!-- values: hack/test-chart --bless -->", "<!-- end of values -->"
    assert text.count(begin) == text.count(end) == 1, "README.md of the chart has lost the marks of its table"
    return text.split(begin)[0] + f"{begin}\n{table}\n{end}" + text.split(end)[1]


def plain():
    """hack/operator.yaml: the chart without the CRD and without traces of Helm."""
    text = rendered({"crds": {"enabled": False}})
    text = re.sub(r"^ *(app.kubernetes.io/managed-by|helm.sh/chart): .*\n|^# Source: .*\n", "", text, flags=re.M)
    return (
        "# The operator by plain kubectl, for all namespaces. From charts/logpipe: hack/test-chart --bless\n#\n"
        "#   kubectl apply --server-side -f crds/logpipelines.yaml\n#   kubectl apply -f hack/operator.yaml\n"
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: logpipe-system\n"
        "  labels:\n    pod-security.kubernetes.io/enforce: restricted\n" + text
    )


def generated(bless):
    crd_file = CHART / "templates/crd.yaml"
    # In this order: hack/operator.yaml is the chart.
    for path, make in [(crd_file, crd_template), (CHART / "README.md", readme), (PLAIN, plain)]:
        wanted = make()
        if bless:
            path.write_text(wanted, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != wanted:
            name = path.relative_to(ROOT)
            sys.exit(f"{name} is not what it is made from: hack/test-chart --bless, then look at the diff")


# --- what is rendered ----------------------------------------------------------------------------------------------


def the_default_watches_all_namespaces(found):
    role = named(found, "ClusterRole")
    assert role and named(found, "ClusterRoleBinding")
    pod = named(found, "Deployment")["spec"]["template"]["spec"]
    env = {one["name"]: one.get("value") for one in pod["containers"][0]["env"]}
    assert env["LOGPIPE_WATCH_NAMESPACES"] == ""
    assert pod["containers"][0]["image"] == "localhost/logpipe-operator:dev"
    assert not named(found, "PodDisruptionBudget") and not named(found, "NetworkPolicy")


def the_pod_is_restricted(found):
    pod = named(found, "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    box = pod["containers"][0]["securityContext"]
    assert box["readOnlyRootFilesystem"] is True and box["allowPrivilegeEscalation"] is False
    assert box["capabilities"] == {"drop": ["ALL"]}


def nobody_gets_a_wildcard_or_a_secret(found):
    for role in found:
        for rule in role.get("rules", []):
            said = rule["apiGroups"] + rule["resources"] + rule["verbs"]
            assert "*" not in said and "secrets" not in said and "escalate" not in said and "bind" not in said, rule


def the_crd_is_the_one_of_the_repository(found):
    crd = named(found, "CustomResourceDefinition", "logpipelines.logpipe.dev")
    assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    crd["metadata"].pop("labels")
    assert crd == yaml.load(CRD.read_text(encoding="utf-8"), LOADER)


def the_selector_matches_the_pods(found):
    deployment = named(found, "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"].items() <= labels.items()


def the_clusters_own_roles_get_pipelines(found):
    mark = "rbac.authorization.k8s.io/aggregate-to-"
    edit = named(found, "ClusterRole", "logpipe-operator-edit")
    view = named(found, "ClusterRole", "logpipe-operator-view")
    assert {key for key in edit["metadata"]["labels"] if key.startswith(mark)} == {mark + "edit", mark + "admin"}
    assert mark + "view" in view["metadata"]["labels"]
    assert {verb for rule in view["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}


def nobody_but_the_operator_writes_status(found):
    for role in found:
        for rule in role.get("rules", []):
            if "logpipelines/status" in rule["resources"]:
                own = role["metadata"]["name"] == "logpipe-operator"
                assert set(rule["verbs"]) <= ({"patch"} if own else {"get", "list", "watch"}), rule


def source(path, pattern):
    """What a file of the sources says."""
    return re.search(pattern, (ROOT / path).read_text(encoding="utf-8"))[1]


def the_lease_is_the_one_the_operator_asks_for(found):
    name = source("api/src/names.rs", r'pub const OPERATOR: &str = "(.*)"')
    rules = named(found, "Role", "logpipe-operator-lease")["rules"]
    assert any(rule.get("resourceNames") == [name] and rule["verbs"] == ["get", "patch"] for rule in rules), rules


def probes_ask_where_the_operator_answers(found):
    box = named(found, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    port = int(source("operator/src/config.rs", r'"\[::\]:(\d+)"'))
    assert box["ports"] == [{"name": "health", "containerPort": port}]
    for probe in ("livenessProbe", "readinessProbe"):
        assert box[probe]["httpGet"] == {"path": source("operator/src/health.rs", r'\.route\("(.*?)"'), "port": "health"}


def only_the_operator_gets_the_token(found):
    assert named(found, "Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is True
    assert all(one["automountServiceAccountToken"] is False for one in found if one["kind"] == "ServiceAccount")


def no_name_of_env_comes_twice(found):
    names = [one["name"] for one in named(found, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]]
    assert len(names) == len(set(names)), names


ALWAYS = [
    the_pod_is_restricted,
    nobody_gets_a_wildcard_or_a_secret,
    the_selector_matches_the_pods,
    only_the_operator_gets_the_token,
    no_name_of_env_comes_twice,
]
DEFAULT = [
    the_default_watches_all_namespaces,
    the_crd_is_the_one_of_the_repository,
    the_clusters_own_roles_get_pipelines,
    nobody_but_the_operator_writes_status,
    the_lease_is_the_one_the_operator_asks_for,
    probes_ask_where_the_operator_answers,
]


def listed_namespaces_get_roles_and_nothing_else_does(found):
    assert not named(found, "ClusterRole") and not named(found, "ClusterRoleBinding")
    places = {(one["metadata"]["name"], one["metadata"]["namespace"]) for one in found if one["kind"] == "Role"}
    assert places == {
        ("logpipe-operator", "a"),
        ("logpipe-operator", "on"),
        ("logpipe-operator-lease", "logpipe-system"),
    }, places
    whole = named(objects(rendered()), "ClusterRole")["rules"]
    for namespace in ("a", "on"):
        assert named(found, "Role", namespace=namespace)["rules"] == whole
        binding = named(found, "RoleBinding", namespace=namespace)
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "logpipe-operator", "namespace": "logpipe-system"}
        ]
    env = named(found, "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "LOGPIPE_WATCH_NAMESPACES", "value": "a,on"} in env


def every_knob_arrives(found):
    deployment = named(found, "Deployment", "op")
    pod = deployment["spec"]["template"]
    spec, box = pod["spec"], pod["spec"]["containers"][0]
    digest = "sha256:" + "a" * 64
    assert box["image"] == f"r.example/team/op@{digest}" and box["imagePullPolicy"] == "Always"
    env = {one["name"]: one for one in box["env"]}
    assert env["LOGPIPE_WORKER_IMAGE"]["value"] == "localhost/logpipe-worker:0.1.0"
    assert env["LOGPIPE_KAFKA_IMAGE"]["value"] == f"localhost/kafka@{digest}"
    assert env["LOGPIPE_LOG"]["value"] == "debug" and env["LOGPIPE_CLUSTER_DOMAIN"]["value"] == "k.example"
    assert env["HTTPS_PROXY"]["value"] == "http://p:1" and env["N"]["value"] == "1000000"
    assert env["FIVE"] == {"name": "FIVE", "value": "5"} and env["NO"]["value"] == "false"
    assert env["FROM"]["valueFrom"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}
    assert spec["imagePullSecrets"] == [{"name": "pull"}] and spec["priorityClassName"] == "high"
    assert spec["nodeSelector"] == {"disk": "fast"} and spec["tolerations"] == [{"operator": "Exists"}]
    hosts, zones = spec["topologySpreadConstraints"]
    assert spec["affinity"]["nodeAffinity"] and hosts["maxSkew"] == 1
    assert hosts["labelSelector"] == deployment["spec"]["selector"]
    assert zones["labelSelector"] == {"matchLabels": {"p": "l"}}
    assert spec["serviceAccountName"] == "mine" and not named(found, "ServiceAccount", "mine")
    assert pod["metadata"]["labels"]["p"] == "l" and pod["metadata"]["annotations"] == {"p": "a"}
    assert deployment["metadata"]["annotations"] == {"d": "a"} and deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["revisionHistoryLimit"] == 3 and deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert box["resources"] == {"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
    assert all(one["metadata"]["labels"]["team"] == "x" for one in found)
    budget = named(found, "PodDisruptionBudget", "op")["spec"]
    assert budget["maxUnavailable"] == 1 and budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert budget["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    policy = named(found, "NetworkPolicy", "op")["spec"]
    assert policy["ingress"] == []
    dns, brokers, api_server = policy["egress"]
    assert dns == {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}
    assert brokers["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "kafka"
    assert brokers["ports"] == [{"protocol": "TCP", "port": 9092}]
    assert api_server["ports"] == [{"protocol": "TCP", "port": 6443}]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def metrics_are_read_where_they_are_told(found):
    own, workers = (named(found, "PodMonitor", name)["spec"] for name in ("logpipe-operator", "logpipe-operator-workers"))
    pod = named(found, "Deployment")["spec"]["template"]
    assert own["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    ports = [port["name"] for port in pod["spec"]["containers"][0]["ports"]]
    assert [end["port"] for end in own["podMetricsEndpoints"]] == ports
    assert workers["namespaceSelector"] == {"matchNames": ["a"]}
    wanted = re.findall(r'METRICS: \(&str, u16\) = \("(.*?)"', (ROOT / "operator/src/desired/pod.rs").read_text(encoding="utf-8"))
    assert [end["port"] for end in workers["podMetricsEndpoints"]] == wanted
    for end in own["podMetricsEndpoints"] + workers["podMetricsEndpoints"]:
        assert end["interval"] == "1m"
    for kind in ("PodMonitor", "PrometheusRule"):
        assert all(one["metadata"]["labels"]["release"] == "kps" for one in found if one["kind"] == kind)
    policy = named(found, "NetworkPolicy")["spec"]["ingress"]
    assert policy == [{"ports": [{"protocol": "TCP", "port": 8080}], "from": [{"namespaceSelector": {}}]}], policy
    rules = named(found, "PrometheusRule")["spec"]
    assert rules == yaml.load((CHART / "files/rules.yaml").read_text(encoding="utf-8"), LOADER)
    board = named(found, "ConfigMap", "logpipe-operator-dashboard")
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1" and board["metadata"]["namespace"] == "grafana"
    assert board["metadata"]["annotations"] == {"grafana_folder": "Logs"}
    assert json.loads(board["data"]["logpipe.json"])["title"] == "Logpipe"


def the_service_monitor_takes_the_operators_place(found):
    assert [name for kind, name in kinds(found) if kind == "PodMonitor"] == ["logpipe-operator-workers"]
    monitor, service = (named(found, kind) for kind in ("ServiceMonitor", "Service"))
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["metadata"]["labels"]["release"] == "kps"
    assert monitor["spec"]["endpoints"] == [{"port": "metrics", "path": "/metrics", "interval": "1m"}]
    pod = named(found, "Deployment")["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    [port], [own] = service["spec"]["ports"], pod["spec"]["containers"][0]["ports"]
    assert port == {"name": "metrics", "port": own["containerPort"], "targetPort": own["name"]}
    assert service["spec"]["clusterIP"] == "None"
    assert named(found, "NetworkPolicy")["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8080}]}]


def a_service_monitor_alone_is_let_in(found):
    assert not [kind for kind, _ in kinds(found) if kind == "PodMonitor"]
    assert named(found, "NetworkPolicy")["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8080}]}]


def who_may_read_metrics_is_let_in(found):
    peers = [{"podSelector": {"matchLabels": {"app": "agent"}}}]
    assert named(found, "NetworkPolicy")["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": 8080}], "from": peers}]


def what_is_off_is_not_there(found):
    assert kinds(found) == [("Deployment", "logpipe-operator"), ("ServiceAccount", "logpipe-operator")], kinds(found)


def a_crd_that_is_not_kept_says_nothing(found):
    assert "annotations" not in named(found, "CustomResourceDefinition", "logpipelines.logpipe.dev")["metadata"]


def the_account_has_its_name_and_annotations(found):
    account = named(found, "ServiceAccount", "mine")["metadata"]
    assert account["annotations"] == {"role": "arn:1"}
    assert named(found, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"
    subjects = [one["name"] for binding in found for one in binding.get("subjects", [])]
    assert subjects == ["mine", "mine"], subjects


DIGEST = "sha256:" + "a" * 64
EVERYTHING = {
    "fullnameOverride": "op",
    "image": {"registry": "r.example", "repository": "team/op", "digest": DIGEST, "pullPolicy": "Always"},
    "workerImage": {"tag": ""},
    "kafkaImage": {"digest": DIGEST},
    "imagePullSecrets": [{"name": "pull"}],
    "replicaCount": 2,
    "clusterDomain": "k.example",
    "logLevel": "debug",
    "serviceAccount": {"create": False, "name": "mine"},
    "commonLabels": {"team": "x"},
    "annotations": {"d": "a"},
    "podLabels": {"p": "l"},
    "podAnnotations": {"p": "a"},
    "extraEnv": {"HTTPS_PROXY": "http://p:1", "N": 1000000, "FIVE": {"value": 5}, "NO": False,
                 "FROM": {"valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}},
    "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]}}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"},
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway",
         "labelSelector": {"matchLabels": {"p": "l"}}},
    ],
    "revisionHistoryLimit": 3,
    "strategy": {"type": "Recreate"},
    "priorityClassName": "high",
    "networkPolicy": {"enabled": True, "apiServerPorts": [6443]},
}
METRICS = {
    "watchNamespaces": ["a"],
    "metrics": {
        "podMonitor": {"enabled": True, "interval": "1m", "labels": {"release": "kps"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "kps"}},
        "dashboard": {"enabled": True, "namespace": "grafana", "annotations": {"grafana_folder": "Logs"}},
    },
    "networkPolicy": {"enabled": True, "metricsFrom": [{"namespaceSelector": {}}]},
}
SERVICE = {
    "metrics": {
        "podMonitor": {"enabled": True},
        "serviceMonitor": {"enabled": True, "interval": "1m", "labels": {"release": "kps"}},
    },
    "networkPolicy": {"enabled": True},
}
ALONE = {"metrics": {"serviceMonitor": {"enabled": True}}, "networkPolicy": {"enabled": True}}
AGENT = {"networkPolicy": {"enabled": True, "metricsFrom": [{"podSelector": {"matchLabels": {"app": "agent"}}}]}}
OFF = {"crds": {"enabled": False}, "rbac": {"create": False, "aggregateRoles": False}}
CASES = [
    ({}, [*ALWAYS, *DEFAULT]),
    ({"watchNamespaces": ["a", "on"]}, [*ALWAYS, listed_namespaces_get_roles_and_nothing_else_does]),
    (EVERYTHING, [nobody_gets_a_wildcard_or_a_secret, every_knob_arrives]),
    (OFF, [*ALWAYS, what_is_off_is_not_there]),
    ({"serviceAccount": {"name": "mine", "annotations": {"role": "arn:1"}}}, [the_account_has_its_name_and_annotations]),
    (METRICS, [metrics_are_read_where_they_are_told]),
    (SERVICE, [the_service_monitor_takes_the_operators_place]),
    (ALONE, [a_service_monitor_alone_is_let_in]),
    (AGENT, [who_may_read_metrics_is_let_in]),
    ({"crds": {"keep": False}}, [a_crd_that_is_not_kept_says_nothing]),
]
# What is refused, and the word that Helm's refusal must have.
REFUSED = [
    ({"replicas": 2}, "replicas"),
    ({"replicaCount": "2"}, "replicaCount"),
    ({"watchNamespaces": ["Not_A_Name"]}, "watchNamespaces"),
    ({"image": {"digest": "latest"}}, "digest"),
    ({"kafkaImage": {"tag": ""}}, "kafkaImage"),
    ({"metrics": {"podMonitor": {"interval": "often"}}}, "interval"),
    ({"extraEnv": {"LOGPIPE_POD_NAME": "x"}}, "LOGPIPE_POD_NAME"),
    ({"extraEnv": {"A": {"name": "B", "value": "x"}}}, "extraEnv"),
    ({"extraEnv": {"A": {}}}, "extraEnv"),
    ({"serviceAccount": {"create": False}}, "serviceAccount.name"),
]


def schema_paths(schema, path=""):
    """The paths of all leaves of the values' schema."""
    for name, field in schema.get("properties", {}).items():
        if "properties" in field:
            yield from schema_paths(field, f"{path}{name}.")
        else:
            yield path + name


def every_value_is_described_and_has_a_schema():
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    inner = re.compile(r"^(resources)\..*")
    wanted = {inner.sub(r"\1", path) for path in schema_paths(schema)} - {"global", "enabled"}  # a parent chart's
    told = {path for path, _, _ in described(text)}
    assert told == wanted, f"not in both of values.yaml (with # --) and values.schema.json: {sorted(told ^ wanted)}"


def the_version_is_that_of_the_workspace():
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), flags=re.M)[1]
    chart = yaml.load((CHART / "Chart.yaml").read_text(encoding="utf-8"), LOADER)
    assert chart["version"] == chart["appVersion"] == version, f"Chart.yaml does not say {version}"


def the_example_of_artifact_hub_is_ours():
    chart = yaml.load((CHART / "Chart.yaml").read_text(encoding="utf-8"), LOADER)
    told = yaml.load(chart["annotations"]["artifacthub.io/crdsExamples"], LOADER)
    ours = yaml.load((ROOT / "examples/cluster.yaml").read_text(encoding="utf-8"), LOADER)
    assert told == [ours], "Chart.yaml and examples/cluster.yaml differ"
    changes = yaml.load(chart["annotations"]["artifacthub.io/changes"], LOADER)
    known = {"added", "changed", "deprecated", "removed", "fixed", "security"}
    assert all(set(one) == {"kind", "description"} and one["kind"] in known for one in changes), changes


# --- schemas -------------------------------------------------------------------------------------------------------


def strict(schema):
    """A schema that refuses unknown fields, as `kubectl apply --validate=strict` does."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and "additionalProperties" not in made:
        made["additionalProperties"] = False
    if made.get("x-kubernetes-int-or-string") or made.get("format") == "int-or-string":
        made.pop("type", None)
    return made


def write_schemas(folder):
    """A file for each kind of Kubernetes, from the source of hack/tools' version, and one for ours."""
    version = tool("kubernetes", "--version-of")
    module = json.loads(run(["go", "mod", "download", "-json", f"k8s.io/kubernetes@{version}"]))
    swagger = json.loads((pathlib.Path(module["Dir"]) / "api/openapi-spec/swagger.json").read_text(encoding="utf-8"))
    definitions = {}
    for name, schema in swagger["definitions"].items():
        # A schema of a schema is open.
        definitions[name] = schema if "JSONSchemaProps" in name else strict(schema)
    (folder / "all.json").write_text(json.dumps({"definitions": definitions}), encoding="utf-8")
    for name, schema in swagger["definitions"].items():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            group = "-".join(part for part in (kind["group"].split(".")[0], kind["version"]) if part)
            file = folder / f"{kind['kind'].lower()}-{group}.json"
            file.write_text(json.dumps({"$ref": f"all.json#/definitions/{name}"}), encoding="utf-8")
    crd = yaml.load(CRD.read_text(encoding="utf-8"), LOADER)["spec"]["versions"][0]
    ours = strict(crd["schema"]["openAPIV3Schema"])
    for name in ("apiVersion", "kind"):
        ours["properties"].setdefault(name, {"type": "string"})
    ours["properties"]["metadata"] = {"$ref": "all.json#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
    (folder / f"logpipeline-logpipe-{crd['name']}.json").write_text(json.dumps(ours), encoding="utf-8")
    for crd in chart_metrics.crds(LOADER):
        schema = crd["versions"][0]["schema"]["openAPIV3Schema"]
        group = crd["group"].split(".")[0]
        file = folder / f"{crd['names']['singular']}-{group}-{crd['versions'][0]['name']}.json"
        file.write_text(json.dumps(strict(schema)), encoding="utf-8")
    return version


def conform(folder, text, ok=True):
    location = f"{folder}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    command = [tool("kubeconform"), "-strict", "-summary", "-schema-location", location]
    return run(command, stdin=text, ok=ok).strip()


def schemas():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        version = write_schemas(folder)
        for values, _ in CASES:
            conform(folder, rendered(values))
        for example in sorted((ROOT / "examples").glob("*.yaml")):
            conform(folder, example.read_text(encoding="utf-8"))
        conform(folder, PLAIN.read_text(encoding="utf-8"))
        # These schemas can refuse.
        conform(folder, rendered().replace("terminationGracePeriodSeconds", "terminationGraceSeconds"), ok=False)
        conform(folder, (ROOT / "examples/cluster.yaml").read_text(encoding="utf-8").replace("sink:", "sinks:"), ok=False)
    print(f"kubeconform {tool('kubeconform', '--version-of')} -strict with the schemas of Kubernetes {version} and of the CRD: good")


def main(arguments):
    existing = arguments[:1] == ["--existing"] and len(arguments) < 3
    if not existing and arguments not in ([], ["--bless"], ["--cluster"]):
        sys.exit("usage: hack/test-chart [--bless | --cluster | --existing [VALUES]]")
    generated(arguments == ["--bless"])
    every_value_is_described_and_has_a_schema()
    the_version_is_that_of_the_workspace()
    the_example_of_artifact_hub_is_ours()
    for helm, program in HELM.items():
        run([tool(program), "lint", "--strict", "--quiet", CHART])
        for values, checks in CASES:
            found = objects(rendered(values, helm))
            for check in checks:
                check(found)
        for values, word in REFUSED:
            said = rendered(values, helm, ok=False)
            assert word in said, f"Helm {helm} refuses {values} with other words: {said}"
        print(f"Helm {tool(HELM[helm], '--version-of')} lint, {len(CASES)} sets of values, {len(REFUSED)} refusals: good")
    schemas()
    chart_use.test(LOADER)
    chart_network.test(LOADER)
    chart_metrics.test(LOADER)
    if arguments == ["--cluster"]:
        chart_on_cluster.test([ROOT / "hack/cluster", "in"])
    if existing:
        chart_on_cluster.test([], arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
