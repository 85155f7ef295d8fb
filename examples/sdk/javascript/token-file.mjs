// Reads the token that apicred stores in a mounted Secret.
//
// `TokenFile` is a credential for the Azure SDK (`TokenCredential` of @azure/core-auth). `call` is the same for `fetch`.
// Both read the file again, so a renewed token is used without a restart.
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

/** A mounted `token.json`: token and expiry come from the same update. */
export class TokenFile {
  constructor(path = "/var/run/token/token.json") {
    this.path = path;
  }

  // The scopes are those of the ApiCredential.
  async getToken(_scopes, _options) {
    const fields = JSON.parse(await readFile(this.path, "utf8"));
    return { token: fields.access_token, expiresOnTimestamp: Date.parse(fields.expires_at) };
  }
}

/** GET with the token. If the API refuses it, the file may be newer: read it again and retry once. */
export async function call(url, credential) {
  for (const last of [false, true]) {
    const { token } = await credential.getToken();
    const response = await fetch(url, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(30_000),
    });
    await response.arrayBuffer();
    if (response.status !== 401 || last) return response.status;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const file = new TokenFile(process.env.TOKEN_FILE);
  for (const url of process.argv.slice(2)) console.log(await call(url, file));
}
