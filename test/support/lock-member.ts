// SPDX-License-Identifier: MIT

/**
 * One of those that fight for keys, in a process of its own. A message is a list: what to do, with which key, and
 * a number that the answer repeats. `acquire` and `try` are answered with "<n> in" or "<n> no" when it has the key or
 * does not get it, `release` with "<n> out". `pass` moves its clock on, by so many milliseconds in place of a key.
 * What must not happen is sent as "fault …".
 *
 * @module
 */

import { LockFiles, type LockFilesHold } from '../../lib/lock-files/lock-files.ts'
import { LockLedger } from './lock-ledger.ts'

const [, , directory = '', marks = ''] = process.argv

let nowMs = performance.now()
performance.now = () => nowMs

const locks = await LockFiles.open(directory)
const ledger = new LockLedger({ directory, marks, name: String(process.pid), onFault: (fault) => process.send?.(`fault ${fault}`) })
const ends = new Map<string, () => void>()

async function stay(key: string, number: string, hold: LockFilesHold): Promise<void> {
  await ledger.section(key, hold, () => {
    process.send?.(`${number} in`)
    return new Promise((resolve) => ends.set(number, resolve))
  })
  await hold.release()
  ledger.audit()
  process.send?.(`${number} out`)
}

process.on('message', async (message: string) => {
  const [what = '', key = '', number = ''] = message.split(' ')
  if (what === 'pass') return void (nowMs += Number(key))
  if (what === 'release') return ends.get(number)?.()
  const hold = what === 'try' ? await locks.tryAcquire(key) : await locks.acquire(key)
  if (hold) await stay(key, number, hold)
  else process.send?.(`${number} no`)
})
process.send?.('open')
