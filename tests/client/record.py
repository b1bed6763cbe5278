"""Clients that write down what they ask and what they are answered, as JSON lines; they judge nothing.

One line when an operation begins (`invoke`) and one when it ends: `ok`, `fail` (it definitely did not happen) or
`unknown` (it may have). Both have wall and monotonic time. What lines mean is written in `history.py`, which reads them.
"""

import html
import http.client
import json
import pathlib
import re
import select
import threading
import time
import urllib.parse

WRITES = {
    "publish", "edit", "delete", "like", "unlike", "boost", "unboost", "follow", "unfollow", "block", "unblock", "signup",
}
ENDS = {
    "edit": ("PUT", "/api/v1/statuses/{post}"), "delete": ("DELETE", "/api/v1/statuses/{post}"),
    "like": ("POST", "/api/v1/statuses/{post}/favourite"), "unlike": ("POST", "/api/v1/statuses/{post}/unfavourite"),
    "boost": ("POST", "/api/v1/statuses/{post}/reblog"), "unboost": ("POST", "/api/v1/statuses/{post}/unreblog"),
    "follow": ("POST", "/api/v1/accounts/{whom}/follow"), "unfollow": ("POST", "/api/v1/accounts/{whom}/unfollow"),
    "block": ("POST", "/api/v1/accounts/{whom}/block"), "unblock": ("POST", "/api/v1/accounts/{whom}/unblock"),
    "publish": ("POST", "/api/v1/statuses"), "signup": ("POST", "/api/v1/accounts"),
    "home": ("GET", "/api/v1/timelines/home"), "posts": ("GET", "/api/v1/accounts/{whom}/statuses"),
    "notifications": ("GET", "/api/v1/notifications"), "show": ("GET", "/api/v1/statuses/{post}"),
    "thread": ("GET", "/api/v1/statuses/{post}/context"), "likers": ("GET", "/api/v1/statuses/{post}/favourited_by"),
    "boosters": ("GET", "/api/v1/statuses/{post}/reblogged_by"), "lookup": ("GET", "/api/v1/accounts/lookup"),
    "account": ("GET", "/api/v1/accounts/{whom}"), "whoami": ("GET", "/api/v1/accounts/verify_credentials"),
    "relationships": ("GET", "/api/v1/accounts/relationships"),
}
# How often whoever reads all pages comes again if told so.
PATIENCE = 20
LISTS = {"home": 40, "posts": 40, "notifications": 80, "likers": 80, "boosters": 80}


class Recorder:
    """The file. Lines stand in the order in which they were written, whoever writes."""

    def __init__(self, path: pathlib.Path):
        self.path, self.file, self.lock, self.count = path, open(path, "w"), threading.Lock(), 0

    def write(self, what: str, **fields) -> None:
        line = {"is": what, "mono": round(time.monotonic(), 6), "wall": round(time.time(), 6)} | fields
        with self.lock:
            self.file.write(json.dumps(line, separators=(",", ":")) + "\n")

    def number(self) -> int:
        with self.lock:
            self.count += 1
            return self.count

    def close(self) -> None:
        self.file.close()


def plain(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", text))


def item(status: dict) -> dict:
    """What checkers want of a post or boost."""
    return {
        "id": status["id"], "by": status["account"]["id"], "text": plain(status["content"]),
        "boost": item(status["reblog"]) if status["reblog"] else None,
        "re": status["in_reply_to_id"], "vis": status["visibility"], "names": [one["id"] for one in status["mentions"]],
        "liked": status.get("favourited"), "boosted": status.get("reblogged"),
        "counts": [status["favourites_count"], status["reblogs_count"], status["replies_count"]],
    }


def note(one: dict) -> dict:
    return {
        "id": one["id"], "type": one["type"], "by": one["account"]["id"],
        "post": one["status"] and one["status"]["id"], "text": one["status"] and plain(one["status"]["content"]),
    }


def relation(one: dict) -> dict:
    return {"whom": one["id"], "follows": one["following"], "followed": one["followed_by"], "blocks": one["blocking"]}


def shaped(do: str, body) -> dict:
    """The part of an answer that is kept."""
    if do in ("publish", "edit", "show", "boost", "like", "unlike", "unboost"):
        return {"item": item(body)}
    if do in ("home", "posts"):
        return {"items": [item(one) for one in body]}
    if do == "thread":
        return {"above": [item(one) for one in body["ancestors"]], "items": [item(one) for one in body["descendants"]]}
    if do == "notifications":
        return {"notes": [note(one) for one in body]}
    if do in ("likers", "boosters"):
        return {"accounts": [one["id"] for one in body]}
    if do in ("follow", "unfollow", "block", "unblock"):
        return {"relations": [relation(body)]}
    if do == "relationships":
        return {"relations": [relation(one) for one in body]}
    if do in ("account", "whoami", "lookup"):
        counts = [body["statuses_count"], body["followers_count"], body["following_count"]]
        return {"account": body["id"], "handle": body["username"], "counts": counts}
    if do == "signup":
        return {"token": body["access_token"]}
    return {}


class Session:
    """One client of one account, which asks one thing after the other over one connection."""

    def __init__(self, recorder: Recorder, name: str, server: str, token: str, account: str = ""):
        self.recorder, self.name, self.server = recorder, name, server
        self.token, self.account, self.handle = token, account, name
        self.port, self.host, self.connection = 0, "", None

    def reach(self, port: int, host: str) -> None:
        """Where the server is from now on."""
        self.port, self.host, self.connection = port, host, None

    def _let_go(self) -> None:
        """Lets a kept connection go that the server has closed: nothing was asked, so what there is to read is its end. A
        server waits ten seconds for the next request."""
        if self.connection and self.connection.sock and select.select([self.connection.sock], [], [], 0)[0]:
            self.connection.close()
            self.connection = None

    def _send(self, method: str, path: str, form: dict, key: str):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            self.connection.connect()
        headers = {"Host": self.host, "Authorization": f"Bearer {self.token}"}
        body = None
        if method == "GET":
            path += "?" + urllib.parse.urlencode(form, doseq=True) if form else ""
        else:
            body = urllib.parse.urlencode(form, doseq=True)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if key:
            headers["Idempotency-Key"] = key
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def do(self, do: str, key: str = "", repeats: int = 0, form: dict | None = None, **args):
        """Does one operation and writes it down: (how it ended, what came, its number).

        `args` are sent and written down, those that begin with `_` only written down, `form` only sent.
        """
        number = self.recorder.number()
        self.recorder.write(
            "invoke", op=number, session=self.name, server=self.server, account=self.account, do=do,
            key=key or None, repeats=repeats or None, args=args,
        )
        method, path = ENDS[do]
        self._let_go()
        try:
            if self.connection is None:
                try:
                    self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                    self.connection.connect()
                except OSError:
                    self.connection = None
                    return self._end(number, "fail", 0, {"error": "refused"})
            fields = (form or {}) | {name: value for name, value in args.items() if f"{{{name}}}" not in path and name[0] != "_"}
            status, result = self._all(do, method, path.format(**args), fields, key)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.connection = None
            return self._end(number, "unknown", 0, {"error": type(error).__name__})
        if status < 300 or (status == 404 and do not in WRITES):
            return self._end(number, "ok", status, result)
        # What is not there for the actor may have vanished after the command was done, so 404 decides nothing.
        # A server that is out of order says whether it changed something, and is taken at its word.
        sure = 400 <= status < 500 and status != 404 or "othing was changed" in str(result.get("error"))
        return self._end(number, "fail" if sure else "unknown", status, result)

    def _all(self, do: str, method: str, path: str, fields: dict, key: str):
        """One request, or all pages if `all` is asked for."""
        fields = dict(fields)
        whole = fields.pop("all", False)
        limit = LISTS.get(do)
        if limit:
            fields.setdefault("limit", limit)
        gathered, after, patience = None, None, PATIENCE if whole else 0
        while True:
            status, headers, raw = self._send(method, path, fields | ({"max_id": after} if after else {}), key)
            if status == 503 and patience:
                # One page of hundreds: the others need not be asked for again.
                patience -= 1
                threading.Event().wait(0.5)
                continue
            body = json.loads(raw or b"null")
            if status >= 300:
                return status, {"absent": True} if status == 404 else {"error": str(body)[:300]}
            part = shaped(do, body)
            if not limit:
                return status, part
            name = next(iter(part))
            gathered = part if gathered is None else {name: gathered[name] + part[name]}
            after = self._next(headers)
            # A page may be short because something on it is hidden: only a page without a successor is the last.
            if not after or not whole:
                down_to = after or "0"
                return status, gathered | {"down_to": down_to}

    @staticmethod
    def _next(headers) -> str:
        found = re.search(r'<[^>]*[?&]max_id=(\d+)[^>]*>; *rel="next"', headers.get("Link", ""))
        return found.group(1) if found else ""

    def _end(self, number: int, how: str, status: int, result: dict):
        self.recorder.write(how, op=number, status=status, result=result)
        return how, result, number
