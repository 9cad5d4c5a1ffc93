// SPDX-License-Identifier: MIT

/**
 * What longhaul's options cost, each alone, against longhaul without them.
 *
 * @module
 */

import { createHash } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { CHUNK, createUpload, repeat, sendBody } from '../client.ts'
import { withContenders, type Contender, type ContenderDescription } from '../contender.ts'
import { takeTurns, type Measured, type Row, type Setting } from '../row.ts'

const MIB = 1024 ** 2
const GIB = 1024 ** 3
const SMALL_BYTES = 1024
const TUS = { 'Tus-Resumable': '1.0.0' }
/** Where the compiled benchmark is: on a disk, while contenders usually keep their files in memory. */
const ON_DISK = fileURLToPath(new URL('.', import.meta.url))

const LONGHAUL: ContenderDescription = { name: 'longhaul', program: 'longhaul' }
/** Its server is the same: whoever sends a checksum has it verified. */
const SHA256: ContenderDescription = { ...LONGHAUL, name: 'longhaul, sha256' }
const SYNC_NONE: ContenderDescription = { ...LONGHAUL, name: "longhaul, sync 'none'", words: ['--sync', 'none'] }
const SYNC_APPEND: ContenderDescription = { ...LONGHAUL, name: "longhaul, sync 'append'", words: ['--sync', 'append'] }
const LOCK_FILES: ContenderDescription = { ...LONGHAUL, name: 'longhaul, LockFiles', words: ['--lock', 'file'] }

export const rows: readonly Row[] = [
  { name: 'cost-large', title: 'One large PATCH, by options', unit: 'CPU s a GiB', measure: measureLarge, targets: [] },
  { name: 'cost-small', title: 'POST with 1 KiB, by options', unit: 'CPU ms', measure: measureSmall, targets: [] },
  { name: 'cost-sync', title: 'POST with 1 KiB on a disk, 16 connections', unit: 'ms a request', measure: measureSync, targets: [] },
]

async function measureLarge({ directory, rounds, quick }: Setting): Promise<Measured> {
  const length = quick ? 16 * MIB : GIB
  const checksum = checksumOf(length)
  return withContenders([LONGHAUL, SHA256, SYNC_APPEND, LOCK_FILES], directory, (contenders) =>
    takeTurns(contenders, rounds, async (contender) => {
      const path = await createUpload(contender, length)
      const cpu = await contender.cpuSeconds(() => sendBody(contender, path, length, contender.name === SHA256.name ? checksum : {}))
      contender.clear()
      return cpu / (length / GIB)
    }),
  )
}

async function measureSmall({ directory, rounds, quick }: Setting): Promise<Measured> {
  const amount = quick ? 160 : 2000
  return withContenders([LONGHAUL, SHA256, SYNC_APPEND, LOCK_FILES], directory, (contenders) =>
    takeTurns(contenders, rounds, async (contender) => {
      const cpu = await contender.cpuSeconds(() => postSmall(contender, amount))
      contender.clear()
      return (cpu * 1000) / amount
    }),
  )
}

/** How long flushing takes shows on a disk only. */
async function measureSync({ rounds, quick }: Setting): Promise<Measured> {
  const amount = quick ? 160 : 500
  return withContenders([LONGHAUL, SYNC_NONE, SYNC_APPEND], ON_DISK, (contenders) => takeTurns(contenders, rounds, async (contender) => {
    const startMs = performance.now()
    await postSmall(contender, amount)
    const ms = performance.now() - startMs
    contender.clear()
    return ms / amount
  }))
}

function postSmall(contender: Contender, amount: number): Promise<void> {
  const headers = { ...TUS, 'Upload-Length': String(SMALL_BYTES), 'Content-Type': 'application/offset+octet-stream' }
  return repeat(
    contender,
    amount,
    'POST',
    '/files/',
    contender.name === SHA256.name ? { ...headers, ...checksumOf(SMALL_BYTES) } : headers,
    CHUNK.subarray(0, SMALL_BYTES),
  )
}

/** The checksum of that much of what clients send. */
function checksumOf(length: number): Readonly<Record<string, string>> {
  const hash = createHash('sha256')
  for (let left = length; left > 0; left -= CHUNK.length) hash.update(CHUNK.subarray(0, Math.min(left, CHUNK.length)))
  return { 'Upload-Checksum': `sha256 ${hash.digest('base64')}` }
}
