// SPDX-License-Identifier: MIT

/** Does as it is told with one key: `acquire` says "held" when it has it, "asked" when somebody wants it; `release`; `leave`. @module */

import { LockFiles, type LockFilesHold } from '../../lib/lock-files.ts'

const [, , directory = '', key = ''] = process.argv

const locks = await LockFiles.open(directory)
let hold: LockFilesHold | undefined
process.on('message', async (command) => {
  if (command === 'acquire') {
    process.send?.('acquiring')
    hold = await locks.acquire(key, { onReleaseRequest: () => process.send?.('asked') })
    process.send?.('held')
  } else if (command === 'release') {
    await hold?.release()
    process.send?.('released')
  } else {
    process.disconnect?.() // all that kept it alive, if locks do not
  }
})
process.send?.('open')
