// SPDX-License-Identifier: MIT

/**
 * The calls of the file system that the library makes, to be replaced by tests: those of `node:fs` that take
 * a callback, and those of `node:fs/promises`, all as functions that return promises.
 *
 * Importing this module puts a delegate in the place of each of them, which calls what is in {@link fileSystem}
 * at that moment. So a test replaces a property of that object, with `t.mock.method` for example, and puts it back.
 * What was opened is replaced in the prototype of `OpenFile`.
 *
 * @module
 */

import fs from 'node:fs'
import fsPromises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { promisify } from 'node:util'

type Open = (path: string, flags?: string | number, mode?: number) => Promise<number>

/** As it is called here and now. */
export const fileSystem: Pick<typeof fsPromises, 'rename' | 'rm' | 'copyFile' | 'lstat'> & { open: Open } = {
  open: promisify(fs.open) as Open,
  rename: promisify(fs.rename),
  lstat: promisify(fs.lstat),
  rm: fsPromises.rm,
  copyFile: fsPromises.copyFile,
}

type Call = (...args: unknown[]) => Promise<unknown>
type Done = (error: unknown, result?: unknown) => void

for (const name of ['open', 'rename', 'lstat'] as const) {
  const real = fs[name] as (...args: unknown[]) => void
  const original: unknown = fileSystem[name]
  const delegate = (...args: unknown[]): void => {
    if (fileSystem[name] === original) return real(...args)
    const done = args.pop() as Done
    ;(fileSystem[name] as unknown as Call)(...args).then(
      (result) => process.nextTick(done, null, result),
      (error: unknown) => process.nextTick(done, error),
    )
  }
  Object.assign(fs, { [name]: delegate })
}
for (const name of ['rm', 'copyFile'] as const) {
  Object.assign(fsPromises, { [name]: (...args: unknown[]) => (fileSystem[name] as Call)(...args) })
}
syncBuiltinESMExports()
