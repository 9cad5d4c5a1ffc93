// SPDX-License-Identifier: MIT

/**
 * The `Upload-Concat` header (tus section "Concatenation").
 *
 * @module
 */

/** `final`: of the uploads at these addresses, in this order. */
export type Concatenation =
  | { readonly kind: 'partial' }
  | { readonly kind: 'final'; readonly addresses: readonly string[] }

/**
 * ```
 * concat  = "partial" / "final;" address *( SP address )
 * address = 1*( %x21-7E )
 * ```
 */
const FINAL = /^final;([!-~]+(?: [!-~]+)*)$/

/** Reads the header; `undefined` means malformed. */
export function parseConcatenation(header: string): Concatenation | undefined {
  if (header === 'partial') return { kind: 'partial' }
  const [, addresses] = FINAL.exec(header) ?? []
  return addresses === undefined ? undefined : { kind: 'final', addresses: addresses.split(' ') }
}
