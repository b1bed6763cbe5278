"""What must hold for every rendering of the chart. Each rule yields what is wrong; planted.py shows for each that it can.
Expectations are written down here anew and not read from the chart: a rule that asks the chart for its answer shows nothing."""

import re

from manifests import ROLE, containers, edges, may_reach_address, name, of, outside, pods, selects

OWNERS = {"identity", "posting", "timelines", "federation-delivery", "ranking"}
# promises.md, "stop": 5 s of serving on, 20 s for what is under way, three last steps of 5 s.
END_SECONDS = 5 + 20 + 3 * 5
CALLS = {
    ("gateway", "identity"), ("gateway", "posting"), ("gateway", "timelines"), ("gateway", "ranking"),
    ("timelines", "identity"), ("timelines", "posting"), ("posting", "identity"),
} | {(owner, owner) for owner in OWNERS} | {("doctor", owner) for owner in OWNERS}
INTERNAL = 8094
DOOR = {8092, 8093}
OPS = 9092
# Nobody reaches these but by an edge that the operator named: private, shared, local and metadata addresses.
FORBIDDEN = [
    "0.0.0.1", "10.0.0.1", "10.96.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "168.63.129.16", "169.254.169.254",
    "169.254.170.2", "172.16.0.1", "172.31.255.254", "192.0.0.192", "192.168.1.1", "198.18.0.1", "224.0.0.1", "255.255.255.255",
    "::1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "fc00::1", "fd00:ec2::254", "fe80::1", "ff02::1", "2002:a00:1::1", "2001:db8::1",
]
STRANGERS = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]
SECRET_NAME = re.compile(r"(PASSWORD|PASSPHRASE|SECRET|TOKEN|SEED|CREDENTIALS?|PRIVATE_KEY)$", re.I)
SECRET_TEXT = re.compile(r"-----BEGIN|(?:password|secret|token|seed)\s*[=:]\s*\S", re.I)
OPTIONAL = {"ScaledObject", "ServiceMonitor", "PrometheusRule", "Ingress", "HTTPRoute", "GRPCRoute", "ScyllaCluster", "ConfigMap"}


def serving(docs):
    return [(doc, labels, spec) for doc, labels, spec in pods(docs) if doc["kind"] in ("Deployment", "StatefulSet")]


def most_replicas(docs, doc):
    """How many replicas there may be: what is written, or what a scaler may make of it."""
    for scaler in of(docs, "HorizontalPodAutoscaler", "ScaledObject"):
        target, spec = scaler["spec"]["scaleTargetRef"], scaler["spec"]
        if (target["kind"], target["name"]) == (doc["kind"], doc["metadata"]["name"]):
            return spec.get("maxReplicas") or spec.get("maxReplicaCount")
    return doc["spec"].get("replicas", 1)


def restricted(docs, values):
    """Pod Security Standards, "restricted", and what P92 promises beyond it."""
    for doc, _, spec in pods(docs):
        where, outer = name(doc), spec.get("securityContext", {})
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{where}: a token of the service account is mounted"
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(field):
                yield f"{where}: {field}"
        if outer.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{where}: no seccomp profile"
        if outer.get("runAsNonRoot") is not True or outer.get("runAsUser") == 0:
            yield f"{where}: may run as root"
        for volume in spec.get("volumes", []):
            kinds = set(volume) - {"name"}
            if not kinds <= {"secret", "persistentVolumeClaim", "emptyDir", "configMap", "projected", "csi", "ephemeral", "downwardAPI"}:
                yield f"{where}: volume {volume['name']} is of {kinds}"
        for one in containers(spec):
            at, inner = f"{where} {one['name']}", one.get("securityContext", {})
            if inner.get("allowPrivilegeEscalation") is not False or inner.get("privileged"):
                yield f"{at}: privileges may grow"
            if inner.get("capabilities", {}).get("drop") != ["ALL"] or inner.get("capabilities", {}).get("add"):
                yield f"{at}: capabilities are left"
            if inner.get("readOnlyRootFilesystem") is not True:
                yield f"{at}: its root can be written"
            if inner.get("runAsUser") == 0 or inner.get("runAsNonRoot") is False:
                yield f"{at}: may run as root"
            for kind in ("requests", "limits"):
                for amount in ("cpu", "memory"):
                    if not one.get("resources", {}).get(kind, {}).get(amount):
                        yield f"{at}: no {kind} of {amount}"
            if any(port.get("hostPort") for port in one.get("ports", [])):
                yield f"{at}: a port of the node"
    for doc in of(docs, "ServiceAccount"):
        if doc.get("automountServiceAccountToken") is not False:
            yield f"{name(doc)}: gives its token away"
    for doc in of(docs, "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"):
        yield f"{name(doc)}: P92 asks nothing of Kubernetes"


def probes(docs, values):
    for doc, _, spec in serving(docs):
        main, where = spec["containers"][0], name(doc)
        ops = next((port["containerPort"] for port in main["ports"] if port["name"] == "ops"), None)
        for probe, service in (("startupProbe", "startup"), ("readinessProbe", "readiness"), ("livenessProbe", "liveness")):
            found = main.get(probe, {}).get("grpc")
            if found != {"port": ops, "service": service}:
                yield f"{where}: {probe} is {found}"
        sleep = main.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if sleep < 1:
            yield f"{where}: no preStop"
        if spec.get("terminationGracePeriodSeconds", 30) < sleep + END_SECONDS:
            yield f"{where}: killed before its end"


def disruption(docs, values):
    budgets = of(docs, "PodDisruptionBudget")
    for doc, labels, _ in serving(docs):
        mine = [one for one in budgets if selects(one["spec"]["selector"], labels)]
        many = most_replicas(docs, doc) > 1
        if many and len(mine) != 1:
            yield f"{name(doc)}: {len(mine)} disruption budgets"
        if not many and mine:
            yield f"{name(doc)}: a budget for one replica keeps nodes from being drained"
    for one in budgets:
        if not any(selects(one["spec"]["selector"], labels) for _, labels, _ in serving(docs)):
            yield f"{name(one)}: protects nobody"
        if one["spec"].get("maxUnavailable") in (0, "0%"):
            yield f"{name(one)}: nothing may ever be drained"


def spread(docs, values):
    for doc, labels, spec in serving(docs):
        if most_replicas(docs, doc) < 2:
            continue
        over = {
            one["topologyKey"] for one in spec.get("topologySpreadConstraints", []) if selects(one["labelSelector"], labels)
        }
        if over != {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}:
            yield f"{name(doc)}: spread over {sorted(over)}"


def network(docs, values):
    wanted = values["networkPolicy"]
    if not wanted["enabled"]:
        if of(docs, "NetworkPolicy"):
            yield "policies although they are off"
        return
    cluster = values["shape"] == "cluster"
    expected = {(one, other, INTERNAL) for one, other in CALLS} if cluster else set()
    expected |= {("doctor", "gateway" if cluster else "embedded", 8092)}
    found = edges(docs)
    for edge in sorted(found - expected, key=str):
        yield f"an edge that nobody named: {edge}"
    for edge in sorted(expected - found, key=str):
        yield f"an edge is missing: {edge}"
    caller = "federation-delivery" if cluster else "embedded"
    ranges = [cidr.split("/")[0] for cidr in wanted["strangers"]["clusterRanges"]]
    for doc, labels, _ in pods(docs):
        role = labels[ROLE]
        calls = role == caller and wanted["strangers"]["enabled"]
        for address in STRANGERS:
            if may_reach_address(docs, labels, address) != calls:
                yield f"{name(doc)}: {'may not' if calls else 'may'} reach a stranger at {address}"
        for address in FORBIDDEN + ranges:
            if may_reach_address(docs, labels, address):
                yield f"{name(doc)}: may reach {address}"
        peers = [(wanted["dns"]["to"], wanted["dns"]["ports"])]
        peers += [(one["to"], one["ports"]) for one in wanted["named"] if role in one["from"]]
        if cluster and role in OWNERS | {"migrate", "doctor"}:
            store = values["store"]["cql"]
            ours = [{"podSelector": {"matchLabels": {"scylla/cluster": "p92-store"}}}]
            peers.append((store["egress"] or ours, [store["port"]]))
        if cluster and role in OWNERS | {"doctor"}:
            peers.append((values["bus"]["nats"]["egress"], [values["bus"]["nats"]["port"]]))
        allowed = [(peer, sorted(set(ports))) for to, ports in peers for peer in to]
        world = lambda peer: peer.get("ipBlock", {}).get("cidr") in ("0.0.0.0/0", "2000::/3")
        for peer, ports in outside(docs, labels):
            if (peer, sorted(set(ports))) not in allowed and not (calls and world(peer) and ports == sorted(wanted["strangers"]["ports"])):
                yield f"{name(doc)}: an edge to {peer} at {ports} that nobody named"
        for peer, ports in allowed:
            if (peer, ports) not in [(peer, sorted(set(ports))) for peer, ports in outside(docs, labels)]:
                yield f"{name(doc)}: no edge to {peer}"
    yield from entries(docs, values)


def entries(docs, values):
    """Who comes in from outside of the release: strangers to the door, the monitoring to metrics, nobody else anywhere."""
    front = "gateway" if values["shape"] == "cluster" else "embedded"
    for doc in of(docs, "NetworkPolicy"):
        for rule in doc["spec"].get("ingress", []):
            peers, ports = rule.get("from"), {one["port"] for one in rule.get("ports", [])}
            ours = peers and all(
                (peer.get("podSelector", {}).get("matchLabels") or {}).get("app.kubernetes.io/name") == "p92"
                and "namespaceSelector" not in peer for peer in peers
            )
            if ours:
                continue
            door = doc["spec"]["podSelector"].get("matchLabels", {}).get(ROLE) == front
            if ports and ports <= DOOR and door and peers == (values["networkPolicy"]["door"] or None):
                continue
            if ports == {OPS} and peers == values["networkPolicy"]["monitoring"]:
                continue
            yield f"{name(doc)}: lets {peers} in at {sorted(ports)}"


def secrets(docs, values):
    """Every credential is a file of a secret that exists; none is written where anybody can read it."""
    for doc in of(docs, "Secret"):
        yield f"{name(doc)}: the chart makes a secret"
    for doc in of(docs, "ConfigMap"):
        for key, text in doc.get("data", {}).items():
            if SECRET_NAME.search(key) or SECRET_TEXT.search(text):
                yield f"{name(doc)}: {key} holds a secret"
    known = {
        values["keys"]["existingSecret"], values["store"]["cql"]["credentials"]["existingSecret"],
        values["store"]["cql"]["tls"]["existingSecret"], values["bus"]["nats"]["credentials"]["existingSecret"],
        values["bus"]["nats"]["tls"]["existingSecret"], values["transport"]["tls"]["existingSecret"],
        values["operators"]["existingSecret"],
    } - {""}
    used = set()
    for doc, labels, spec in pods(docs):
        for volume in spec.get("volumes", []):
            secret = volume.get("secret", {}).get("secretName")
            if secret:
                used.add(secret)
                if secret not in known:
                    yield f"{name(doc)}: mounts {secret}, which nobody named"
                items = [item["path"] for item in volume["secret"].get("items", [])]
                if volume["name"] == "bus" and items != [labels[ROLE] + values["bus"]["nats"]["credentials"]["keySuffix"]]:
                    yield f"{name(doc)}: mounts credentials of another service"
        for one in containers(spec):
            for variable in one.get("env", []):
                if SECRET_NAME.search(variable["name"]) or SECRET_TEXT.search(str(variable.get("value", ""))):
                    yield f"{name(doc)}: the variable {variable['name']} holds a secret"
            if SECRET_TEXT.search(" ".join(one.get("args", []) + one.get("command", []))):
                yield f"{name(doc)}: a secret among its arguments"
    if values["shape"] == "cluster" and known - used:
        yield f"named and not mounted: {sorted(known - used)}"


def apart(docs, values):
    """Store and keys never lie in one volume."""
    for doc, _, spec in serving(docs):
        for one in containers(spec):
            at = {mount["name"]: mount["mountPath"] for mount in one.get("volumeMounts", [])}
            keys = [variable["value"] for variable in one.get("env", []) if variable["name"] == "P92_KEYS"]
            for path in keys:
                holders = [volume for volume, mount in at.items() if path.startswith(mount + "/")]
                if holders != ["keys"]:
                    yield f"{name(doc)}: the key file {path} lies in {holders}"


def fits(docs, values):
    """Names that one manifest uses of another exist there."""
    services = {doc["metadata"]["name"]: doc for doc in of(docs, "Service")}
    for doc in services.values():
        taken = [spec for owner, labels, spec in serving(docs) if selects({"matchLabels": doc["spec"]["selector"]}, labels)]
        if not taken:
            yield f"{name(doc)}: selects nobody"
        for port in doc["spec"]["ports"]:
            for spec in taken:
                if port["targetPort"] not in [one["name"] for one in spec["containers"][0]["ports"]]:
                    yield f"{name(doc)}: nobody has the port {port['targetPort']}"
        if doc["spec"].get("type") in ("LoadBalancer", "NodePort") and {port["name"] for port in doc["spec"]["ports"]} - {"http", "grpc"}:
            yield f"{name(doc)}: more than the door is public"
    for doc, labels, spec in serving(docs):
        if doc["kind"] == "StatefulSet" and doc["spec"]["serviceName"] not in services:
            yield f"{name(doc)}: no Service {doc['spec']['serviceName']}"
        role = labels[ROLE]
        if spec["containers"][0]["args"] != (["serve"] if role == "embedded" else ["serve", role]):
            yield f"{name(doc)}: its role is {spec['containers'][0]['args']}"
        for one in containers(spec):
            volumes = {volume["name"] for volume in spec.get("volumes", [])}
            volumes |= {claim["metadata"]["name"] for claim in doc["spec"].get("volumeClaimTemplates", [])}
            for mount in one.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{name(doc)}: mounts {mount['name']}, which is not there"
    for doc in of(docs, "ServiceMonitor"):
        if not any(selects(doc["spec"]["selector"], one["metadata"]["labels"]) for one in services.values()):
            yield f"{name(doc)}: watches nobody"
    for doc in of(docs, "HorizontalPodAutoscaler", "ScaledObject"):
        target = doc["spec"]["scaleTargetRef"]
        if not any((one["kind"], one["metadata"]["name"]) == (target["kind"], target["name"]) for one, _, _ in serving(docs)):
            yield f"{name(doc)}: scales nobody"


def variables(spec) -> dict:
    return {one["name"]: one.get("value", "") for one in spec["containers"][0].get("env", [])}


def ways(docs, values):
    """Who asks others is told where they are, and a command that is run in a pod finds the process there."""
    services = {doc["metadata"]["name"] for doc in of(docs, "Service")}
    for doc, labels, spec in pods(docs):
        role, env = labels[ROLE], variables(spec)
        asked = {key.removeprefix("P92_PEERS__").lower().replace("_", "-"): value for key, value in env.items() if key.startswith("P92_PEERS__")}
        callees = {other for one, other in CALLS if one == role} - {role} if values["shape"] == "cluster" else set()
        if set(asked) != callees:
            yield f"{name(doc)}: asks {sorted(asked)}"
        for peer, address in asked.items():
            host = re.search(r'"([^".]+)\.[^":]+:(\d+)"', address)
            if not host or host[1] not in services or not host[1].endswith(peer) or int(host[2]) != INTERNAL:
                yield f"{name(doc)}: {peer} is not at {address}"
        if role in OWNERS and (not env.get("P92_ENDPOINT") or env["P92_ENDPOINT"] != env.get("P92_INTERNAL__ADVERTISE")):
            yield f"{name(doc)}: commands in its pod ask {env.get('P92_ENDPOINT')}"
        if role not in OWNERS and "P92_ENDPOINT" in env:
            yield f"{name(doc)}: it has no internal address"


def operators(docs, values):
    """Their tokens are known to whoever keeps a log, and to the commands in its pod; to nobody else."""
    secret, key = values["operators"]["existingSecret"], values["operators"]["secretKey"]
    for doc, labels, spec in pods(docs):
        answers = bool(secret) and labels[ROLE] in OWNERS | {"embedded"}
        mounted = [volume["secret"].get("items") for volume in spec.get("volumes", []) if volume.get("secret", {}).get("secretName") == secret]
        if mounted != ([[{"key": key, "path": "tokens"}]] if answers else []):
            yield f"{name(doc)}: tokens of operators {mounted}"
        at = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0].get("volumeMounts", [])}
        file, env = f"{at.get('operators')}/tokens", variables(spec)
        wanted = {"P92_OPERATORS__TOKENS_PATH": file}
        if labels[ROLE] != "embedded":
            here = "[::1]" if ":" in values["listen"] else "127.0.0.1"
            wanted |= {"P92_TOKEN_FILE": file, "P92_OPERATOR": f"{here}:{OPS}"}
        for variable in ("P92_OPERATORS__TOKENS_PATH", "P92_TOKEN_FILE", "P92_OPERATOR"):
            if env.get(variable) != (wanted.get(variable) if answers else None):
                yield f"{name(doc)}: {variable} is {env.get(variable)}"


def scaling(docs, values):
    aims = {"cpu": {"type": "Utilization", "averageUtilization": values["autoscaling"]["cpuPercent"]}}
    gateways = of(docs, "HorizontalPodAutoscaler")
    if len(gateways) != int(values["shape"] == "cluster" and values["autoscaling"]["enabled"]):
        yield f"{len(gateways)} scalers of the gateway"
    for doc in gateways:
        spec = doc["spec"]
        if (spec["minReplicas"], spec["maxReplicas"]) != (values["services"]["gateway"]["replicas"], values["autoscaling"]["maxReplicas"]):
            yield f"{name(doc)}: between {spec['minReplicas']} and {spec['maxReplicas']} replicas"
        if {one["resource"]["name"]: one["resource"]["target"] for one in spec["metrics"]} != aims:
            yield f"{name(doc)}: aims at {spec['metrics']}"
    scaled = {doc["metadata"]["labels"][ROLE] for doc in of(docs, "ScaledObject")}
    if values["keda"]["enabled"] and scaled != set(values["keda"]["services"]):
        yield f"scaled are {sorted(scaled)}"
    for doc in of(docs, "ScaledObject"):
        spec, role = doc["spec"], doc["metadata"]["labels"][ROLE]
        if spec["maxReplicaCount"] > values["store"]["shards"]:
            yield f"{name(doc)}: more replicas than shards"
        if (spec["minReplicaCount"], spec["maxReplicaCount"]) != (values["services"][role]["replicas"], values["keda"]["maxReplicas"]):
            yield f"{name(doc)}: between {spec['minReplicaCount']} and {spec['maxReplicaCount']} replicas"
        for trigger in spec["triggers"]:
            if trigger["metadata"]["threshold"] != str(values["keda"]["lagEvents"]) or trigger["metricType"] != "AverageValue":
                yield f"{name(doc)}: aims at {trigger['metadata']['threshold']} ({trigger['metricType']})"
            # The label's words are those of the binary: `federation_delivery`.
            if f'service="{role.replace("-", "_")}"' not in trigger["metadata"]["query"]:
                yield f"{name(doc)}: asks for the lag of another"
    for doc, labels, _ in serving(docs):
        scaled = any(one["spec"]["scaleTargetRef"]["name"] == doc["metadata"]["name"] for one in of(docs, "HorizontalPodAutoscaler", "ScaledObject"))
        if scaled and "replicas" in doc["spec"]:
            yield f"{name(doc)}: each upgrade sets back what the scaler has set"
        if labels[ROLE] == "embedded" and doc["spec"]["replicas"] != 1:
            yield f"{name(doc)}: a store that one process holds, and {doc['spec']['replicas']} processes"


def doctor(docs, values):
    found = [doc for doc in of(docs, "Pod") if doc["metadata"].get("annotations", {}).get("helm.sh/hook") == "test"]
    door = [one["metadata"]["name"] for one in of(docs, "Service") if one["metadata"]["labels"][ROLE] in ("gateway", "embedded")]
    if len(found) != 1 or len(door) != 1:
        yield f"{len(found)} tests, {len(door)} doors"
        return
    # Its pod is its own: without --beside it would look for the server's listeners there.
    args = found[0]["spec"]["containers"][0]["args"]
    if args[:3] != ["doctor", "--beside", "--door"] or not re.fullmatch(rf"{door[0]}\.[a-z0-9-]+\.svc:8092", args[-1]) or len(args) != 4:
        yield f"`helm test` runs {args}"


def migrates(docs, values):
    """The schema is brought up to date once, in the way that was chosen, and never in the embedded shape."""
    jobs = of(docs, "Job")
    inits = {labels[ROLE] for _, labels, spec in pods(docs) if [one for one in spec.get("initContainers", []) if one["args"] == ["migrate"]]}
    mode = values["migrate"]["mode"] if values["shape"] == "cluster" else "none"
    hook = [job for job in jobs if "pre-upgrade" in job["metadata"].get("annotations", {}).get("helm.sh/hook", "")]
    seen = (len(jobs), len(hook), inits)
    if seen != {"job": (1, 0, set()), "hook": (1, 1, set()), "init": (0, 0, OWNERS), "none": (0, 0, set())}[mode]:
        yield f"migrations by {mode}: {seen}"


def plain(docs, values):
    """What nobody asked for is not there."""
    asked = {
        "ScaledObject": values["keda"]["enabled"], "ServiceMonitor": values["serviceMonitor"]["enabled"],
        "PrometheusRule": values["prometheusRule"]["enabled"], "ConfigMap": values["dashboards"]["enabled"],
        "Ingress": values["ingress"]["enabled"], "HTTPRoute": values["route"]["enabled"],
        "GRPCRoute": values["route"]["enabled"] and values["route"]["grpcHosts"], "ScyllaCluster": values["scylla"]["enabled"],
    }
    for kind in OPTIONAL:
        if bool(of(docs, kind)) != bool(asked[kind]):
            yield f"{kind}: {'missing' if asked[kind] else 'there, and nobody asked for it'}"


def hosts(docs, values):
    default = [re.sub(r"^https?://|:\d+$", "", values["server"]["publicUrl"])]
    for doc in of(docs, "Ingress"):
        if [rule["host"] for rule in doc["spec"]["rules"]] != (values["ingress"]["hosts"] or default):
            yield f"{name(doc)}: other hosts"
    for doc in of(docs, "HTTPRoute"):
        if doc["spec"]["hostnames"] != (values["route"]["hosts"] or default):
            yield f"{name(doc)}: other hosts"


def scylla(docs, values):
    """No schema of it can be had offline: its shape as the operator's v1 documents it."""
    for doc in of(docs, "ScyllaCluster"):
        spec = doc["spec"]
        if doc["apiVersion"] != "scylla.scylladb.com/v1" or set(spec) != {"version", "agentVersion", "repository", "scyllaArgs", "datacenter"}:
            yield f"{name(doc)}: fields {sorted(spec)}"
        if "--commitlog-sync batch" not in spec.get("scyllaArgs", ""):
            yield f"{name(doc)}: a node that is killed forgets what it acknowledged last"
        for rack in spec.get("datacenter", {}).get("racks", []) or [{}]:
            if not {"name", "members", "storage", "resources"} <= set(rack) or "capacity" not in rack["storage"]:
                yield f"{name(doc)}: a rack with {sorted(rack)}"


RULES = [restricted, probes, disruption, spread, network, secrets, apart, fits, ways, operators, scaling, doctor, migrates, plain, hosts, scylla]
