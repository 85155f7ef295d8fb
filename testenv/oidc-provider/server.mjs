// An issuer made of the npm package oidc-provider, over TLS on loopback.
// Its whole configuration is the JSON file named by the first argument; src/oidc_provider.rs writes it.

import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createLocalJWKSet, jwtVerify } from 'jose';
import Provider, { errors } from 'oidc-provider';

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const issuer = `https://127.0.0.1:${config.port}`;

// Kept beside the configuration: a JWT stays valid when the issuer is stopped and started again.
function signingKey() {
  if (!existsSync(config.keyFile)) {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const jwk = { ...privateKey.export({ format: 'jwk' }), alg: 'RS256', use: 'sig', kid: 'testenv' };
    writeFileSync(config.keyFile, JSON.stringify(jwk), { mode: 0o600 });
  }
  return JSON.parse(readFileSync(config.keyFile, 'utf8'));
}
const key = signingKey();
const publicKeys = createLocalJWKSet({
  keys: [{ kty: key.kty, n: key.n, e: key.e, kid: key.kid, alg: key.alg, use: key.use }],
});

const scopes = [...new Set([
  ...config.clients.flatMap((client) => client.scopes),
  ...config.resources.flatMap((resource) => resource.scopes),
])];
const resources = new Map(config.resources.map((resource) => [resource.indicator, resource]));

const provider = new Provider(issuer, {
  clients: config.clients.map((client) => ({
    client_id: client.id,
    client_secret: client.secret,
    token_endpoint_auth_method: client.authMethod,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    scope: client.scopes.join(' ') || undefined,
  })),
  jwks: { keys: [key] },
  scopes,
  ttl: { ClientCredentials: (_ctx, token) => token.resourceServer?.accessTokenTTL ?? config.tokenTtlSeconds },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      getResourceServerInfo(_ctx, indicator) {
        const resource = resources.get(indicator);
        if (!resource) throw new errors.InvalidTarget();
        return {
          scope: resource.scopes.join(' '),
          audience: resource.audience ?? indicator,
          accessTokenTTL: resource.tokenTtlSeconds ?? config.tokenTtlSeconds,
          accessTokenFormat: resource.jwt ? 'jwt' : 'opaque',
          jwt: resource.jwt ? { sign: { alg: 'RS256' } } : undefined,
        };
      },
    },
  },
});

// Who asked and how. The package takes a secret either way, whatever the client is registered for,
// so a test that cares has to look here.
function caller(ctx) {
  const [scheme, value = ''] = ctx.get('authorization').split(' ');
  const params = ctx.oidc?.params ?? {};
  if (scheme.toLowerCase() === 'basic') {
    const name = Buffer.from(value, 'base64').toString().split(':')[0];
    return { clientId: ctx.oidc?.client?.clientId ?? name, authMethod: 'client_secret_basic' };
  }
  return { clientId: params.client_id ?? '', authMethod: params.client_secret ? 'client_secret_post' : 'none' };
}

const seen = new Map();
provider.use(async (ctx, next) => {
  await next();
  if (ctx.method !== 'POST' || ctx.path !== '/token') return;
  const line = { ...caller(ctx), status: ctx.status, error: ctx.body?.error ?? '' };
  const name = JSON.stringify(line);
  seen.set(name, { ...line, count: (seen.get(name)?.count ?? 0) + 1 });
});

function reply(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

// The package's introspection endpoint refuses JWTs, which are not stored; a resource server
// would check them by itself, and so does this.
async function verify(request, response) {
  let body = '';
  for await (const chunk of request) body += chunk;
  try {
    const { payload } = await jwtVerify(body, publicKeys, { issuer });
    reply(response, 200, { active: true, ...payload });
  } catch {
    reply(response, 200, { active: false });
  }
}

const handle = provider.callback();
const server = createServer(
  { cert: readFileSync(config.certificateFile), key: readFileSync(config.privateKeyFile) },
  (request, response) => {
    if (request.method === 'GET' && request.url === '/__requests') reply(response, 200, [...seen.values()]);
    else if (request.method === 'POST' && request.url === '/__verify') verify(request, response);
    else handle(request, response);
  },
);
server.listen(config.port, '127.0.0.1');
