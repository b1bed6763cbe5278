"""What was rendered, as things to ask: pods, who selects whom, who may reach whom. It judges nothing."""

import ipaddress

ROLE = "app.kubernetes.io/component"
NEVER = {"matchLabels": {"nobody": "nobody"}}


def pods(docs):
    """(manifest, pod labels, pod spec) of everything that makes pods."""
    for doc in docs:
        if doc["kind"] == "Pod":
            yield doc, doc["metadata"].get("labels", {}), doc["spec"]
        elif doc["kind"] in ("Deployment", "StatefulSet", "Job"):
            template = doc["spec"]["template"]
            yield doc, template["metadata"].get("labels", {}), template["spec"]


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


def of(docs, *kinds):
    return [doc for doc in docs if doc["kind"] in kinds]


def name(doc):
    return f"{doc['kind']}/{doc['metadata']['name']}"


def selects(selector, labels) -> bool:
    """Whether a label selector takes these labels."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions") or []:
        has, values = one["key"] in labels, one.get("values", [])
        if one["operator"] == "In" and labels.get(one["key"]) not in values:
            return False
        if one["operator"] == "NotIn" and labels.get(one["key"]) in values:
            return False
        if one["operator"] == "Exists" and not has or one["operator"] == "DoesNotExist" and has:
            return False
    return True


def policies(docs, labels, way):
    """The rules of one direction that hold for a pod; None if nothing is denied to it."""
    hold = [
        doc for doc in of(docs, "NetworkPolicy")
        if way in doc["spec"]["policyTypes"] and selects(doc["spec"]["podSelector"], labels)
    ]
    return [rule for doc in hold for rule in doc["spec"].get(way.lower(), [])] if hold else None


def admits_address(peer, address) -> bool:
    block = peer.get("ipBlock")
    if not block:
        return False
    address = ipaddress.ip_address(address)
    inside = lambda cidr: address.version == ipaddress.ip_network(cidr).version and address in ipaddress.ip_network(cidr)
    return inside(block["cidr"]) and not any(inside(cidr) for cidr in block.get("except", []))


def may_reach_address(docs, labels, address) -> bool:
    """Whether a pod may open a connection to an address outside, at any port."""
    rules = policies(docs, labels, "Egress")
    if rules is None:
        return True
    return any("to" not in rule or any(admits_address(peer, address) for peer in rule["to"]) for rule in rules)


def ports_of(rule):
    return {(one.get("protocol", "TCP"), one["port"]) for one in rule.get("ports", [])} or {("any", "any")}


def edges(docs):
    """Every edge between our own pods that both ends admit: (from, to, port)."""
    found = set()
    ours = [(labels, spec) for _, labels, spec in pods(docs)]
    for source, _ in ours:
        out = policies(docs, source, "Egress")
        for target, _ in ours:
            into = policies(docs, target, "Ingress")
            sent = admitted(out, "to", target)
            taken = admitted(into, "from", source)
            for port in sent & taken | (sent if ("any", "any") in taken else set()) | (taken if ("any", "any") in sent else set()):
                found.add((source[ROLE], target[ROLE], port[1]))
    return found


def admitted(rules, side, labels):
    if rules is None:
        return {("any", "any")}
    ports = set()
    for rule in rules:
        peers = rule.get(side)
        ours = peers is None or any(
            "namespaceSelector" not in peer and selects(peer.get("podSelector", NEVER), labels) for peer in peers
        )
        if ours:
            ports |= ports_of(rule)
    return ports


def outside(docs, labels):
    """The peers outside of the release that a pod may reach, each with its ports, as text that can be compared."""
    found = []
    for rule in policies(docs, labels, "Egress") or []:
        for peer in rule.get("to", [{}]):
            inner = peer.get("podSelector", {}).get("matchLabels", {})
            if "namespaceSelector" not in peer and inner.get("app.kubernetes.io/name") == "p92":
                continue
            found.append((peer, sorted(port for _, port in ports_of(rule))))
    return found
