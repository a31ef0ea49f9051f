// The suites of our profile for ts-mls, which knows X-Wing under other ids and with SHA-512, but takes any implementation of a suite.

import { Aes256Gcm, CipherSuite, HkdfSha384 } from "@hpke/core"
import { XWing } from "@hpke/hybridkem-x-wing"
import { gcm } from "@noble/ciphers/aes.js"
import * as mls from "ts-mls"

export { mls }
export const hex = (bytes) => Buffer.from(bytes).toString("hex")
const buffer = (bytes) => mls.bytesToArrayBuffer(bytes)

export const SUITE_X25519 = 0x0001
export const SUITE_X_WING = 0x004e

export const classical = await mls.getCiphersuiteImpl("MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519")

async function hmacSha384(key, data) {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-384" }, false, ["sign"])
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, data))
}

const sha384 = {
  async digest(data) {
    return new Uint8Array(await crypto.subtle.digest("SHA-384", data))
  },
  mac: hmacSha384,
  async verifyMac(key, mac, data) {
    return hex(mac) === hex(await hmacSha384(key, data))
  },
}

const hkdfSha384 = {
  size: 48,
  extract: (salt, ikm) => hmacSha384(salt.length === 0 ? new Uint8Array(48) : salt, ikm),
  async expand(prk, info, length) {
    const blocks = []
    let block = new Uint8Array()
    for (let counter = 1; blocks.length * 48 < length; counter++) {
      block = await hmacSha384(prk, Uint8Array.from([...block, ...info, counter]))
      blocks.push(...block)
      if (blocks.length >= length) break
    }
    return Uint8Array.from(blocks.slice(0, length))
  },
}

// `kemId` is what enters HPKE's suite_id: 0x647A is the registered one, 0x004D that of older drafts.
export function xWingSuite(kemId) {
  const kem = new XWing()
  if (kemId !== undefined) kem.id = kemId
  const suite = new CipherSuite({ kem, kdf: new HkdfSha384(), aead: new Aes256Gcm() })
  const none = new ArrayBuffer(0)
  const hpke = {
    keyLength: 32,
    nonceLength: 12,
    async open(recipientKey, enc, ciphertext, info, aad) {
      const params = { recipientKey, enc: buffer(enc), info: buffer(info) }
      try {
        return new Uint8Array(await suite.open(params, buffer(ciphertext), aad ? buffer(aad) : none))
      } catch (error) {
        throw new mls.CryptoError(`${error}`)
      }
    },
    async seal(recipientPublicKey, plaintext, info, aad) {
      const params = { recipientPublicKey, info: buffer(info) }
      const { ct, enc } = await suite.seal(params, buffer(plaintext), aad ? buffer(aad) : none)
      return { ct: new Uint8Array(ct), enc: new Uint8Array(enc) }
    },
    async exportSecret(recipientPublicKey, context, length, info) {
      const sender = await suite.createSenderContext({ recipientPublicKey, info: buffer(info) })
      return { enc: new Uint8Array(sender.enc), secret: new Uint8Array(await sender.export(buffer(context), length)) }
    },
    async importSecret(recipientKey, context, enc, length, info) {
      const recipient = await suite.createRecipientContext({ recipientKey, enc: buffer(enc), info: buffer(info) })
      return new Uint8Array(await recipient.export(buffer(context), length))
    },
    importPrivateKey: (key) => suite.kem.deserializePrivateKey(buffer(key)),
    importPublicKey: (key) => suite.kem.deserializePublicKey(buffer(key)),
    exportPublicKey: async (key) => new Uint8Array(await suite.kem.serializePublicKey(key)),
    exportPrivateKey: async (key) => new Uint8Array(await suite.kem.serializePrivateKey(key)),
    encryptAead: async (key, nonce, aad, plaintext) => gcm(key, nonce, aad ?? new Uint8Array()).encrypt(plaintext),
    async decryptAead(key, nonce, aad, ciphertext) {
      try {
        return gcm(key, nonce, aad ?? new Uint8Array()).decrypt(ciphertext)
      } catch (error) {
        throw new mls.CryptoError(`${error}`)
      }
    },
    deriveKeyPair: (ikm) => suite.kem.deriveKeyPair(buffer(ikm)),
    generateKeyPair: () => suite.kem.generateKeyPair(),
  }
  const { signature, rng } = classical
  return { id: SUITE_X_WING, hash: sha384, kdf: hkdfSha384, hpke, signature, rng }
}

export const suites = { [SUITE_X25519]: classical, [SUITE_X_WING]: xWingSuite() }
