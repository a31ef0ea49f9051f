// The life of a group (scenario.py) with ts-mls: `node scenario.mjs SUITES KIND SIZE WARM ADDS`, SUITES the path of suites.mjs.

import { pathToFileURL } from "node:url"

const [suitesPath, kind, ...numbers] = process.argv.slice(2)
const { mls, suites, SUITE_X25519, SUITE_X_WING } = await import(pathToFileURL(suitesPath))
const [size, warm, adds] = numbers.map(Number)
const cipherSuite = suites[kind === "ts-xwing" ? SUITE_X_WING : SUITE_X25519]
const context = { cipherSuite, authService: mls.unsafeTestingAuthenticationService }
const capabilities = {
  versions: [mls.protocolVersions.mls10],
  ciphersuites: [cipherSuite.id],
  extensions: [],
  proposals: [],
  credentials: [mls.defaultCredentialTypes.basic],
}
const figures = {}
const TEXT = new Uint8Array(200)
const MESSAGES = 20
const { add, remove } = mls.defaultProposalTypes

async function timed(name, work, count = 1) {
  const before = process.cpuUsage()
  const done = await work()
  const { user, system } = process.cpuUsage(before)
  figures[name] = (user + system) / 1e6 / count
  return done
}

let count = 0
function newcomer() {
  count += 1
  return mls.generateKeyPackage({
    cipherSuite,
    credential: {
      credentialType: mls.defaultCredentialTypes.basic,
      identity: new TextEncoder().encode(`member ${`${count}`.padStart(6, "0")}`),
    },
    capabilities,
    lifetime: { notBefore: 0n, notAfter: 2n ** 63n - 1n },
    extensions: [],
    leafNodeExtensions: [],
  })
}

const bytes = (message) => mls.encode(mls.mlsMessageEncoder, message)
const read = (message) => mls.decode(mls.mlsMessageDecoder, message)

async function commit(member, { added = [], removed = [] } = {}) {
  const result = await mls.createCommit({
    context,
    state: member.state,
    ratchetTreeExtension: true,
    authenticatedData: new Uint8Array(),
    extraProposals: [
      ...removed.map((leaf) => ({ proposalType: remove, remove: { removed: leaf } })),
      ...added.map((keys) => ({ proposalType: add, add: { keyPackage: keys.publicPackage } })),
    ],
  })
  member.state = result.newState
  return { commit: bytes(result.commit), welcome: result.welcome ? bytes(result.welcome) : undefined }
}

async function follow(member, message) {
  const result = await mls.processMessage({ context, state: member.state, message: read(message) })
  member.state = result.newState
}

async function join(keys, welcome) {
  return {
    state: await mls.joinGroup({
      context,
      welcome: read(welcome).welcome,
      keyPackage: keys.publicPackage,
      privateKeys: keys.privatePackage,
    }),
  }
}

const first = []
for (let number = 1; number < size; number++) first.push(await newcomer())
const own = await timed("KeyPackage, CPU", newcomer)
const founder = {}
founder.state = await timed("create, CPU", () =>
  mls.createGroup({
    context,
    groupId: new Uint8Array(16),
    keyPackage: own.publicPackage,
    privateKeyPackage: own.privatePackage,
    extensions: [],
  }),
)
const all = await timed("add all, CPU", () => commit(founder, { added: first }))
figures["add all, commit"] = all.commit.length
figures["add all, Welcome"] = all.welcome.length
const member = await timed("join, CPU", () => join(first[0], all.welcome))
const others = []
for (let number = 1; number <= Math.min(warm, size - 2); number++) {
  others.push(await join(first[Math.floor(((number - 0.5) * (size - 2)) / warm)], all.welcome))
}

async function change(name, what) {
  const made = await timed(`${name}, CPU`, () => commit(founder, what))
  figures[`${name}, commit`] = made.commit.length
  if (made.welcome) figures[`${name}, Welcome`] = made.welcome.length
  await timed(`${name}, another follows, CPU`, () => follow(member, made.commit))
  for (const one of others) await follow(one, made.commit)
}

async function grow(name, number) {
  const added = []
  for (let place = 0; place < number; place++) added.push(await newcomer())
  await change(name, { added })
}

await grow("add one", 1)
if (adds) await grow(`add ${adds}`, adds)
// ts-mls makes no path when it removes one member (tests/interop), so it removes two: much the same work
for (const keys of [await newcomer(), await newcomer(), await newcomer()]) {
  const made = await commit(founder, { added: [keys] })
  for (const one of [member, ...others]) await follow(one, made.commit)
}
const last = size + adds + 3
await change("remove one, cold tree", { removed: [last, last - 1] })
for (const one of others) {
  const made = await commit(one)
  for (const each of [founder, member, ...others]) if (each !== one) await follow(each, made.commit)
}
if (others.length) await change(`remove one, after ${others.length} updates`, { removed: [last - 2, last - 3] })
const messages = []
await timed(
  "message, CPU",
  async () => {
    for (let number = 0; number < MESSAGES; number++) {
      const result = await mls.createApplicationMessage({ context, state: founder.state, message: TEXT })
      founder.state = result.newState
      messages.push(bytes(result.message))
    }
  },
  MESSAGES,
)
figures["message, bytes"] = messages[0].length
await timed(
  "message read, CPU",
  async () => {
    for (const message of messages) await follow(member, message)
  },
  MESSAGES,
)
console.log(JSON.stringify(figures))
