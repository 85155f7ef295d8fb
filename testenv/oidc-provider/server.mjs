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
    client_secret: client.secret || undefined,
    token_endpoint_auth_method: client.authMethod,
    token_endpoint_auth_signing_alg: client.signingAlg ?? undefined,
    // A native application may request offline access and use a redirect URI with any port of its own machine.
    application_type: client.redirectUris.length ? 'native' : 'web',
    grant_types: client.grants,
    redirect_uris: client.redirectUris,
    response_types: client.redirectUris.length ? ['code'] : [],
    scope: client.scopes.join(' ') || undefined,
    jwks: client.jwks ?? undefined,
    tls_client_auth_subject_dn: client.tlsSubject ?? undefined,
  })),
  clientAuthMethods: [
    'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth', 'none',
  ],
  enabledJWA: { clientAuthSigningAlgValues: [
    'HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519',
  ] },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: (_ctx, client, code) => client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
  expiresWithSession: () => false,
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, preferred_username: id }) }),
  interactions: { url: (_ctx, interaction) => `/__interaction/${interaction.uid}` },
  jwks: { keys: [key] },
  scopes: [...scopes, 'openid', 'offline_access'],
  ttl: {
    AccessToken: config.tokenTtlSeconds,
    DeviceCode: 600,
    AuthorizationCode: 60,
    RefreshToken: 86400,
    Grant: 86400,
    Session: 86400,
    IdToken: 3600,
    Interaction: 600,
    ClientCredentials: (_ctx, token) => token.resourceServer?.accessTokenTTL ?? config.tokenTtlSeconds,
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    deviceFlow: { enabled: true },
    revocation: { enabled: true, allowedPolicy: () => true },
    // A client may change its own registration. Each change returns another registration access token.
    registration: { enabled: true },
    registrationManagement: { enabled: true, rotateRegistrationAccessToken: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: false,
      tlsClientAuth: true,
      selfSignedTlsClientAuth: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate?.()?.toString(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches(ctx, property, expected) {
        const { subject = '' } = ctx.socket.getPeerX509Certificate() ?? {};
        return property === 'tls_client_auth_subject_dn' && subject.split('\n').reverse().join(',') === expected;
      },
    },
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

// Which client sent the request, and with which authentication method. The package accepts both methods for a secret,
// so a test of the method must read this record.
function caller(ctx) {
  const [scheme, value = ''] = ctx.get('authorization').split(' ');
  const params = ctx.oidc?.params ?? {};
  if (scheme.toLowerCase() === 'basic') {
    const name = Buffer.from(value, 'base64').toString().split(':')[0];
    return { clientId: ctx.oidc?.client?.clientId ?? name, authMethod: 'client_secret_basic' };
  }
  const clientId = ctx.oidc?.client?.clientId ?? params.client_id ?? '';
  if (params.client_secret) return { clientId, authMethod: 'client_secret_post' };
  if (params.client_assertion) {
    const header = Buffer.from(params.client_assertion.split('.')[0], 'base64url').toString();
    return { clientId, authMethod: /"alg":"HS/.test(header) ? 'client_secret_jwt' : 'private_key_jwt' };
  }
  const registered = ctx.oidc?.client?.clientAuthMethod ?? '';
  return { clientId, authMethod: registered.includes('tls') ? registered : 'none' };
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

// The only user consents to every request at once.
async function grantOf(clientId, scope, grantId) {
  const grant = (grantId && await provider.Grant.find(grantId)) || new provider.Grant({ accountId: config.account, clientId });
  grant.addOIDCScope(scope);
  return grant.save();
}

async function interact(request, response) {
  const { prompt, params, grantId } = await provider.interactionDetails(request, response);
  const result = prompt.name === 'login'
    ? { login: { accountId: config.account } }
    : { consent: { grantId: await grantOf(params.client_id, params.scope, grantId) } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

async function read(request) {
  let body = '';
  for await (const chunk of request) body += chunk;
  return JSON.parse(body);
}

// What the browser's end of the device flow leaves behind.
async function approveDevice({ userCode, deny }) {
  const code = await provider.DeviceCode.findByUserCode(userCode.toUpperCase().replace(/\W/g, ''));
  if (!code) return { found: false };
  if (deny) {
    Object.assign(code, { error: 'access_denied', errorDescription: 'denied' });
  } else {
    const { scope } = code.params;
    Object.assign(code, {
      accountId: config.account,
      authTime: Math.floor(Date.now() / 1000),
      grantId: await grantOf(code.clientId, scope),
      scope,
      claims: {},
    });
  }
  await code.save();
  return { found: true };
}

// A refresh token as a sign-in leaves it.
async function signIn({ clientId, scope }) {
  const client = await provider.Client.find(clientId);
  const token = new provider.RefreshToken({
    accountId: config.account,
    client,
    grantId: await grantOf(clientId, scope),
    gty: 'authorization_code',
    scope,
    authTime: Math.floor(Date.now() / 1000),
    expiresWithSession: false,
    claims: {},
  });
  return { refreshToken: await token.save() };
}

async function alive({ refreshToken }) {
  const token = await provider.RefreshToken.find(refreshToken);
  const grant = token && await provider.Grant.find(token.grantId);
  return { alive: Boolean(token?.isValid && grant) };
}

const controls = { '/__device': approveDevice, '/__sign_in': signIn, '/__alive': alive };
const handle = provider.callback();
async function serve(request, response) {
  const control = controls[request.url];
  if (request.method === 'GET' && request.url === '/__requests') reply(response, 200, [...seen.values()]);
  else if (request.method === 'POST' && request.url === '/__verify') await verify(request, response);
  else if (request.url.startsWith('/__interaction/')) await interact(request, response);
  else if (request.method === 'POST' && control) reply(response, 200, await control(await read(request)));
  else handle(request, response);
}

const server = createServer(
  {
    cert: readFileSync(config.certificateFile),
    key: readFileSync(config.privateKeyFile),
    // Requested and not required: most clients have no certificate. One that no authority vouches for is recognised
    // by `authorized`.
    requestCert: true,
    rejectUnauthorized: false,
    ca: config.clientCa || undefined,
  },
  (request, response) => serve(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) reply(response, 500, { error: String(error) });
  }),
);
server.listen(config.port, '127.0.0.1');
