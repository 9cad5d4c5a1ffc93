#!/usr/bin/env node
// SPDX-License-Identifier: MIT

/**
 * `longhaul`: serves resumable uploads from a directory. The only part that reads the command line,
 * listens for signals and writes to the console; `startup.ts` does so too until it listens.
 *
 * @module
 */

import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { respondEarly } from '../early-response.ts'
import { uploadHandler } from '../upload-handler.ts'
import { ShutdownGroup } from '../shutdown-group.ts'
import { hostCheck } from './allowed-host.ts'
import { Connections } from './connections.ts'
import { HELP } from './help.ts'
import { UploadLog } from './log.ts'
import { parseCommand, type ServeOptions } from './options.ts'
import { fail, failToListen, measureCapacity, openLocks, openPage, openStore, toOrigin } from './startup.ts'

/** How long a client may take to send the head of a request, in milliseconds. */
const HEADERS_TIMEOUT_MS = 60_000

/**
 * How much Node buffers of a body that is not being read, in bytes. With the default of Node 22, a
 * body in chunks of one byte would take 20 MB.
 */
const HIGH_WATER_MARK = 16 * 1024

/** How often expired uploads are removed, in milliseconds. */
const SWEEP_INTERVAL_MS = 3_600_000

/** How long the program waits for the last lines of its log to be read, in milliseconds. */
const LOG_FLUSH_MS = 1000

// A reader may leave at any time, as in `longhaul --help | head -1`. Uploads continue without it.
for (const output of [process.stdout, process.stderr]) output.on('error', () => {})

const command = parseCommand(process.argv.slice(2))
if (command.kind === 'serve') await serve(command.options)
else if (command.kind === 'invalid') fail(2, `${command.message} (see --help)`)
else if (command.kind === 'help') process.stdout.write(HELP)
else console.log(readVersion())

async function serve(options: ServeOptions): Promise<void> {
  const { host, port, path, publicUrl, maxSize, graceMs, idleTimeoutMs, expiresMs, cors, interopVersions } = options
  const group = new ShutdownGroup()
  const { stdout: output, stderr: errors } = process
  for (const stream of [output, errors]) writeWithoutWaiting(stream)
  const log = new UploadLog({ format: options.log, output, errors, signal: group.signal })
  const page = openPage(options)
  const store = await openStore(options)
  const locks = await openLocks(options)
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
  // Bytes are still stored after a client has disconnected. So the shutdown waits for the listener,
  // not only for the response.
  const tracked = (listener: Listener) => (req: IncomingMessage, res: ServerResponse): void => {
    void group.run(() => answer(req, res, listener))
  }

  // requestTimeout would cut uploads in progress; the idle timeout ends those that stall. Without
  // headersTimeout, Node would derive it from requestTimeout.
  const timeouts = { requestTimeout: 0, headersTimeout: HEADERS_TIMEOUT_MS, keepAliveTimeout: options.keepAliveMs }
  const server = createServer({ ...timeouts, highWaterMark: HIGH_WATER_MARK }, tracked(uploads))
  server.on('checkContinue', tracked(uploads.checkContinue))
  const connections = maxConnections === undefined ? undefined : new Connections(server, maxConnections)
  server.on('error', (error) => failToListen(error, options))
  group.add(server).listen()
  // Once the group has closed, its listeners are gone. Another signal would kill the process before
  // its last lines are out.
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => {})
  void group.closed.then(async (report) => {
    // After a forced shutdown, abandoned writes may still be in flight. Their locks last until the
    // process ends.
    if (!report.forced) await locks?.close()
    log.stopped(report)
    end(report.forced ? 1 : 0)
  })

  server.listen(port, host, () => {
    const { address, port } = server.address() as AddressInfo
    void group.run(uploads.sweep)
    setInterval(() => void group.run(uploads.sweep), SWEEP_INTERVAL_MS).unref()
    log.listening(`${toOrigin(address, port)}${path}`)
  })
}

/**
 * Uploads continue when the reader of the log has stopped reading. A blocking write would stop the
 * process, as at Ctrl-S in a terminal. Node has no public way to change that.
 */
function writeWithoutWaiting(output: NodeJS.WriteStream): void {
  const { _handle } = output as { _handle?: { setBlocking?(blocking: boolean): void } }
  _handle?.setBlocking?.(false)
}

/** Ends the program once the log is written, or after a moment if nobody reads it. */
function end(exitCode: number): void {
  process.exitCode = exitCode
  process.once('beforeExit', () => process.exit()) // a natural end removes the listeners first: a signal would kill it
  setTimeout(() => process.exit(), LOG_FLUSH_MS).unref()
  if (exitCode !== 0) process.stdout.write('', () => process.exit()) // abandoned work may keep the process alive
}

function readVersion(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version
}
