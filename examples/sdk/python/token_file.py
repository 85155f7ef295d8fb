"""Reads the token that apicred stores in a mounted Secret.

`TokenFile` is a credential for the Azure SDK (`azure.core.credentials.TokenCredential`). `call` is the same for the
standard library. Both read the file again, so a renewed token is used without a restart.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from collections import namedtuple
from datetime import datetime

# The fields of azure.core.credentials.AccessToken.
AccessToken = namedtuple("AccessToken", ["token", "expires_on"])


class TokenFile:
    """A mounted `token.json`: token and expiry come from the same update."""

    def __init__(self, path="/var/run/token/token.json"):
        self.path = path

    def get_token(self, *_scopes, **_options):
        # The scopes are those of the ApiCredential.
        with open(self.path, encoding="utf-8") as file:
            fields = json.load(file)
        expires_at = datetime.fromisoformat(fields["expires_at"].replace("Z", "+00:00"))
        return AccessToken(fields["access_token"], int(expires_at.timestamp()))


def call(url, credential):
    """GET with the token. If the API refuses it, the file may be newer: read it again and retry once."""
    for last in (False, True):
        token = credential.get_token().token
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status
        except urllib.error.HTTPError as error:
            if error.code != 401 or last:
                return error.code


if __name__ == "__main__":
    file = TokenFile(os.environ.get("TOKEN_FILE", "/var/run/token/token.json"))
    for address in sys.argv[1:]:
        print(call(address, file))
