// ts-mls behind JSON lines: one request per line on stdin, one answer per line on stdout. Byte strings are hex.
// A peer outside our code base, so that what we call MLS is not only what we agree upon with ourselves.

import { createInterface } from "node:readline"
import { hex, mls, suites, SUITE_X25519, SUITE_X_WING, xWingSuite } from "./suites.mjs"

const unhex = (text) => new Uint8Array(Buffer.from(text, "hex"))

// --- one client ---

const POLICY = 0xf0a0
const WELCOME_CHANNEL = 0xf0a1
const LIFETIME = 0xf0a2

const capabilities = {
  versions: [mls.protocolVersions.mls10],
  ciphersuites: [SUITE_X_WING, SUITE_X25519],
  extensions: [10, POLICY, WELCOME_CHANNEL, LIFETIME],
  proposals: [],
  credentials: [mls.defaultCredentialTypes.basic],
}

let context
let keys
let state

function decoded(message, wireformat) {
  const value = mls.decode(mls.mlsMessageDecoder, unhex(message))
  if (value === undefined || value.wireformat !== mls.wireformats[wireformat]) throw new Error(`not ${wireformat}`)
  return value
}

const encoded = (message) => hex(mls.encode(mls.mlsMessageEncoder, message))

const operations = {
  async start({ suite, name, kemId, grease }) {
    const cipherSuite = kemId === undefined ? suites[suite] : xWingSuite(kemId)
    context = { cipherSuite, authService: mls.unsafeTestingAuthenticationService }
    const lifetime = Buffer.alloc(16)
    lifetime.writeBigUInt64BE(1_700_000_000n, 0)
    lifetime.writeBigUInt64BE(1_900_000_000n, 8)
    keys = await mls.generateKeyPackage({
      cipherSuite,
      credential: { credentialType: mls.defaultCredentialTypes.basic, identity: unhex(name) },
      capabilities: grease ? { ...capabilities, extensions: [...capabilities.extensions, 0x1a1a] } : capabilities,
      lifetime: { notBefore: 0n, notAfter: 2n ** 63n - 1n },
      extensions: [mls.makeCustomExtension({ extensionType: LIFETIME, extensionData: new Uint8Array(lifetime) })],
      leafNodeExtensions: [],
    })
    const message = {
      version: mls.protocolVersions.mls10,
      wireformat: mls.wireformats.mls_key_package,
      keyPackage: keys.publicPackage,
    }
    return { keyPackage: encoded(message) }
  },

  async create({ groupId, policy }) {
    state = await mls.createGroup({
      context,
      groupId: unhex(groupId),
      keyPackage: keys.publicPackage,
      privateKeyPackage: keys.privatePackage,
      extensions: [
        {
          extensionType: mls.defaultExtensionTypes.required_capabilities,
          extensionData: {
            extensionTypes: [POLICY],
            proposalTypes: [],
            credentialTypes: [mls.defaultCredentialTypes.basic],
          },
        },
        mls.makeCustomExtension({ extensionType: POLICY, extensionData: unhex(policy) }),
      ],
    })
    return {}
  },

  async join({ welcome }) {
    state = await mls.joinGroup({
      context,
      welcome: decoded(welcome, "mls_welcome").welcome,
      keyPackage: keys.publicPackage,
      privateKeys: keys.privatePackage,
    })
    return {}
  },

  // Proposals are merged at once: ts-mls has no pending commit.
  async commit({ adds = [], removes = [], aad = "" }) {
    const { add, remove } = mls.defaultProposalTypes
    const result = await mls.createCommit({
      context,
      state,
      ratchetTreeExtension: true,
      authenticatedData: unhex(aad),
      extraProposals: [
        ...removes.map((removed) => ({ proposalType: remove, remove: { removed } })),
        ...adds.map((message) => ({
          proposalType: add,
          add: { keyPackage: decoded(message, "mls_key_package").keyPackage },
        })),
      ],
    })
    state = result.newState
    return { commit: encoded(result.commit), welcome: result.welcome ? encoded(result.welcome) : null }
  },

  async say({ plaintext, aad = "" }) {
    const result = await mls.createApplicationMessage({
      context,
      state,
      message: unhex(plaintext),
      authenticatedData: unhex(aad),
    })
    state = result.newState
    return { message: encoded(result.message) }
  },

  async process({ message }) {
    const result = await mls.processMessage({ context, state, message: decoded(message, "mls_private_message") })
    state = result.newState
    return { kind: result.kind, plaintext: result.message ? hex(result.message) : null, aad: hex(result.aad) }
  },

  async look() {
    const { keySchedule, groupContext, groupActiveState } = state
    const exported = await mls.mlsExporter(
      keySchedule.exporterSecret,
      "hana era",
      new Uint8Array([1, 2, 3]),
      32,
      context.cipherSuite,
    )
    return {
      epoch: Number(groupContext.epoch),
      active: groupActiveState.kind === "active",
      authenticator: hex(keySchedule.epochAuthenticator),
      exported: hex(exported),
      roster: mls.getGroupMembers(state).map((leaf) => hex(leaf.credential.identity)),
    }
  },

  // HPKE alone, to see where two implementations of one suite part.
  async kem({ publicKey, privateKey, ikm, enc, ciphertext }) {
    const { hpke } = context.cipherSuite
    const label = new TextEncoder().encode("interop")
    if (ikm !== undefined) {
      const pair = await hpke.deriveKeyPair(unhex(ikm))
      return { publicKey: hex(await hpke.exportPublicKey(pair.publicKey)) }
    }
    if (publicKey !== undefined) {
      const sealed = await hpke.seal(await hpke.importPublicKey(unhex(publicKey)), label, label)
      return { enc: hex(sealed.enc), ciphertext: hex(sealed.ct) }
    }
    const key = await hpke.importPrivateKey(unhex(privateKey))
    return { plaintext: hex(await hpke.open(key, unhex(enc), unhex(ciphertext), label)) }
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const { op, ...parameters } = JSON.parse(line)
  let answer
  try {
    answer = await operations[op](parameters)
  } catch (error) {
    answer = { error: error?.constructor?.name ?? "Error", text: `${error?.message ?? error}` }
  }
  process.stdout.write(JSON.stringify(answer) + "\n")
}
