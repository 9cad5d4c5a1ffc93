// SPDX-License-Identifier: MIT

/**
 * What uploads consist of: bytes that follow from a key and their position, so that any stretch of any
 * upload can be made or checked without keeping it.
 *
 * @module
 */

import { createCipheriv, createHash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

const BLOCK_BYTES = 16
const COMPARE_BYTES = 1024 * 1024

/** The bytes from `start` up to and without `end` of the upload with that key. */
export function contentOf(key: string, start: number, end: number): Buffer {
  const firstBlock = Math.floor(start / BLOCK_BYTES)
  const counter = Buffer.alloc(BLOCK_BYTES)
  counter.writeBigUInt64BE(BigInt(firstBlock), 8)
  const cipher = createCipheriv('aes-128-ctr', createHash('sha256').update(key).digest().subarray(0, BLOCK_BYTES), counter)
  return cipher.update(Buffer.alloc(end - firstBlock * BLOCK_BYTES)).subarray(start - firstBlock * BLOCK_BYTES)
}

/** The size of the file, and the position of its first byte that is not the upload's; `undefined` if all are. */
export function compareFile(path: string, key: string): { readonly size: number; readonly wrongAt: number | undefined } {
  const file = openSync(path, 'r')
  try {
    const { size } = fstatSync(file)
    const stored = Buffer.allocUnsafe(Math.min(size, COMPARE_BYTES))
    for (let at = 0; at < size; ) {
      const bytes = stored.subarray(0, readSync(file, stored, 0, stored.length, at))
      const expected = contentOf(key, at, at + bytes.length)
      if (!bytes.equals(expected)) return { size, wrongAt: at + bytes.findIndex((byte, index) => byte !== expected[index]) }
      at += bytes.length
    }
    return { size, wrongAt: undefined }
  } finally {
    closeSync(file)
  }
}
