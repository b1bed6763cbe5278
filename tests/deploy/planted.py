"""Violations, planted one at a time into manifests that are in order: a rule that does not report its own is no rule.
Each says which rule must report it, in which shape, and what is done to the manifests."""

from manifests import ROLE, of, pods


def first(docs, *kinds, role=None):
    return next(doc for doc in of(docs, *kinds) if role in (None, doc["metadata"]["labels"].get(ROLE)))


def pod(docs, role):
    return next(spec for _, labels, spec in pods(docs) if labels.get(ROLE) == role)


def main(docs, role):
    return pod(docs, role)["containers"][0]


def policy(docs, end):
    return next(doc for doc in of(docs, "NetworkPolicy") if doc["metadata"]["name"].endswith(end))


def drop(docs, kind, end=""):
    docs[:] = [doc for doc in docs if not (doc["kind"] == kind and doc["metadata"]["name"].endswith(end))]


def config(docs, text):
    docs.append({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c", "labels": {}}, "data": {"p92.toml": text}})


def env(docs, role, variable):
    return next(one for one in main(docs, role)["env"] if one["name"] == variable)


def without(docs, role, variable):
    main(docs, role)["env"].remove(env(docs, role, variable))


def replaced(map_, key, old, new):
    map_[key] = map_[key].replace(old, new)


def into(rules, **more):
    rules.append(more)


VIOLATIONS = [
    ("restricted", "cluster", "a root that can be written", lambda d: main(d, "posting")["securityContext"].update(readOnlyRootFilesystem=False)),
    ("restricted", "cluster", "a capability", lambda d: main(d, "gateway")["securityContext"]["capabilities"].update(add=["NET_RAW"])),
    ("restricted", "embedded", "root", lambda d: pod(d, "embedded")["securityContext"].update(runAsNonRoot=False)),
    ("restricted", "embedded", "growing privileges", lambda d: main(d, "embedded")["securityContext"].pop("allowPrivilegeEscalation")),
    ("restricted", "cluster", "no seccomp", lambda d: pod(d, "migrate")["securityContext"].pop("seccompProfile")),
    ("restricted", "cluster", "a token", lambda d: pod(d, "ranking").pop("automountServiceAccountToken")),
    ("restricted", "cluster", "no limit", lambda d: main(d, "identity")["resources"]["limits"].pop("memory")),
    ("restricted", "embedded", "a folder of the node", lambda d: pod(d, "embedded").setdefault("volumes", []).append({"name": "n", "hostPath": {"path": "/"}})),
    ("restricted", "cluster", "the doctor too", lambda d: main(d, "doctor")["securityContext"].pop("readOnlyRootFilesystem")),
    ("restricted", "cluster", "rights in Kubernetes", lambda d: d.append({"kind": "Role", "metadata": {"name": "r", "labels": {}}})),
    ("probes", "cluster", "liveness by readiness", lambda d: main(d, "posting")["livenessProbe"]["grpc"].update(service="readiness")),
    ("probes", "embedded", "no startup probe", lambda d: main(d, "embedded").pop("startupProbe")),
    ("probes", "cluster", "no preStop", lambda d: main(d, "gateway").pop("lifecycle")),
    ("probes", "cluster", "a short end", lambda d: pod(d, "timelines").update(terminationGracePeriodSeconds=30)),
    ("disruption", "cluster", "a budget is missing", lambda d: drop(d, "PodDisruptionBudget", "-posting")),
    ("disruption", "cluster", "a budget for one", lambda d: first(d, "StatefulSet", role="ranking")["spec"].update(replicas=1)),
    ("disruption", "cluster", "nothing may go", lambda d: first(d, "PodDisruptionBudget")["spec"].update(maxUnavailable=0)),
    ("spread", "cluster", "one zone", lambda d: pod(d, "identity")["topologySpreadConstraints"].pop()),
    ("spread", "cluster", "others are spread", lambda d: pod(d, "identity")["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"].update({ROLE: "posting"})),
    ("network", "cluster", "nothing is denied", lambda d: [drop(d, "NetworkPolicy")]),
    ("network", "cluster", "ranking calls identity", lambda d: (
        policy(d, "from-ranking")["spec"]["egress"][0]["to"][0]["podSelector"]["matchExpressions"][0]["values"].append("identity"),
        policy(d, "into-identity")["spec"]["ingress"][0]["from"][0]["podSelector"]["matchExpressions"][0]["values"].append("ranking"))),
    ("network", "cluster", "the doctor may ask nobody", lambda d: drop(d, "NetworkPolicy", "from-doctor")),
    ("network", "embedded-all", "the doctor does not reach the door", lambda d: policy(d, "p92-door")["spec"]["ingress"].pop()),
    ("network", "cluster", "the doctor goes round the door", lambda d: into(policy(d, "-to-door")["spec"]["egress"][0]["ports"], protocol="TCP", port=8093)),
    ("network", "cluster", "an edge is missing", lambda d: drop(d, "NetworkPolicy", "into-posting")),
    ("network", "cluster", "posting calls strangers", lambda d: policy(d, "-strangers")["spec"]["podSelector"]["matchLabels"].update({ROLE: "posting"})),
    ("network", "cluster", "metadata", lambda d: policy(d, "-strangers")["spec"]["egress"][0]["to"][0]["ipBlock"]["except"].remove("169.254.0.0/16")),
    ("network", "embedded", "the cluster's own addresses", lambda d: policy(d, "-strangers")["spec"]["egress"][0]["to"][0]["ipBlock"]["except"].remove("10.0.0.0/8")),
    ("network", "embedded", "metadata by IPv6", lambda d: policy(d, "-strangers")["spec"]["egress"][0]["to"][1]["ipBlock"].update(cidr="::/0")),
    ("network", "cluster", "strangers at any port", lambda d: policy(d, "-strangers")["spec"]["egress"][0].pop("ports")),
    ("network", "cluster", "the gateway asks the store", lambda d: policy(d, "-to-store")["spec"]["podSelector"]["matchExpressions"][0]["values"].append("gateway")),
    ("network", "cluster", "no way to the bus", lambda d: drop(d, "NetworkPolicy", "-to-bus")),
    ("network", "cluster", "an edge of nobody", lambda d: into(policy(d, "-names")["spec"]["egress"], to=[{"ipBlock": {"cidr": "192.0.2.7/32"}}])),
    ("network", "cluster", "strangers at a service", lambda d: into(policy(d, "into-posting")["spec"]["ingress"], ports=[{"port": 8094}])),
    ("network", "cluster", "metrics for everybody", lambda d: into(policy(d, "p92-door")["spec"]["ingress"], ports=[{"port": 9092}])),
    ("secrets", "cluster", "a secret is made", lambda d: d.append({"kind": "Secret", "metadata": {"name": "s", "labels": {}}})),
    ("secrets", "cluster", "a password in a ConfigMap", lambda d: config(d, 'password = "hunter2"')),
    ("secrets", "cluster", "a private key in a ConfigMap", lambda d: config(d, "-----BEGIN PRIVATE KEY-----")),
    ("secrets", "cluster", "a password in a variable", lambda d: main(d, "posting")["env"].append({"name": "P92_STORE__CQL__PASSWORD", "value": "x"})),
    ("secrets", "cluster", "a token among the arguments", lambda d: main(d, "posting")["args"].append("--token=abc")),
    ("secrets", "cluster", "an unknown secret", lambda d: pod(d, "posting")["volumes"][0]["secret"].update(secretName="other")),
    ("secrets", "cluster", "another's credentials", lambda d: next(v for v in pod(d, "posting")["volumes"] if v["name"] == "bus")["secret"]["items"][0].update(path="identity.nk")),
    ("apart", "embedded", "keys beside the data", lambda d: next(e for e in main(d, "embedded")["env"] if e["name"] == "P92_KEYS").update(value="/var/lib/p92/p92.keys")),
    ("fits", "cluster", "a Service that selects nobody", lambda d: first(d, "Service", role="posting")["spec"]["selector"].update({ROLE: "postings"})),
    ("fits", "cluster", "metrics are public", lambda d: first(d, "Service", role="gateway")["spec"].update(type="LoadBalancer", ports=[{"name": "ops", "port": 1, "targetPort": "ops"}])),
    ("fits", "cluster", "another role", lambda d: main(d, "posting").update(args=["serve", "identity"])),
    ("fits", "cluster", "no name for the members", lambda d: first(d, "StatefulSet")["spec"].update(serviceName="x")),
    ("fits", "cluster", "a scaler of nobody", lambda d: first(d, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"].update(name="x")),
    ("fits", "cluster", "a mount of nothing", lambda d: main(d, "gateway").setdefault("volumeMounts", []).append({"name": "x", "mountPath": "/x"})),
    ("ways", "cluster", "a peer that is not there", lambda d: env(d, "posting", "P92_PEERS__IDENTITY").update(value='["nobody.social.svc:8094"]')),
    ("ways", "cluster", "a doctor that asks nobody", lambda d: without(d, "doctor", "P92_PEERS__RANKING")),
    ("ways", "cluster", "commands in a pod that find nobody", lambda d: without(d, "identity", "P92_ENDPOINT")),
    ("ways", "cluster", "commands in a pod that ask another", lambda d: env(d, "identity", "P92_ENDPOINT").update(value="p92-posting.social.svc:8094")),
    ("operators", "cluster-operators", "no tokens", lambda d: without(d, "ranking", "P92_OPERATORS__TOKENS_PATH")),
    ("operators", "cluster-operators", "tokens at the door", lambda d: pod(d, "gateway").update(volumes=[{"name": "t", "secret": {"secretName": "p92-operators"}}])),
    ("operators", "cluster-operators", "another file", lambda d: env(d, "posting", "P92_OPERATORS__TOKENS_PATH").update(value="/etc/p92/tokens")),
    ("operators", "cluster-operators", "commands without a token", lambda d: without(d, "posting", "P92_TOKEN_FILE")),
    ("operators", "cluster-operators", "commands for another process", lambda d: env(d, "posting", "P92_OPERATOR").update(value="p92-ops:9092")),
    ("operators", "embedded-all", "a secret that is not mounted", lambda d: pod(d, "embedded")["volumes"].pop()),
    ("scaling", "cluster", "no scaler", lambda d: drop(d, "HorizontalPodAutoscaler")),
    ("scaling", "cluster", "another aim", lambda d: first(d, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["resource"]["target"].update(averageUtilization=7)),
    ("scaling", "cluster", "fewer than were asked for", lambda d: first(d, "HorizontalPodAutoscaler")["spec"].update(minReplicas=1)),
    ("scaling", "cluster", "more than were asked for", lambda d: first(d, "HorizontalPodAutoscaler")["spec"].update(maxReplicas=11)),
    ("scaling", "cluster-keda", "fewer owners than were asked for", lambda d: first(d, "ScaledObject")["spec"].update(minReplicaCount=1)),
    ("scaling", "cluster-keda", "another lag", lambda d: first(d, "ScaledObject")["spec"]["triggers"][0]["metadata"].update(threshold="1")),
    ("scaling", "cluster-keda", "the lag of another", lambda d: replaced(first(d, "ScaledObject", role="federation-delivery")["spec"]["triggers"][0]["metadata"], "query", "federation_delivery", "federation-delivery")),
    ("scaling", "cluster-keda", "one that is not scaled", lambda d: drop(d, "ScaledObject", "-ranking")),
    ("scaling", "cluster-keda", "more replicas than shards", lambda d: first(d, "ScaledObject")["spec"].update(maxReplicaCount=17)),
    ("scaling", "cluster", "a number beside the scaler", lambda d: first(d, "Deployment")["spec"].update(replicas=2)),
    ("scaling", "embedded", "two on one store", lambda d: first(d, "StatefulSet")["spec"].update(replicas=2)),
    ("doctor", "embedded", "no doctor", lambda d: main(d, "doctor").update(args=["health"])),
    ("doctor", "embedded", "one that looks in its own pod", lambda d: main(d, "doctor")["args"].remove("--beside")),
    ("doctor", "cluster", "another door", lambda d: main(d, "doctor")["args"].__setitem__(3, "p92-ops.social.svc:8092")),
    ("migrates", "cluster", "nobody migrates", lambda d: drop(d, "Job")),
    ("migrates", "cluster-migrate-init", "one does not", lambda d: pod(d, "posting").pop("initContainers")),
    ("plain", "cluster", "a scaler that nobody wants", lambda d: d.append({"kind": "ScaledObject", "metadata": {"name": "s", "labels": {}}})),
    ("plain", "cluster-monitoring", "no alerts", lambda d: drop(d, "PrometheusRule")),
    ("hosts", "cluster-ingress-wildcard", "a host is missing", lambda d: first(d, "Ingress")["spec"]["rules"].pop()),
    ("hosts", "cluster-route-list", "another host", lambda d: first(d, "HTTPRoute")["spec"].update(hostnames=["x.example"])),
    ("scylla", "cluster-scylla", "a store that syncs now and then", lambda d: first(d, "ScyllaCluster")["spec"].update(scyllaArgs="--commitlog-sync periodic")),
    ("scylla", "cluster-scylla", "a rack without a volume", lambda d: first(d, "ScyllaCluster")["spec"]["datacenter"]["racks"][0].pop("storage")),
]

# Values that the schema or the chart refuses, each with a twin beside it that is taken: (file, bad, good).
REFUSALS = [
    ("embedded", "shape=both", "shape=embedded"),
    ("embedded", "shapes=embedded", "shape=embedded"),
    ("embedded", "server.publicUrl=http://social.example", "server.publicUrl=https://social.example"),
    ("embedded", "server.publicUrl=https://social.example/path", "server.publicUrl=http://localhost:8092"),
    ("embedded", "image.digest=sha256:123", "image.digest=sha256:" + "0" * 64),
    ("embedded", "settings.STORE__CQL__PASSWORD=x", "settings.STORE__CQL__PASSWORD_FILE=/x"),
    ("embedded", "settings.gateway=x", "settings.GATEWAY__CACHE=1s"),
    ("embedded", "embedded.resources.limits.memory=null", "embedded.resources.limits.memory=1Gi"),
    ("embedded", "embedded.resources.limits.memory=lots", "embedded.resources.limits.memory=4Gi"),
    ("embedded", "embedded.replicas=2", "embedded.data.size=1Gi"),
    ("embedded", "keda.enabled=true", "keda.enabled=false"),
    ("embedded", "scylla.enabled=true", "scylla.enabled=false"),
    ("embedded", "listen=127.0.0.1", "listen=0.0.0.0"),
    ("embedded", "drain.graceSeconds=30", "drain.graceSeconds=50"),
    ("embedded", "route.enabled=true", "route.enabled=false"),
    ("embedded", "ingress.hosts={*.*.example}", "ingress.hosts={*.example}"),
    ("embedded", "networkPolicy.strangers.clusterRanges={10.0.0.1}", "networkPolicy.strangers.clusterRanges={20.0.0.0/8}"),
    ("embedded", "networkPolicy.named[0].name=mail", None),
    ("embedded", "telemetry.traceShare=2", "telemetry.traceShare=1"),
    ("embedded", "service.type=ExternalName", "service.type=NodePort"),
    ("embedded", "spread.nodes=Never", "spread.nodes=DoNotSchedule"),
    ("cluster", "store.shards=2000", "store.shards=1024"),
    ("cluster", "services.posting.replicas=0", "services.posting.replicas=1"),
    ("cluster", "services.posting.replicas=17", "services.posting.replicas=16"),
    ("cluster", "services.search.replicas=1", "services.ranking.replicas=1"),
    ("cluster", "keys.existingSecret=", "keys.existingSecret=other"),
    ("cluster", "keys.existingClaim=both", "keys.existingSecret=one"),
    ("cluster", "bus.nats.url=", "bus.nats.url=nats://other:4222"),
    ("cluster", "bus.nats.url=http://nats:4222", "bus.nats.url=tls://nats:4222"),
    ("cluster", "bus.nats.egress=null", "bus.nats.port=4223"),
    ("cluster", "store.cql.contactPoints=null", "store.cql.contactPoints={a:9042,b:9042}"),
    ("cluster", "store.cql.contactPoints={scylla}", "store.cql.contactPoints={scylla:9042}"),
    ("cluster", "store.cql.egress=null", "store.cql.port=9142"),
    ("cluster", "store.cql.keyspace=P-92", "store.cql.keyspace=p92_social"),
    ("cluster", "store.cql.password=x", "store.cql.credentials.username=x"),
    ("cluster", "autoscaling.maxReplicas=1", "autoscaling.maxReplicas=2"),
    ("cluster", "disruption.maxUnavailable=0", "disruption.maxUnavailable=2"),
    ("cluster-keda", "keda.maxReplicas=17", "keda.maxReplicas=16"),
    ("cluster-keda", "keda.services={gateway}", "keda.services={posting}"),
    ("cluster-scylla", "migrate.mode=hook", "migrate.mode=init"),
    ("cluster-scylla", "scylla.racks[0].members=0", "scylla.racks[0].members=2"),
    ("cluster", "migrate.mode=sometimes", "migrate.mode=none"),
    ("cluster", "operators.tokens=x", "operators.existingSecret=x"),
    ("cluster-operators", "operators.secretKey=a/b", "operators.secretKey=a.b"),
]
