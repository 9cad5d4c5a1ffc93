// SPDX-License-Identifier: MIT

/**
 * The `Upload-Checksum` header or trailer (tus section "Checksum").
 *
 * @module
 */

/** Lengths of digests in bytes, by the names that tus and `node:crypto` have in common. */
const DIGEST_BYTES: ReadonlyMap<string, number> = new Map([['sha1', 20], ['sha256', 32], ['sha512', 64], ['md5', 16]])

/** What `Tus-Checksum-Algorithm` lists. */
export const CHECKSUM_ALGORITHMS: readonly string[] = [...DIGEST_BYTES.keys()]

/** `checksum = algorithm SP base64`, base64 with its padding (RFC 4648 section 4). */
const CHECKSUM = /^([!-+\--~]+) ((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$/

/** A digest, and what it was made with. */
export interface Checksum {
  readonly algorithm: string
  readonly digest: Buffer
}

/**
 * Reads a checksum. `undefined` means malformed: an algorithm that is not supported, something that
 * is not base64, or a digest of the wrong length, as of one that was written in hexadecimal first.
 */
export function parseChecksum(text: string): Checksum | undefined {
  const [, algorithm = '', encoded = ''] = CHECKSUM.exec(text) ?? []
  const digest = Buffer.from(encoded, 'base64')
  return digest.length === DIGEST_BYTES.get(algorithm) ? { algorithm, digest } : undefined
}

/**
 * Whether a `Trailer` header announces the field (RFC 9110 section 6.6.2); names are
 * case-insensitive. A trailer that comes unannounced is ignored, as that section allows: the body
 * has been stored by then.
 */
export function announcesChecksum(trailer: string | undefined): boolean {
  return trailer !== undefined && trailer.split(',').some((name) => name.trim().toLowerCase() === 'upload-checksum')
}
