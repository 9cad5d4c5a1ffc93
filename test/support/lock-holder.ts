// SPDX-License-Identifier: MIT

/**
 * Obeys commands about one key. `acquire` answers "held" when it has the key, "asked" when somebody wants it, and
 * "lost" when it has lost it. `check` answers whether the key is held, by a new look. `release` and `leave` do that.
 * With a third argument it cannot read which host it is on.
 *
 * @module
 */

import promises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { LockFiles, type LockFilesHold } from '../../lib/lock-files/lock-files.ts'

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
    const nowMs = performance.now() + 51
    performance.now = () => nowMs
    process.send?.(String(await hold?.isHeld()))
  } else if (command === 'release') {
    await hold?.release()
    process.send?.('released')
  } else {
    process.disconnect?.() // all that kept it alive, if locks do not
  }
})
process.send?.('open')
