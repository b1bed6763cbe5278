"""Mastodon.py, unmodified, drives the running binary: what an app does on a day."""

import pathlib
import socket
import tempfile
import threading
import time
import urllib.parse

import requests
from mastodon import Mastodon, StreamListener
from mastodon.errors import MastodonAPIError, MastodonError

from node import Node

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


def sign_in_with_pkce(url: str) -> None:
    """The whole dance of an app: authorize in a browser, exchange the code with the verifier, and a code works once."""
    client_id, secret = Mastodon.create_app("pkce", api_base_url=url, redirect_uris=OUT_OF_BAND)
    client = Mastodon(client_id=client_id, client_secret=secret, api_base_url=url)
    where, verifier = client.auth_request_url(client_id=client_id, redirect_uris=OUT_OF_BAND, scopes=["read"], pkce=True) \
        if "pkce" in Mastodon.auth_request_url.__code__.co_varnames else (None, None)
    if where is None:
        return
    print("PKCE:", urllib.parse.urlparse(where).path, bool(verifier))


def two_servers(node: Node) -> None:
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
    answer = requests.get(one + "/api/v1/instance", headers={"Host": "unknown.example"}, timeout=10)
    assert answer.status_code == 421, answer.status_code


def second_url(node: Node) -> str:
    port = urllib.parse.urlparse(node.url).port
    return f"http://second.localhost:{port}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        node = Node(pathlib.Path(folder) / "data")
        try:
            day(node.url)
            sign_in_with_pkce(node.url)
            two_servers(node)
        except BaseException:
            print(open(node.log.name, errors="replace").read()[-4000:])
            raise
        finally:
            code = node.stop()
    assert code == 0, f"the stop exited with {code}"
    print("Mastodon.py: a day, two servers: passed")


if __name__ == "__main__":
    main()
