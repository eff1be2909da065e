"""PyJWT and Authlib judge tokens. Standard input: {jwks, issuer, audience, cases}; one line per case and library."""

import json
import sys
import urllib.request
import warnings

import jwt

with warnings.catch_warnings():
    # Authlib announces that its JOSE part moves to joserfc; until it does, it is what people use.
    warnings.simplefilter("ignore")
    from authlib.jose import JsonWebKey, JsonWebToken
    from authlib.jose.errors import BadSignatureError, InvalidClaimError

ELSEWHERE = "https://elsewhere.example"


def document(source):
    if source.startswith("http"):
        with urllib.request.urlopen(source, timeout=30) as answer:
            return json.load(answer)
    with open(source, encoding="utf-8") as file:
        return json.load(file)


def pyjwt(task):
    """A fetched JWKS through PyJWKClient, as its documentation shows; a cached one through PyJWKSet."""
    source = task["jwks"]
    if source.startswith("http"):
        key_of = jwt.PyJWKClient(source).get_signing_key_from_jwt
    else:
        cached = jwt.PyJWKSet.from_dict(document(source))
        key_of = lambda token: cached[jwt.get_unverified_header(token)["kid"]]

    def verdict(token, issuer, audience):
        try:
            header = jwt.get_unverified_header(token)
            if header.get("typ") != "at+jwt":
                return f"typ {header.get('typ')}"
            required = ["exp", "iat", "iss", "aud", "sub", "jti"]
            jwt.decode(
                token, key_of(token), algorithms=["RS256"], issuer=issuer, audience=audience,
                options={"require": required},
            )
            return "accept"
        except (jwt.PyJWKClientError, KeyError):
            return "unknown-key"
        except jwt.InvalidSignatureError:
            return "signature"
        except jwt.InvalidAudienceError:
            return "audience"
        except jwt.InvalidIssuerError:
            return "issuer"

    return verdict


def authlib(task):
    keys = JsonWebKey.import_key_set(document(task["jwks"]))

    def verdict(token, issuer, audience):
        wanted = {
            "iss": {"essential": True, "value": issuer},
            "aud": {"essential": True, "value": audience},
            "exp": {"essential": True},
            "sub": {"essential": True},
        }
        try:
            claims = JsonWebToken(["RS256"]).decode(token, keys, claims_options=wanted)
            claims.validate()
            return "accept"
        except BadSignatureError:
            return "signature"
        except InvalidClaimError as refusal:
            return {"aud": "audience", "iss": "issuer"}.get(refusal.claim_name, refusal.claim_name)
        except ValueError as refusal:
            return "unknown-key" if str(refusal) == "Key not found" else str(refusal)

    return verdict


def main():
    task = json.load(sys.stdin)
    for library, make in (("PyJWT", pyjwt), ("Authlib", authlib)):
        verdict = make(task)
        for case in task["cases"]:
            expect = case["expect"]
            issuer = ELSEWHERE if expect == "issuer" else task["issuer"]
            audience = ELSEWHERE if expect == "audience" else task["audience"]
            try:
                found = verdict(case["token"], issuer, audience)
            except Exception as cause:  # what no library should throw here is a failed case, not a lost run
                found = f"{type(cause).__name__}: {cause}"
            name = f"{library}: {case['name']}"
            print(f"ok {name}" if found == expect else f"not ok {name}: expected {expect}, found {found}")


if __name__ == "__main__":
    main()
