// A real provider of OpenID Connect on loopback for the tests (npm's oidc-provider): one client,
// whoever signs in as NAME is in the groups of GROUPS (JSON: name → groups). Prints its address.
import { createServer } from 'node:http'
import { Provider } from 'oidc-provider'

const groups = JSON.parse(process.env.GROUPS)
const server = createServer()
await new Promise((done) => server.listen(0, '127.0.0.1', done))
const issuer = `http://127.0.0.1:${server.address().port}`
const provider = new Provider(issuer, {
  clients: [{ client_id: 'hepatica', client_secret: process.env.SECRET, redirect_uris: [process.env.REDIRECT] }],
  claims: { openid: ['sub', 'groups'], profile: ['preferred_username'], email: ['email'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, groups: groups[id] ?? [] }),
  }),
  // as most providers do: what the scopes open stands in the ID token too
  conformIdTokenClaims: false,
  pkce: { required: () => true },
})
server.on('request', provider.callback())
console.log(issuer)
