"""Mastodon.py, unmodified, drives the running binary: what an app does on a day."""

import base64
import hashlib
import html.parser
import pathlib
import socket
import tempfile
import threading
import time
import urllib.parse

import requests
from mastodon import Mastodon, StreamListener
from mastodon.errors import MastodonAPIError, MastodonError

from node import Installation, Node

# Names below `localhost` are this machine (RFC 6761), whether or not its resolver knows them.
resolve = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **named: resolve(
    "127.0.0.1" if str(host).endswith(".localhost") else host, *rest, **named
)

OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"


def sign_up(url: str, name: str) -> Mastodon:
    """Registers an app and an account by the API; a client with its token."""
    client_id, secret = Mastodon.create_app("tests", api_base_url=url, scopes=["read", "write", "follow"])
    client = Mastodon(client_id=client_id, client_secret=secret, api_base_url=url)
    client.create_account(
        name, "a long password", f"{name}@example.org", agreement=True, scopes=["read", "write", "follow"]
    )
    return client


def wait_for(what: str, look, seconds: float = 5.0):
    """Looks until there is something; says what did not come."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        threading.Event().wait(0.02)
    raise AssertionError(f"{what} did not come within {seconds} s")


class Heard(StreamListener):
    def __init__(self):
        self.updates = []

    def on_update(self, status):
        self.updates.append((time.monotonic(), status))


def day(url: str) -> None:
    alice, bob = sign_up(url, "alice"), sign_up(url, "bob")
    me, him = alice.account_verify_credentials(), bob.account_verify_credentials()
    assert me.username == "alice" and him.username == "bob"
    assert alice.instance().version.startswith("4.2.0 (compatible; P92")

    alice.account_follow(him.id)
    assert alice.account_relationships(him.id)[0].following
    first = bob.status_post("Hello #fediverse, hello @alice", visibility="public")
    assert "#<span>fediverse</span>" in first.content, first.content
    assert any(one.id == first.id for one in alice.timeline_home())

    reply = alice.status_post("Hello @bob", in_reply_to_id=first.id)
    assert reply.in_reply_to_id == first.id
    assert [one.id for one in bob.status_context(first.id).descendants] == [reply.id]

    alice.status_favourite(first.id)
    alice.status_reblog(first.id)
    alice.status_bookmark(first.id)
    seen = alice.status(first.id)
    assert seen.favourited and seen.reblogged and seen.bookmarked
    assert (seen.favourites_count, seen.reblogs_count, seen.replies_count) == (1, 1, 1)
    assert [one.id for one in alice.bookmarks()] == [first.id]

    kinds = wait_for("bob's notifications", lambda: enough(bob, {"follow", "favourite", "reblog", "mention"}))
    assert kinds == {"follow", "favourite", "reblog", "mention"}, kinds

    edited = bob.status_update(first.id, "Hello again")
    assert edited.edited_at and "Hello again" in edited.content

    pages(alice, bob, him)
    streams(alice, bob)
    restrictions(alice, bob, me, him)

    bob.status_delete(first.id)
    try:
        alice.status(first.id)
        raise AssertionError("a deleted post was shown")
    except MastodonAPIError:
        pass


def enough(client: Mastodon, wanted: set):
    kinds = {one.type for one in client.notifications()}
    return kinds if wanted <= kinds else None


def pages(alice: Mastodon, bob: Mastodon, him) -> None:
    for number in range(25):
        bob.status_post(f"number {number}")
    newest = alice.timeline_home(limit=10)
    older = alice.timeline_home(limit=10, max_id=newest[-1].id)
    assert len(newest) == len(older) == 10
    ids = [int(one.id) for one in newest + older]
    assert ids == sorted(ids, reverse=True) and len(set(ids)) == 20
    next_to = alice.timeline_home(limit=5, min_id=older[-1].id)
    assert [one.id for one in next_to] == [one.id for one in older[-6:-1]]
    assert len(alice.account_statuses(him.id, limit=40)) >= 25


def streams(alice: Mastodon, bob: Mastodon) -> None:
    heard = Heard()
    handle = alice.stream_user(heard, run_async=True, timeout=10)
    try:
        # Posts until one is heard: there is no word from a stream that says that it has begun.
        def said():
            sent = time.monotonic()
            status = bob.status_post(f"live {sent}")
            try:
                at = wait_for("it", lambda: [at for at, one in heard.updates if one.id == status.id], 1.0)
                return at[0] - sent
            except AssertionError:
                return None

        took = wait_for("a live post", said, 10.0)
        assert took < 1.0, f"a live post took {took:.2f} s"
    finally:
        handle.close()


def restrictions(alice: Mastodon, bob: Mastodon, me, him) -> None:
    bob.account_block(me.id)
    assert bob.account_relationships(me.id)[0].blocking
    assert not alice.account_relationships(him.id)[0].following
    wait_for("the block to bind", lambda: not [one for one in alice.timeline_home() if one.account.id == him.id], 1.0)
    bob.account_unblock(me.id)


class Form(html.parser.HTMLParser):
    """The hidden fields of a page's form, and the code that it shows."""

    def __init__(self, text: str):
        super().__init__()
        self.fields, self.code, self.inside = {}, "", False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "input" and values.get("type") == "hidden":
            self.fields[values["name"]] = values.get("value", "")
        self.inside = tag == "code"

    def handle_data(self, data):
        if self.inside:
            self.code += data

    def handle_endtag(self, tag):
        self.inside = False


def authorize(url: str, client_id: str, challenge: str) -> str:
    """What a person does in a browser: signs in, allows the app, copies the code."""
    browser = requests.Session()
    asked = {
        "response_type": "code", "client_id": client_id, "redirect_uri": OUT_OF_BAND, "scope": "read",
        "code_challenge": challenge, "code_challenge_method": "S256",
    }
    page = browser.get(url + "/oauth/authorize", params=asked, timeout=10)
    form = Form(page.text).fields | {"login": "alice", "password": "a long password"}
    page = browser.post(url + "/oauth/authorize", data=form, headers={"Origin": url}, timeout=10)
    form = Form(page.text).fields | {"decision": "approve"}
    page = browser.post(url + "/oauth/authorize", data=form, headers={"Origin": url}, timeout=10)
    code = Form(page.text).code
    assert code, f"no code was shown: {page.status_code} {page.text[-600:]}"
    return code


def sign_in_with_pkce(url: str) -> None:
    """A code is exchanged with its verifier, with no other, at the very address that it was asked for, and once."""
    client_id, secret = Mastodon.create_app("pkce", api_base_url=url, redirect_uris=OUT_OF_BAND, scopes=["read"])
    verifier = "v" * 64
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()

    def exchange(code: str, **changed):
        form = {
            "grant_type": "authorization_code", "client_id": client_id, "client_secret": secret, "code": code,
            "redirect_uri": OUT_OF_BAND, "code_verifier": verifier,
        }
        return requests.post(url + "/oauth/token", data=form | changed, timeout=10)

    wrong = exchange(authorize(url, client_id, challenge), code_verifier="w" * 64)
    assert wrong.status_code == 400, wrong.text
    wrong = exchange(authorize(url, client_id, challenge), redirect_uri=OUT_OF_BAND + "x")
    assert wrong.status_code in (400, 401), wrong.text
    code = authorize(url, client_id, challenge)
    right = exchange(code)
    assert right.status_code == 200, right.text
    token = right.json()["access_token"]
    client = Mastodon(access_token=token, api_base_url=url)
    assert client.account_verify_credentials().username == "alice"
    try:
        client.status_post("a token for reading must not write")
        raise AssertionError("a token for reading has written")
    except MastodonError:
        pass
    twice = exchange(code)
    assert twice.status_code == 400, twice.text
    wait_for("the end of the token of a code that was used twice", lambda: refused(url, token), 1.5)


def refused(url: str, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    answer = requests.get(url + "/api/v1/accounts/verify_credentials", headers=headers, timeout=10)
    return answer.status_code == 401


def two_servers(node: Installation) -> None:
    """The same handle on two servers of one process; what belongs to one is refused at the other."""
    node.cli("server", "create", "second.localhost", "--public-url", second_url(node), "--registration", "open")
    one, two = node.url, second_url(node)
    first, second = sign_up(one, "carol"), sign_up(two, "carol")
    assert first.account_verify_credentials().id != second.account_verify_credentials().id
    stranger = Mastodon(access_token=first.access_token, api_base_url=two)
    try:
        stranger.account_verify_credentials()
        raise AssertionError("a token of one server was taken at the other")
    except MastodonError:
        pass
    apps_stay_at_home(one, two)
    trends(one, two, [first, sign_up(one, "dave"), sign_up(one, "erin")], second)
    answer = requests.get(one + "/api/v1/instance", headers={"Host": "unknown.example"}, timeout=10)
    assert answer.status_code == 421, answer.status_code


def trends(one: str, two: str, members: list, other: Mastodon) -> None:
    """A tag of three members trends on their server; on another one, where one person uses it, it does not."""
    for member in [*members, other]:
        member.status_post("The water is over the bridge. #Flood")
    # Computed trends are kept for ten seconds.
    found = wait_for("a trend", lambda: members[0].trending_tags(), 15)
    assert [tag.name for tag in found] == ["Flood"], found
    assert (int(found[0].history[0].uses), int(found[0].history[0].accounts)) == (3, 3), found[0].history
    assert len(found[0].history) == 7
    assert other.trending_tags() == []


def apps_stay_at_home(one: str, two: str) -> None:
    """An app and its codes are good at the server where it was registered, and at no other."""
    client_id, secret = Mastodon.create_app("home", api_base_url=one, redirect_uris=OUT_OF_BAND, scopes=["read"])
    app = {"client_id": client_id, "client_secret": secret, "redirect_uri": OUT_OF_BAND}
    verifier = "v" * 64
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    code = authorize(one, client_id, challenge)
    grants = [
        app | {"grant_type": "client_credentials", "scope": "read"},
        app | {"grant_type": "authorization_code", "code": code, "code_verifier": verifier},
    ]
    for form in grants:
        away = requests.post(two + "/oauth/token", data=form, timeout=10)
        assert away.status_code in (400, 401) and "access_token" not in away.json(), away.text
        home = requests.post(one + "/oauth/token", data=form, timeout=10)
        assert home.status_code == 200, home.text
        token = home.json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        proof = "/api/v1/apps/verify_credentials"
        assert requests.get(one + proof, headers=headers, timeout=10).status_code == 200
        assert requests.get(two + proof, headers=headers, timeout=10).status_code == 401
    asked = {"response_type": "code", "client_id": client_id, "redirect_uri": OUT_OF_BAND, "scope": "read"}
    assert requests.get(one + "/oauth/authorize", params=asked, timeout=10).status_code == 200
    away = requests.get(two + "/oauth/authorize", params=asked, timeout=10)
    assert away.status_code in (400, 401) and "<form" not in away.text, away.text[-600:]


def second_url(node: Installation) -> str:
    port = urllib.parse.urlparse(node.url).port
    return f"http://second.localhost:{port}"


def main(begin=Node) -> None:
    """`begin` starts what is tested, with its data in a directory: one process, or a cluster."""
    with tempfile.TemporaryDirectory() as folder:
        node = begin(pathlib.Path(folder) / "data")
        try:
            day(node.url)
            sign_in_with_pkce(node.url)
            two_servers(node)
        except BaseException:
            print(node.last_words())
            raise
        finally:
            code = node.stop()
    assert code == 0, f"the stop exited with {code}"
    print("Mastodon.py: a day, two servers: passed")


if __name__ == "__main__":
    main()
