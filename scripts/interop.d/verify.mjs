// jose judges tokens. Standard input: {jwks, issuer, audience, cases}; one line per case.
import { readFileSync } from 'node:fs'
import { webcrypto } from 'node:crypto'

// Node 18, which Debian 12 has, keeps WebCrypto out of the global scope.
globalThis.crypto ??= webcrypto
const { createLocalJWKSet, createRemoteJWKSet, jwtVerify } = await import('jose')

const ELSEWHERE = 'https://elsewhere.example'
const task = JSON.parse(readFileSync(0, 'utf8'))
const keys = task.jwks.startsWith('http')
  ? createRemoteJWKSet(new URL(task.jwks))
  : createLocalJWKSet(JSON.parse(readFileSync(task.jwks, 'utf8')))

async function verdict(token, issuer, audience) {
  try {
    await jwtVerify(token, keys, {
      issuer,
      audience,
      typ: 'at+jwt',
      algorithms: ['RS256'],
      requiredClaims: ['exp', 'iat', 'sub', 'jti'],
    })
    return 'accept'
  } catch (cause) {
    if (cause.code === 'ERR_JWKS_NO_MATCHING_KEY') return 'unknown-key'
    if (cause.code === 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED') return 'signature'
    if (cause.code === 'ERR_JWT_CLAIM_VALIDATION_FAILED') return { aud: 'audience', iss: 'issuer' }[cause.claim] ?? cause.message
    return `${cause.code ?? cause.name}: ${cause.message}`
  }
}

for (const { expect, name, token } of task.cases) {
  const issuer = expect === 'issuer' ? ELSEWHERE : task.issuer
  const audience = expect === 'audience' ? ELSEWHERE : task.audience
  const found = await verdict(token, issuer, audience)
  console.log(found === expect ? `ok jose: ${name}` : `not ok jose: ${name}: expected ${expect}, found ${found}`)
}
