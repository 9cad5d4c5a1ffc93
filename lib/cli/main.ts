#!/usr/bin/env node
// SPDX-License-Identifier: MIT

/**
 * `longhaul`: serves resumable uploads from a directory. The only part that writes to the console,
 * reads the command line and listens for signals.
 *
 * @module
 */

import { readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { respondEarly } from '../early-response.ts'
import { FileStore } from '../file-store.ts'
import { uploadHandler } from '../handler/upload-handler.ts'
import { LockFiles } from '../lock-files.ts'
import { ShutdownGroup } from '../shutdown-group.ts'
import { hostCheck } from './allowed-host.ts'
import { Connections } from './connections.ts'
import { capacityOf, readDescriptorLimit, type Capacity } from './descriptors.ts'
import { UploadLog } from './log.ts'
import { HELP, parseCommand, type ServeOptions } from './options.ts'
import { readPage, type Page } from './page.ts'

/** How long a client may take to send the head of a request, in milliseconds. */
const HEADERS_TIMEOUT_MS = 60_000

/** What Node holds of a body that is not read, in bytes. With the default of Node 22, chunks of one byte would take 20 MB. */
const HIGH_WATER_MARK = 16 * 1024

/** How often what has expired is removed, in milliseconds. */
const SWEEP_INTERVAL_MS = 3_600_000

/** Below this limit of descriptors, the program says at its start how much that is enough for. */
const FEW_DESCRIPTORS = 4096

/** How long the last lines may take to be read, in milliseconds. */
const LOG_FLUSH_MS = 1000

const command = parseCommand(process.argv.slice(2))
if (command.kind === 'serve') await serve(command.options)
else if (command.kind === 'invalid') fail(2, `${command.message}; see --help`)
else if (command.kind === 'help') process.stdout.write(HELP)
else console.log(readVersion())

async function serve(options: ServeOptions): Promise<void> {
  const { host, port, path, publicUrl, maxSize, graceMs, idleTimeoutMs, expiresMs, cors, interopVersions } = options
  const group = new ShutdownGroup()
  for (const output of [process.stdout, process.stderr]) writeWithoutWaiting(output)
  const log = new UploadLog({ format: options.log, output: process.stdout, errors: process.stderr, signal: group.signal })
  const page = options.page ? openPage(options) : undefined
  const store = await openStore(options)
  const locks = options.lock === 'file' ? await openLocks(options) : undefined
  const { maxConcurrent, maxConnections } = measureCapacity(options)
  const uploads = uploadHandler({
    store, locker: locks, path, publicUrl, maxSize, maxConcurrent, graceMs, idleTimeoutMs, interopVersions,
    expiration: expiresMs === undefined ? undefined : { afterMs: expiresMs },
    download: options.download ? {} : undefined,
    cors: cors.length === 0 ? undefined : { origins: cors.includes('*') ? '*' : cors },
    signal: group.signal,
  })

  type Listener = (req: IncomingMessage, res: ServerResponse) => Promise<void>
  const checkHost = hostCheck(options)
  const answer = (req: IncomingMessage, res: ServerResponse, listener: Listener): Promise<void> => {
    if (connections?.onRequest(req, res) === false) return Promise.resolve()
    const refusal = checkHost(req)
    return refusal ? respondEarly(req, res, refusal) : (page?.(req, res) ?? listener(req, res))
  }
  // Storing outlives the answer of a client that has gone, so each exchange is work of its own.
  const tracked = (listener: Listener) => (req: IncomingMessage, res: ServerResponse): void => {
    void group.run(() => answer(req, res, listener))
  }

  // requestTimeout would cut uploads that are progressing; the idle timeout ends those that are not. Node derives headersTimeout from it.
  const timeouts = { requestTimeout: 0, headersTimeout: HEADERS_TIMEOUT_MS, keepAliveTimeout: options.keepAliveMs }
  const server = createServer({ ...timeouts, highWaterMark: HIGH_WATER_MARK }, tracked(uploads))
  server.on('checkContinue', tracked(uploads.checkContinue))
  const connections = maxConnections === undefined ? undefined : new Connections(server, maxConnections)
  server.on('error', (error) => fail(1, `${error.message}; --host and --port say where to listen`))
  group.add(server).listen()
  // Once the group is closed, a signal that comes again would cut off what follows: the last lines, and the exit code.
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => {})
  void group.closed.then(async (report) => {
    // Writes that were given up may still be in flight. Their locks last until the process has ended.
    if (!report.forced) await locks?.close()
    log.stopped(report)
    end(report.forced ? 1 : 0)
  })

  server.listen(port, host, () => {
    const { address, family, port } = server.address() as AddressInfo
    void group.run(uploads.sweep)
    setInterval(() => void group.run(uploads.sweep), SWEEP_INTERVAL_MS).unref()
    log.listening(`http://${family === 'IPv6' ? `[${address}]` : address}:${port}${path}`)
  })
}

/** How much the program takes on at once. Says so if the system has few descriptors for it. */
function measureCapacity(options: ServeOptions): Capacity {
  const limit = readDescriptorLimit()
  const capacity = capacityOf(limit, options.maxConcurrent)
  const { maxConcurrent, maxConnections } = capacity
  if (limit !== undefined && (limit < FEW_DESCRIPTORS || maxConcurrent > capacityOf(limit).maxConcurrent)) {
    const most = `${maxConcurrent} bodies and ${maxConnections} connections at most`
    console.error(`longhaul: the limit of open files (ulimit -n) is ${limit}: ${most}`)
  }
  return capacity
}

/** Uploads go on when whoever reads the log has gone, or has stopped to: a terminal at Ctrl-S would stop the process, and Node has no public way to tell it not to. */
function writeWithoutWaiting(output: NodeJS.WriteStream): void {
  output.on('error', () => {});
  (output as { _handle?: { setBlocking?(blocking: boolean): void } })._handle?.setBlocking?.(false)
}

function openPage(options: ServeOptions): Page {
  try {
    return readPage(options)
  } catch (error) {
    return fail(2, `the page at / cannot be read, and --no-page does without: ${(error as Error).message}`)
  }
}

async function openStore({ dir, sync, lock, fileMode, directoryMode }: ServeOptions): Promise<FileStore> {
  let store
  try {
    store = new FileStore(dir, { sync, shared: lock === 'file', fileMode, directoryMode })
  } catch (error) {
    return fail(2, `--dir cannot be used: ${(error as Error).message}`)
  }
  if (sync !== 'none') await flush(store.directory).catch((error: Error) => fail(2, `--sync ${sync} cannot be used here: ${error.message}`))
  return store
}

/** Fails where nothing can be flushed, as under the permission model of Node 26, before any upload relies on it. */
async function flush(directory: string): Promise<void> {
  if (process.platform === 'win32') return // there, a directory cannot be opened
  const handle = await open(directory)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Locks lie in a folder of their own, so that the directory of the uploads holds nothing else. */
async function openLocks({ dir }: ServeOptions): Promise<LockFiles> {
  try {
    return await LockFiles.open(join(dir, '.locks'))
  } catch (error) {
    return fail(2, `--lock file cannot be used here: ${(error as Error).message}`)
  }
}

/** Ends the program once the log is out: at the latest in a moment, as whoever reads it may have stopped to. */
function end(exitCode: number): void {
  process.exitCode = exitCode
  process.once('beforeExit', () => process.exit()) // a natural end gives up the listeners first: a signal would kill it
  setTimeout(() => process.exit(), LOG_FLUSH_MS).unref()
  if (exitCode !== 0) process.stdout.write('', () => process.exit()) // what was forced may keep the process
}

function fail(exitCode: number, message: string): never {
  console.error(`longhaul: ${message}`)
  process.exit(exitCode)
}

function readVersion(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version
}
