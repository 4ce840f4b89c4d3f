// A provider of OpenID Connect for the tests: `node provider.mjs PORT REDIRECT SIGNED_OUT`.
//
// Whoever signs in may have any name and any password. What it says of them is in the table below, and of
// anybody else their name alone.

import {Provider} from 'oidc-provider';

const [port, redirect, signedOut] = process.argv.slice(2);

const PEOPLE = {
  ada: {email: 'ada@example.com', email_verified: true, groups: ['staff', 'sre']},
  grace: {email: 'grace@example.com', email_verified: true, groups: ['staff', 'support']},
  alan: {email: 'alan@example.com', email_verified: true, groups: ['staff']},
  eve: {email: 'ada@example.com', email_verified: false, groups: []},
};

const client = (id, more) => ({
  client_id: id,
  client_secret: 'a secret of 32 characters or more.',
  redirect_uris: [redirect],
  post_logout_redirect_uris: [signedOut],
  ...more,
});

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    // Takes the secret in a header.
    client('console'),
    // Has none.
    client('public', {client_secret: undefined, token_endpoint_auth_method: 'none'}),
  ],
  findAccount: (_, id) => ({accountId: id, claims: () => ({sub: id, ...PEOPLE[id]})}),
  claims: {openid: ['sub'], email: ['email', 'email_verified'], profile: [], groups: ['groups']},
  // As the standard has it, claims are told at UserInfo, and not in the id token.
  conformIdTokenClaims: true,
  // Nobody is asked whether the console may know them.
  async loadExistingGrant({oidc}) {
    const grant = new oidc.provider.Grant({
      clientId: oidc.client.clientId,
      accountId: oidc.session.accountId,
    });
    grant.addOIDCScope('openid email profile groups');
    await grant.save();
    return grant;
  },
  pkce: {required: () => true},
  cookies: {keys: ['for tests alone']},
});

provider.listen(Number(port), '127.0.0.1');
