"""Where schemas come from, without asking a site: those of Kubernetes from a Python package, those of custom resources and
of compose files from Go modules, which carry them beside their code. Each is pinned; it refuses to know what is checked."""

import functools
import json
import os
import pathlib
import subprocess
import tempfile

import kubernetes_validate
import yaml

# The oldest that the chart names, one in the middle, the newest that the package knows.
KUBERNETES = ["1.30.0", "1.34.0", "1.37.0"]
COMPOSE = "github.com/compose-spec/compose-go/v2@v2.16.2"
# Kind → module, and the file in it.
RESOURCES = {
    "HTTPRoute": ("sigs.k8s.io/gateway-api@v1.6.3", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"),
    "GRPCRoute": ("sigs.k8s.io/gateway-api@v1.6.3", "config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml"),
    "ServiceMonitor": (
        "github.com/prometheus-operator/prometheus-operator@v0.92.1",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
    "PrometheusRule": (
        "github.com/prometheus-operator/prometheus-operator@v0.92.1",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    "ScaledObject": ("github.com/kedacore/keda/v2@v2.21.0", "config/crd/bases/keda.sh_scaledobjects.yaml"),
}
# No package carries the schema of this one, so kubeconform passes it over; its shape is asserted in rules.py.
WITHOUT = ["ScyllaCluster"]


@functools.cache
def module(name: str) -> pathlib.Path:
    """The directory of a Go module, downloaded if it is not there."""
    done = subprocess.run(["go", "mod", "download", "-json", name], capture_output=True, text=True, cwd="/", check=False)
    if done.returncode != 0:
        raise SystemExit(f"{name} cannot be had: {done.stdout}{done.stderr}")
    return pathlib.Path(json.loads(done.stdout)["Dir"])


def strict(schema):
    """An OpenAPI schema of a custom resource as a JSON schema that refuses what it does not name, as an API server does."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: strict(value) for key, value in schema.items()}
    loose = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and "type" in schema and not loose:
        out["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
        out["type"] = ["integer", "string"]
    # Formats are checked by the API server in ways of its own.
    out.pop("format", None) if isinstance(out.get("format"), str) else None
    return out


def put(path: pathlib.Path, schema: dict) -> None:
    """Writes a schema as a whole, if it is another one: a second run of these checks may be reading the folder."""
    text = json.dumps(schema)
    if path.is_file() and path.read_text() == text:
        return
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as draft:
        draft.write(text)
    os.replace(draft.name, path)


def custom(into: pathlib.Path) -> str:
    """Writes the schemas of custom resources; the place as kubeconform wants it."""
    into.mkdir(parents=True, exist_ok=True)
    for kind, (name, path) in RESOURCES.items():
        for one in yaml.safe_load_all((module(name) / path).read_text()):
            group = one["spec"]["group"]
            assert one["spec"]["names"]["kind"] == kind, f"{path} is not of {kind}"
            for version in one["spec"]["versions"]:
                schema = strict(version["schema"]["openAPIV3Schema"])
                schema["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
                put(into / f"{kind.lower()}-{group}-{version['name']}.json", schema)
    return str(into / "{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json")


def kubernetes(into: pathlib.Path) -> str:
    """Writes the schemas of Kubernetes itself, one folder a version; the place as kubeconform wants it. As they come, they
    name their definitions by a path of the package's own."""
    folder = pathlib.Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    for version in KUBERNETES:
        source, target = folder / f"v{version}-local-strict", into / f"v{version}"
        if not source.is_dir():
            raise SystemExit(f"the schemas of Kubernetes {version} are missing in {folder}")
        target.mkdir(parents=True, exist_ok=True)
        for path in source.glob("*.json"):
            schema = json.loads(path.read_text().replace('"/api/_definitions.json#', '"_definitions.json#'))
            schema.pop("$id", None)
            put(target / path.name, schema)
    return str(into / "{{.NormalizedKubernetesVersion}}" / "{{.ResourceKind}}{{.KindSuffix}}.json")


def compose() -> dict:
    """The schema of compose files, as Docker Compose itself uses it."""
    return json.loads((module(COMPOSE) / "schema" / "compose-spec.json").read_text())
