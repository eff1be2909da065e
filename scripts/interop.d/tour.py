"""Runs Keyward through rotations and revocations; every client library judges every token at every step."""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
KEYWARD = os.environ["KEYWARD_BIN"]
ISSUER = "http://localhost:8080"
# The programs that judge, and how many libraries each of them asks.
CLIENTS = [([sys.executable, str(HERE / "verify.py")], 2), (["node", str(HERE / "verify.mjs")], 1)]


class Failed(Exception):
    """Nothing further can be checked."""


class Tally:
    passed = 0
    failed = 0

    def line(self, text):
        print(text, flush=True)
        self.passed += text.startswith("ok ")
        self.failed += text.startswith("not ok ")

    def check(self, name, holds, why=""):
        self.line(f"ok {name}" if holds else f"not ok {name}: {why}")


tally = Tally()


class Service:
    """The binary on free ports, with folders of its own."""

    def __init__(self, home):
        self.home = home
        self.place = ["--data-dir", str(home / "data"), "--keys-dir", str(home / "keys")]
        self.log = home / "serve.log"
        self.process = None
        self.base = ""

    def start(self):
        ready = self.home / "ready.json"
        flags = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--ready-file", str(ready)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [KEYWARD, "serve", *flags, "--issuer", ISSUER, *self.place], stdout=log, stderr=log
            )
        self.base = until(lambda: self.address(ready), 60, "the ready file")

    def address(self, ready):
        if self.process.poll() is not None:
            raise Failed(f"keyward serve ended with {self.process.returncode}")
        try:
            return json.loads(ready.read_text())["public"][0].rstrip("/")
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=30)
            tally.check("the service ends with 0 on SIGTERM", code == 0, f"exit code {code}")
        except subprocess.TimeoutExpired:
            self.process.kill()
            tally.check("the service ends with 0 on SIGTERM", False, "still running after 30 s")

    def command(self, *words, stdin=None):
        done = subprocess.run(
            [KEYWARD, *self.place, *words], input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise Failed(f"keyward {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")

    def request(self, method, path, body=None, bearer=None):
        """Status and body; a refusal is an answer too."""
        request = urllib.request.Request(self.base + path, method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if bearer is not None:
            request.add_header("Authorization", f"Bearer {bearer}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.read().decode()

    def tokens(self, path, body):
        status, answer = self.request("POST", path, body)
        if status != 200:
            raise Failed(f"POST {path} answered {status}: {answer}")
        return answer

    def published(self):
        status, answer = self.request("GET", "/.well-known/jwks.json")
        if status != 200:
            raise Failed(f"the JWKS answered {status}: {answer}")
        return [key["kid"] for key in answer["keys"]]


def until(probe, seconds, what):
    """The first true value of the probe."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := probe():
            return value
        time.sleep(0.05)
    raise Failed(f"waited {seconds} s for {what}")


def kid(token):
    import jwt

    return jwt.get_unverified_header(token)["kid"]


def forged(token):
    """The same token with one bit of the signature's first byte turned."""
    head, _, signature = token.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def judge(when, jwks, cases):
    """Puts every case (what must happen, its name, the token) to every client library."""
    task = {
        "jwks": jwks,
        "issuer": ISSUER,
        "audience": ISSUER,
        "cases": [{"expect": expect, "name": f"{when}: {name}", "token": token} for expect, name, token in cases],
    }
    for client, libraries in CLIENTS:
        done = subprocess.run(client, input=json.dumps(task), capture_output=True, text=True, timeout=120, check=False)
        lines = done.stdout.splitlines()
        for line in lines:
            tally.line(line)
        if done.returncode != 0 or len(lines) != libraries * len(cases):
            name = Path(client[-1]).name
            raise Failed(f"{name} ended with {done.returncode} after {len(lines)} lines: {done.stderr}")


def tour(service):
    password = secrets.token_urlsafe(18)
    login = {"identifier": "alice", "password": password}
    service.start()
    url = f"{service.base}/.well-known/jwks.json"
    service.command("user", "add", "alice", "--password-stdin", stdin=password)

    def follows(seen, what):
        """The server follows commands on the store within a second; a slow machine is given ten."""
        until(lambda: seen(service.published()), 10, what)

    first = service.tokens("/v1/login", login)
    old = first["access_token"]
    judge("before the rotation", url, [
        ("accept", "a token is accepted", old),
        ("signature", "a forged signature is refused", forged(old)),
        ("audience", "a token for somebody else is refused", old),
        ("issuer", "a token of somebody else is refused", old),
    ])
    early = service.home / "jwks-before.json"
    early.write_text(json.dumps(service.request("GET", "/.well-known/jwks.json")[1]))

    service.command("keys", "rotate", "--force")
    follows(lambda kids: kids[0] != kid(old), "the server to sign with the next key")
    new = service.tokens("/v1/login", login)["access_token"]
    refreshed = service.tokens("/v1/refresh", {"refresh_token": first["refresh_token"]})["access_token"]
    tally.check("a login after the rotation is signed with another key", kid(new) != kid(old), kid(new))
    tally.check("a refresh after the rotation is signed with that key", kid(refreshed) == kid(new), kid(refreshed))
    both = [
        ("accept", "a token of the old key is accepted", old),
        ("accept", "a token of the new key is accepted", new),
        ("accept", "a refreshed token is accepted", refreshed),
    ]
    judge("during the rotation", url, both)
    judge("during the rotation, JWKS cached before it", str(early), both)
    status, _ = service.request("GET", "/v1/me", bearer=old)
    tally.check("the service itself accepts a token of the old key", status == 200, status)

    # A key id is base64url, so one in 64 begins with a hyphen.
    service.command("keys", "revoke", "--compromised", "--", kid(old))
    follows(lambda kids: kid(old) not in kids, "the revoked key to leave the JWKS")
    judge("after the old key's revocation", url, [
        ("unknown-key", "a token of the revoked key is refused", old),
        ("accept", "a token of the other key is accepted", new),
    ])
    status, _ = service.request("GET", "/v1/me", bearer=old)
    tally.check("the service itself refuses a token of the revoked key", status == 401, status)

    service.command("keys", "revoke", "--compromised", "--", kid(new))
    follows(lambda kids: kid(new) not in kids, "the revoked active key to leave the JWKS")
    last = service.tokens("/v1/login", login)["access_token"]
    judge("after the active key's revocation", url, [
        ("unknown-key", "a token of the revoked key is refused", new),
        ("unknown-key", "a token of the key revoked earlier is still refused", old),
        ("accept", "a token of the key that took over is accepted", last),
    ])


def main():
    with tempfile.TemporaryDirectory(prefix="keyward-interop-") as home:
        service = Service(Path(home))
        try:
            try:
                tour(service)
            finally:
                service.stop()
        except (Failed, OSError, KeyError, ValueError, subprocess.TimeoutExpired) as cause:
            tally.line(f"not ok the tour stopped: {type(cause).__name__}: {cause}")
        if tally.failed and service.log.exists():
            print("---- the service's log, its end")
            print("\n".join(service.log.read_text(errors="replace").splitlines()[-40:]))
    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
