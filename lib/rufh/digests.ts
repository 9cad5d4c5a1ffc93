// SPDX-License-Identifier: MIT

/**
 * The fields `Content-Digest`, `Repr-Digest` and `Want-Repr-Digest` (RFC 9530).
 *
 * Of several digests the strongest counts. A digest of an unknown algorithm, or one that the store
 * cannot check, is ignored, as that document allows. A known algorithm with bytes that cannot be
 * its digest is an error: its sender has made a mistake, and would not learn of it otherwise.
 *
 * @module
 */

import { formatDictionary, parseDictionary } from './structured-fields.ts'

/**
 * The active algorithms (RFC 9530 section 7.2), the strongest first: their names there and in
 * `node:crypto`, and the lengths of their digests in bytes.
 */
const ALGORITHMS = [
  { key: 'sha-512', algorithm: 'sha512', bytes: 64 },
  { key: 'sha-256', algorithm: 'sha256', bytes: 32 },
] as const

/** A digest, and what it was made with by its name in `node:crypto`. */
export interface Digest {
  readonly algorithm: string
  readonly digest: Uint8Array
}

/** What a field says: no digest of a known algorithm, something malformed, or a digest. */
export type DigestField =
  | { readonly kind: 'none' }
  | { readonly kind: 'malformed' }
  | ({ readonly kind: 'digest' } & Digest)

/** Reads `Content-Digest` or `Repr-Digest`; `undefined`: there is no such field. */
export function parseDigest(text: string | undefined): DigestField {
  if (text === undefined) return { kind: 'none' }
  const members = parseDictionary(text)
  if (!members) return { kind: 'malformed' }
  for (const { key, algorithm, bytes } of ALGORITHMS) {
    const member = members.get(key)
    if (!member) continue
    if (member.type !== 'bytes' || member.value.length !== bytes) return { kind: 'malformed' }
    return { kind: 'digest', algorithm, digest: member.value }
  }
  return { kind: 'none' }
}

/**
 * Reads `Want-Repr-Digest`: the algorithm that the client likes best of those that are known, by
 * its name in `node:crypto`; `undefined` if it wants none, or the field cannot be read: it need not
 * be honoured.
 */
export function parseWantedDigest(text: string | undefined): string | undefined {
  const members = parseDictionary(text ?? '') ?? new Map<string, never>()
  let best: { readonly algorithm: string; readonly preference: number } | undefined
  for (const { key, algorithm } of ALGORITHMS) {
    const member = members.get(key)
    if (member?.type !== 'integer' || member.value < 1 || member.value > 10) continue // 0 is "not acceptable"
    if (member.value > (best?.preference ?? 0)) best = { algorithm, preference: member.value }
  }
  return best?.algorithm
}

/** Writes `Repr-Digest` for a digest in base64. */
export function formatDigest(algorithm: string, base64: string): string {
  const key = ALGORITHMS.find((each) => each.algorithm === algorithm)?.key
  return key === undefined ? '' : formatDictionary([[key, Buffer.from(base64, 'base64')]])
}
