// SPDX-License-Identifier: MIT

/** Content for uploads that shows every mix-up: no two places look alike. @module */

/** Bytes that are easy to compare and differ at every place that a mix-up could lead to. */
export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length)
  let state = seed
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    bytes[i] = state >>> 16
  }
  return bytes
}
