// SPDX-License-Identifier: MIT

/**
 * Does as it is told with one key: `acquire` says "held" when it has it, "asked" when somebody wants it, "lost" when it has
 * lost it; `check` says whether it is held; `release`; `leave`. With a third argument it cannot read what tells its host.
 *
 * @module
 */

import promises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { LockFiles, type LockFilesHold } from '../../lib/lock-files.ts'

const [, , directory = '', key = '', anonymous] = process.argv

if (anonymous !== undefined) {
  promises.readFile = () => Promise.reject(new Error('EACCES'))
  syncBuiltinESMExports()
}
const locks = await LockFiles.open(directory)
let hold: LockFilesHold | undefined
process.on('message', async (command) => {
  if (command === 'acquire') {
    process.send?.('acquiring')
    hold = await locks.acquire(key, { onReleaseRequest: () => process.send?.('asked'), onLost: () => process.send?.('lost') })
    process.send?.('held')
  } else if (command === 'check') {
    process.send?.(String(await hold?.isHeld()))
  } else if (command === 'release') {
    await hold?.release()
    process.send?.('released')
  } else {
    process.disconnect?.() // all that kept it alive, if locks do not
  }
})
process.send?.('open')
