"""How a command of each type is made up: valid more often than not, about whoever and whatever exists by then.

`RECIPES` has one entry for each command of the contract. A recipe gets the world and a source of chance, and gives the
fields of the request, or None while there is nothing to do it to. What answers tell is learned in `World.learn`.
"""

import base64
import hashlib
import random
import uuid

import grpc

PASSWORD = "a long password"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
WORDS = "event log shard owner epoch view rebuild follower timeline bridge river lamp garden winter #rust #sea #Été".split()
VISIBILITIES = ["VISIBILITY_PUBLIC"] * 5 + ["VISIBILITY_UNLISTED", "VISIBILITY_FOLLOWERS", "VISIBILITY_DIRECT"]
RECIPES = {}


def recipe(name: str, weight: float = 1.0):
    """Enters a recipe under the name of its command; heavier ones come more often."""

    def enter(make):
        make.weight = weight
        RECIPES[name] = make
        return make

    return enter


class World:
    """What is known to exist. One lock of the caller guards it."""

    def __init__(self, contract, channel: grpc.Channel):
        self.contract, self.channel = contract, channel
        self.servers, self.extra, self.accounts, self.remotes = {}, [], {}, []
        self.posts, self.apps, self.sessions, self.tokens, self.codes = {}, {}, [], [], []
        self.requests, self.marked = [], {"Like": [], "Boost": [], "Bookmark": [], "PinPost": []}
        self.edges = {"Follow": [], "Block": [], "Mute": []}
        self.fresh = 0
        request, call = self.read("ServerService", "ListServers")
        self.first = int(call(request(page_size=10), timeout=10).servers[0].id)
        self.servers[self.first] = "REGISTRATION_POLICY_OPEN"
        chance = random.Random(0)
        for policy, confirm in (("REGISTRATION_POLICY_APPROVAL", False), ("REGISTRATION_POLICY_OPEN", True)):
            made = self.do("CreateServer", RECIPES["CreateServer"](self, chance) | {
                "registration": policy, "policies": {"confirmEmail": confirm, "boostKinds": ["ACCOUNT_KIND_PERSONAL"]},
            })
            server = int(made["server"]["id"])
            self.extra.remove(server)
            self.servers[server] = "confirm" if confirm else policy
        for _ in range(6):
            for name in ("RegisterApp", "CreateAccount", "RegisterRemoteAccount"):
                self.do(name, RECIPES[name](self, chance))

    def read(self, service: str, name: str):
        from google.protobuf import message_factory

        for full, method, module in self.contract.commands.values():
            found = module.DESCRIPTOR.services_by_name.get(service)
            if found:
                method = found.methods_by_name[name]
                request = message_factory.GetMessageClass(method.input_type)
                answer = message_factory.GetMessageClass(method.output_type)
                path = f"/{found.full_name}/{name}"
                return request, self.channel.unary_unary(path, request.SerializeToString, answer.FromString)
        raise AssertionError(service)

    def do(self, name: str, made: dict) -> dict:
        from google.protobuf import json_format

        request, call = self.contract.caller(self.channel, name)
        answer = json_format.MessageToDict(call(json_format.ParseDict(made, request()), timeout=60))
        self.learn(name, made, answer)
        return answer

    def first_do(self, name: str, chance: random.Random) -> None:
        """Does what another recipe needs. Somebody may be gone or not allowed: then there is another chance."""
        made = RECIPES[name](self, chance)
        try:
            if made is not None:
                self.do(name, made)
        except grpc.RpcError:
            pass

    def name(self, stem: str) -> str:
        self.fresh += 1
        return f"{stem}{self.fresh}"

    def active(self, chance: random.Random, server: int = 0) -> dict | None:
        fit = [one for one in self.accounts.values()
               if one["state"] == "ACCOUNT_STATE_ACTIVE" and (not server or one["server"] == server)]
        return chance.choice(fit) if fit else None

    def in_state(self, chance: random.Random, *states: str) -> dict | None:
        fit = [one for one in self.accounts.values() if one["state"].removeprefix("ACCOUNT_STATE_") in states]
        return chance.choice(fit) if fit else None

    def post(self, chance: random.Random, own: int = 0) -> int | None:
        fit = [post for post, author in self.posts.items() if not own or author == own]
        return chance.choice(fit) if fit else None

    def app(self, chance: random.Random, server: int) -> dict | None:
        fit = self.apps.get(server)
        return chance.choice(fit) if fit else None

    def learn(self, name: str, made: dict, answer: dict) -> None:
        """Notes what a command made or ended."""
        context = made.get("context", {})
        actor = context.get("actorId", 0)
        if account := answer.get("account"):
            self.learn_account(name, made, account)
        if name == "EraseAccount":
            self.accounts.pop(made["accountId"], None)
        elif name == "CreateServer":
            self.extra.append(int(answer["server"]["id"]))
        elif name == "CloseServer":
            self.extra = [server for server in self.extra if server != made["serverId"]]
        elif name == "PublishPost":
            self.posts[int(answer["postId"])] = actor
        elif name == "DeletePost":
            self.posts.pop(made["postId"], None)
        elif name in self.marked:
            self.marked[name].append((actor, made["postId"]))
        elif name in self.edges:
            self.edges[name].append((actor, made["accountId"]))
            if answer.get("relationship", {}).get("following") == "FOLLOW_STATE_REQUESTED":
                self.requests.append((actor, made["accountId"]))
        elif name == "RegisterApp":
            app = answer["app"] | {"secret": answer["clientSecret"]}
            self.apps.setdefault(made["serverId"], []).append(app)
        elif name == "CreateSession":
            self.sessions.append((made["serverId"], int(answer["session"]["accountId"]), int(answer["session"]["id"])))
        elif name == "Authorize":
            self.codes.append((made["serverId"], made["asked"]["clientId"], answer["code"]))
        elif token := answer.get("token"):
            self.tokens.append((token["token"], token["secret"]))

    def learn_account(self, name: str, made: dict, account: dict) -> None:
        number = int(account["id"])
        if name == "RegisterRemoteAccount":
            if number not in self.remotes:
                self.remotes.append(number)
            return
        if account["state"] == "ACCOUNT_STATE_ERASED":
            # By another command, between this one and its answer.
            self.accounts.pop(number, None)
            return
        known = self.accounts.setdefault(number, {"id": number, "server": int(account["serverId"])})
        known |= {"state": account["state"], "handle": account["handle"], "locked": account.get("locked", False)}
        known["role"] = account.get("role", "")
        known.setdefault("password", made.get("password", PASSWORD))


def context(server: int, actor: int = 0, app: int = 0) -> dict:
    return {"serverId": server, "actorId": actor, "appId": app, "idempotencyKey": uuid.uuid4().hex}


def text(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=chance.randint(1, 12)))


def by(one: dict) -> dict:
    return context(one["server"], one["id"])


@recipe("CreateServer", 0.3)
def create_server(world, chance):
    host = world.name("server") + ".localhost"
    return {"context": context(0), "domain": host, "publicUrl": f"http://{host}:8092", "name": host,
            "registration": "REGISTRATION_POLICY_OPEN", "description": text(chance), "languages": ["en"],
            "rules": [{"text": text(chance)}]}


@recipe("UpdateServer", 0.3)
def update_server(world, chance):
    server = chance.choice(world.extra) if world.extra else world.first
    return {"context": context(server), "serverId": server, "updateMask": "name,description,rules",
            "server": {"name": text(chance), "description": text(chance), "rules": [{"text": text(chance)}]}}


@recipe("CloseServer", 0.1)
def close_server(world, chance):
    if not world.extra:
        return None
    server = chance.choice(world.extra)
    return {"context": context(server), "serverId": server}


@recipe("SignUp", 0.6)
def sign_up(world, chance):
    handle, server = world.name("person"), chance.choice(list(world.servers))
    return {"context": context(server), "handle": handle, "email": f"{handle}@example.org", "password": PASSWORD,
            "agreement": True, "locale": "en", "reason": text(chance)}


@recipe("CreateAccount", 0.8)
def create_account(world, chance):
    handle, server = world.name("member"), world.first if chance.random() < 0.8 else chance.choice(list(world.servers))
    role = chance.choice(["ROLE_MEMBER"] * 5 + ["ROLE_MODERATOR"])
    return {"context": context(server), "handle": handle, "email": f"{handle}@example.org", "password": PASSWORD,
            "role": role, "kind": "ACCOUNT_KIND_PERSONAL", "locked": chance.random() < 0.3, "displayName": text(chance)[:30]}


@recipe("RegisterRemoteAccount", 0.6)
def register_remote_account(world, chance):
    handle = f"far{chance.randrange(150)}"
    host = f"peer{chance.randrange(5)}.example"
    url = f"https://{host}/users/{handle}"
    return {"context": context(world.first), "handle": handle, "domain": host, "displayName": text(chance)[:30],
            "note": f"<p>{text(chance)}</p>",
            "activityPub": {"id": url, "inbox": f"{url}/inbox", "followers": f"{url}/followers", "url": url}}


def governs(name: str, states: tuple, weight: float, **more):
    """What the operator does to an account in one of these states."""

    @recipe(name, weight)
    def make(world, chance):
        one = world.in_state(chance, *states)
        return one and {"context": context(one["server"]), "accountId": one["id"]} | more
    return make


governs("ConfirmEmail", ("UNCONFIRMED", "PENDING", "ACTIVE"), 0.3)
governs("ApproveAccount", ("PENDING",), 0.3)
governs("LimitAccount", ("ACTIVE",), 0.2)
governs("SuspendAccount", ("ACTIVE", "LIMITED"), 0.2)
governs("RestoreAccount", ("LIMITED", "SUSPENDED"), 0.6)
governs("EraseAccount", ("ACTIVE", "SUSPENDED"), 0.25)
governs("ResetPassword", ("ACTIVE",), 0.3, newPassword=PASSWORD)


@recipe("SetRole", 0.3)
def set_role(world, chance):
    one = world.in_state(chance, "ACTIVE")
    role = chance.choice(["ROLE_MEMBER", "ROLE_MODERATOR", "ROLE_ADMIN"])
    return one and {"context": context(one["server"]), "accountId": one["id"], "role": role}


@recipe("SetKind", 0.3)
def set_kind(world, chance):
    one = world.in_state(chance, "ACTIVE")
    kind = chance.choice(["ACCOUNT_KIND_PERSONAL", "ACCOUNT_KIND_CREATOR", "ACCOUNT_KIND_CORPORATE"])
    return one and {"context": context(one["server"]), "accountId": one["id"], "kind": kind}


@recipe("UpdateProfile", 2)
def update_profile(world, chance):
    one = world.active(chance)
    return one and {"context": by(one), "updateMask": "displayName,note,fields,locked,discoverable", "account": {
        "displayName": text(chance)[:30], "note": text(chance), "fields": [{"name": "river", "value": text(chance)}],
        "locked": chance.random() < 0.3, "discoverable": chance.random() < 0.5}}


@recipe("ChangePassword", 0.2)
def change_password(world, chance):
    one = world.active(chance)
    return one and {"context": by(one), "currentPassword": one["password"], "newPassword": one["password"]}


def other(world, chance, one: dict) -> int:
    if world.remotes and chance.random() < 0.15:
        return chance.choice(world.remotes)
    return chance.choice([number for number in world.accounts if number != one["id"]])


def relates(name: str, weight: float):
    """What an account does to another."""

    @recipe(name, weight)
    def make(world, chance):
        one = world.active(chance)
        return one and {"context": by(one), "accountId": other(world, chance, one)}
    return make


def takes_back(name: str, kind: str, field: str, weight: float, of):
    """What undoes something that was done; `of` holds it."""

    @recipe(name, weight)
    def make(world, chance):
        done = of(world)[kind]
        if not done:
            return None
        actor, about = done[-1] if chance.random() < 0.5 else chance.choice(done)
        one = world.accounts.get(actor)
        return one and {"context": by(one), field: about}
    return make


relates("Follow", 6)
relates("Block", 0.5)
relates("Mute", 0.8)
takes_back("Unfollow", "Follow", "accountId", 1.2, lambda world: world.edges)
takes_back("Unblock", "Block", "accountId", 0.4, lambda world: world.edges)
takes_back("Unmute", "Mute", "accountId", 0.4, lambda world: world.edges)


def answers_request(name: str):
    """What a locked account says to who asks to follow it."""

    @recipe(name, 0.6)
    def make(world, chance):
        while world.requests:
            follower, followed = world.requests.pop()
            one = world.accounts.get(followed)
            if one:
                return {"context": by(one), "accountId": follower}
        one = world.active(chance)
        asks = world.active(chance)
        if one and asks and one["locked"]:
            try:
                world.do("Follow", {"context": by(asks), "accountId": one["id"]})
            except grpc.RpcError:
                pass  # Somebody was erased, blocked or is the same one: there will be another.
        return None
    return make


answers_request("AcceptFollow")
answers_request("RejectFollow")


@recipe("RemoveFollower", 0.4)
def remove_follower(world, chance):
    if not world.edges["Follow"]:
        return None
    follower, followed = chance.choice(world.edges["Follow"])
    one = world.accounts.get(followed)
    return one and {"context": by(one), "accountId": follower}


@recipe("RegisterApp", 0.2)
def register_app(world, chance):
    return {"serverId": chance.choice(list(world.servers)), "name": text(chance)[:60], "redirectUris": [OUT_OF_BAND],
            "scopes": ["read", "write"]}


def signed_in(make):
    """A recipe about an account and an app of its server."""

    def with_app(world, chance):
        one = world.active(chance)
        app = one and world.app(chance, one["server"])
        return app and make(one, app)
    return with_app


RECIPES_OF_APPS = {
    "Authorize": lambda one, app: {"serverId": one["server"], "accountId": one["id"], "asked": {
        "clientId": app["clientId"], "redirectUri": OUT_OF_BAND, "scopes": ["read"], "codeChallenge": CHALLENGE,
        "codeChallengeMethod": "S256"}},
    "GrantClientCredentials": lambda one, app: {
        "serverId": one["server"], "clientId": app["clientId"], "clientSecret": app["secret"]},
    "GrantPassword": lambda one, app: {
        "serverId": one["server"], "clientId": app["clientId"], "clientSecret": app["secret"], "login": one["handle"],
        "password": one["password"], "scopes": ["read"]},
    "IssueToken": lambda one, app: {
        "serverId": one["server"], "clientId": app["clientId"], "accountId": one["id"], "scopes": ["read"]},
    "CreateSession": lambda one, app: {
        "serverId": one["server"], "login": one["handle"], "password": one["password"], "agent": "browser"},
}
for _name, _make in RECIPES_OF_APPS.items():
    recipe(_name, 0.2)(signed_in(_make))


@recipe("ExchangeCode", 0.2)
def exchange_code(world, chance):
    if not world.codes:
        world.first_do("Authorize", chance)
    if not world.codes:
        return None
    server, client, code = world.codes.pop()
    secret = next(app["secret"] for app in world.apps[server] if app["clientId"] == client)
    return {"serverId": server, "clientId": client, "clientSecret": secret, "code": code, "redirectUri": OUT_OF_BAND,
            "codeVerifier": VERIFIER}


@recipe("RevokeToken", 0.15)
def revoke_token(world, chance):
    if not world.tokens:
        world.first_do("IssueToken", chance)
    if not world.tokens:
        return None
    token, secret = world.tokens.pop()
    server = int(token["serverId"])
    app = next((app for app in world.apps[server] if app["id"] == token["appId"]), None)
    return app and {"serverId": server, "clientId": app["clientId"], "clientSecret": app["secret"], "secret": secret}


@recipe("RevokeTokenById", 0.15)
def revoke_token_by_id(world, chance):
    fit = [token for token, _ in world.tokens if int(token.get("accountId", 0)) in world.accounts]
    if not fit:
        return world.first_do("IssueToken", chance)
    token = chance.choice(fit)
    world.tokens = [one for one in world.tokens if one[0] is not token]
    return {"context": by(world.accounts[int(token["accountId"])]), "tokenId": int(token["id"])}


@recipe("RevokeSession", 0.15)
def revoke_session(world, chance):
    while world.sessions:
        server, account, session = world.sessions.pop()
        if account in world.accounts:
            return {"context": context(server, account), "sessionId": session}
    return world.first_do("CreateSession", chance)


@recipe("PublishPost", 18)
def publish_post(world, chance):
    one = world.active(chance)
    if not one:
        return None
    said = text(chance)
    if chance.random() < 0.2:
        said += " @" + chance.choice(list(world.accounts.values()))["handle"]
    reply = world.post(chance) if chance.random() < 0.3 else 0
    return {"context": by(one), "text": said, "visibility": chance.choice(VISIBILITIES), "language": "en",
            "contentWarning": text(chance) if chance.random() < 0.1 else "", "inReplyToId": reply or 0}


def own_post(name: str, weight: float, **more):
    """What an author does to a post of its own."""

    @recipe(name, weight)
    def make(world, chance):
        one = world.active(chance)
        post = one and world.post(chance, one["id"])
        made = {field: value(chance) for field, value in more.items()}
        return post and {"context": by(one), "postId": post} | made
    return make


own_post("EditPost", 4, text=text, contentWarning=lambda chance: "", language=lambda chance: "en")
own_post("DeletePost", 1.5)
own_post("PinPost", 0.8)
takes_back("UnpinPost", "PinPost", "postId", 0.4, lambda world: world.marked)


def marks(name: str, weight: float):
    """What an account does to any post."""

    @recipe(name, weight)
    def make(world, chance):
        one, post = world.active(chance), world.post(chance)
        return post and one and {"context": by(one), "postId": post}
    return make


marks("Like", 8)
marks("Boost", 5)
marks("Bookmark", 3)
takes_back("Unlike", "Like", "postId", 1.5, lambda world: world.marked)
takes_back("Unboost", "Boost", "postId", 1, lambda world: world.marked)
takes_back("Unbookmark", "Bookmark", "postId", 1, lambda world: world.marked)


@recipe("DismissNotification", 0.5)
def dismiss_notification(world, chance):
    one = world.active(chance)
    if not one:
        return None
    request, call = world.read("NotificationService", "ListNotifications")
    asked = request(options={"viewer_id": one["id"], "server_id": one["server"]}, window={"limit": 5})
    notes = call(asked, timeout=30).notifications
    return {"context": by(one), "notificationId": notes[0].id} if notes else None


@recipe("ClearNotifications", 0.2)
def clear_notifications(world, chance):
    one = world.active(chance)
    return one and {"context": by(one)}


@recipe("SetMarkers", 0.8)
def set_markers(world, chance):
    one, post = world.active(chance), world.post(chance)
    return post and one and {"context": by(one), "changes": [
        {"timeline": chance.choice(["MARKED_TIMELINE_HOME", "MARKED_TIMELINE_NOTIFICATIONS"]), "lastReadId": post}]}
