// SPDX-License-Identifier: MIT

/**
 * A disk that fails: loaded into a process before its program (`node --import`), it makes calls of the
 * file system fail, do less than was asked, or take long, as it is told over the channel to the parent.
 *
 * It is Node's own modules with their functions replaced (`syncBuiltinESMExports`), so the program needs
 * no seam for it and cannot go past it. Only calls for paths in `FAULT_DIRECTORY` are touched.
 *
 * Each order is for the next call of an operation after `skip` others: `{ operation, skip, kind }`, where
 * `kind` is the code of an error, `short` for a write of some of the bytes, or a delay in milliseconds. An
 * error comes instead of the call, but for `close`, which closes before it fails, as the kernel does, and
 * `writeFile`, which writes half. With `FAULT_FORGETS`, a flush that fails also loses what was written to
 * the file since the last one that did not: Linux may, and the next flush succeeds.
 *
 * An order with `lasts: true` is for all calls from then on. One with a `file` is only for calls about the
 * file of that name.
 *
 * @module
 */

import fs from 'node:fs'
import fsPromises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { constants } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'

const { FAULT_DIRECTORY = '', FAULT_FORGETS } = process.env
const { openSync, closeSync, fstatSync, writeSync } = fs
const NOTHING_TO_FLUSH = /\.(?:info|json|tmp|gone)$/

/** By operation, in the order in which they come. */
const orders = new Map()
/** How many came, by operation and kind. */
let injected = {}
/** How many bytes of each file were flushed. */
const flushed = new Map()

process.on('message', (message) => {
  if (message.faults) {
    orders.clear()
    for (const order of message.faults) orders.set(order.operation, [...(orders.get(order.operation) ?? []), order])
  }
  if (message.faults || message === 'faults') {
    process.send({ injected })
    injected = {}
  }
})
process.channel.unref()

/** What is to happen to this call, if anything. */
function next(operation, path) {
  if (typeof path !== 'string' || !(path === FAULT_DIRECTORY || path.startsWith(`${FAULT_DIRECTORY}/`))) return undefined
  const queue = orders.get(operation)
  const [order] = queue ?? []
  if (!order || (order.file !== undefined && path !== `${FAULT_DIRECTORY}/${order.file}`)) return undefined
  if (order.skip-- > 0) return undefined
  if (!order.lasts) queue.shift()
  const { kind } = order
  const name = `${operation} ${typeof kind === 'number' ? 'slow' : kind}`
  injected[name] = (injected[name] ?? 0) + 1
  return kind
}

/** Waits, or throws, if that is to happen; otherwise resolves with what else is. */
async function meet(operation, path) {
  const kind = next(operation, path)
  if (typeof kind === 'number') await delay(kind)
  if (kind === undefined || kind === 'short' || typeof kind === 'number') return kind
  throw failure(kind, operation, path)
}

function failure(code, syscall, path) {
  return Object.assign(new Error(`${code}: the disk fails, ${syscall} '${path}'`), { code, errno: -constants.errno[code], syscall, path })
}

for (const operation of ['rename', 'rm', 'lstat', 'opendir', 'symlink', 'readlink', 'unlink', 'utimes', 'mkdir', 'readdir', 'chmod']) {
  const real = fsPromises[operation]
  fsPromises[operation] = async (...args) => {
    await meet(operation, operation === 'symlink' ? args[1] : args[0])
    return real(...args)
  }
}

const { open } = fsPromises
fsPromises.open = async (path, ...rest) => {
  await meet('open', path)
  const file = await open(path, ...rest)
  // As own properties, so that the streams of the handle use them too.
  const { close, truncate, write } = file
  for (const operation of ['stat', 'read', 'truncate']) {
    const real = file[operation]
    file[operation] = async (...args) => {
      await meet(operation, path)
      const result = await real.apply(file, args)
      if (real === truncate) flushed.set(path, Math.min(flushed.get(path) ?? 0, args[0] ?? 0))
      return result
    }
  }
  file.write = async (buffer, offset, length, position) => {
    const isShort = (await meet('write', path)) === 'short'
    return write.call(file, buffer, offset, isShort ? Math.ceil(length / 2) : length, position)
  }
  const { writev, writeFile, sync } = file
  file.writev = async (buffers, position) => {
    if ((await meet('writev', path)) !== 'short') return writev.call(file, buffers, position)
    const [first] = buffers
    const { bytesWritten } = await write.call(file, first, 0, Math.ceil(first.length / 2), position)
    return { bytesWritten, buffers }
  }
  file.writeFile = async (text, ...others) => {
    try {
      await meet('writeFile', path)
    } catch (error) {
      await writeFile.call(file, text.slice(0, text.length / 2), ...others)
      throw error
    }
    return writeFile.call(file, text, ...others)
  }
  file.sync = async () => {
    try {
      await meet('sync', path)
    } catch (error) {
      if (FAULT_FORGETS && path !== FAULT_DIRECTORY && !NOTHING_TO_FLUSH.test(path)) forget(path)
      throw error
    }
    const { size } = fstatSync(file.fd)
    await sync.call(file)
    flushed.set(path, size)
  }
  file.close = async () => {
    let error
    await meet('close', path).catch((reason) => (error = reason))
    await close.call(file)
    if (error) throw error
  }
  return file
}

/** Puts zeros in the place of what was never flushed. */
function forget(path) {
  const file = openSync(path, 'r+')
  try {
    const from = flushed.get(path) ?? 0
    const { size } = fstatSync(file)
    if (from < size) writeSync(file, Buffer.alloc(size - from), 0, size - from, from)
  } finally {
    closeSync(file)
  }
}

// The functions that take a callback. The library uses them, and so do streams that open a path.
const paths = new Map()
const OPERATIONS = {
  open: 'open', close: 'close', lstat: 'lstat', rename: 'rename', read: 'read', write: 'write', writev: 'writev', writeFile: 'writeFile',
  fstat: 'stat', ftruncate: 'truncate', fdatasync: 'sync', fsync: 'sync',
}
/** What else is done in place of a call, or after it. */
const callbacks = {
  open: { after: ([path], descriptor) => paths.set(descriptor, path) },
  // Before, as another file may have its number before we hear of it.
  close: { before: ([descriptor]) => paths.delete(descriptor), fail: (real, [descriptor], _, answer) => real(descriptor, answer) },
  write: { short: ([descriptor, buffer, offset, length, position]) => [descriptor, buffer, offset, Math.ceil(length / 2), position] },
  writev: { short: ([descriptor, [first], position]) => [descriptor, [first.subarray(0, Math.ceil(first.length / 2))], position] },
  writeFile: { fail: (real, [descriptor, text], _, answer) => real(descriptor, text.slice(0, text.length / 2), answer) },
  ftruncate: { after: ([, length], _, path) => flushed.set(path, Math.min(flushed.get(path) ?? 0, length)) },
}
for (const name of ['fdatasync', 'fsync']) {
  callbacks[name] = {
    fail: (real, args, path, answer) => {
      if (FAULT_FORGETS && path !== FAULT_DIRECTORY && !NOTHING_TO_FLUSH.test(path)) forget(path)
      process.nextTick(answer)
    },
    before: ([descriptor]) => fstatSync(descriptor).size,
    after: (args, result, path, size) => flushed.set(path, size),
  }
}

for (const [name, operation] of Object.entries(OPERATIONS)) {
  const real = fs[name]
  const { fail, short, before, after } = callbacks[name] ?? {}
  fs[name] = (...args) => {
    const done = args.pop()
    const path = typeof args[0] === 'number' ? paths.get(args[0]) : args[0]
    meet(operation, path).then(
      (kind) => {
        const known = before?.(args)
        real(...(kind === 'short' ? short(args) : args), (error, result, ...others) => {
          if (!error) after?.(args, result, path, known)
          done(error, result, ...others)
        })
      },
      (error) => {
        if (name === 'close') paths.delete(args[0])
        if (fail) fail(real, args, path, () => done(error))
        else process.nextTick(done, error)
      },
    )
  }
}

syncBuiltinESMExports()
