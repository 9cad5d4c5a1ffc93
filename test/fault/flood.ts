// SPDX-License-Identifier: MIT

/**
 * A server that is going to be flooded, and what floods have in common.
 *
 * @module
 */

import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { temporaryFolder } from '../support/temporary.ts'
import { http2Courier } from './http2-client.ts'
import { PATH } from './ledger.ts'
import { send, type Answer, type Message } from './process-client.ts'
import { compileLibrary, Subject, type ProgramOptions } from './subject.ts'

const HTTP2_SERVER = fileURLToPath(new URL('http2-server.mjs', import.meta.url))
const HTTP2_IDLE_TIMEOUT_MS = 60_000
const LAYER = fileURLToPath(new URL('file-layer.mjs', import.meta.url))
/** The first is how `npm start` runs it; the second shows the probe what is still in use. */
const FLAGS = ['--max-semi-space-size=1', '--expose-gc']
export const MIB: number = 1024 * 1024

/** A server under attack. */
export interface Flooded {
  readonly server: Subject
  readonly port: number
  readonly directory: string
  /** Of HTTP. */
  readonly version: 1 | 2
}

/** What {@link startFlooded} starts. */
export interface FloodedOptions extends ProgramOptions {
  /** Further arguments of the program. */
  readonly args?: readonly string[]
  /** 1: the program. 2: a server of HTTP/2 that uses the library. Default: 1. */
  readonly version?: 1 | 2
  /** Whether {@link slowDown} can make its disk slow. */
  readonly slowDisk?: boolean
}

export async function startFlooded(t: TestContext, options: FloodedOptions = {}): Promise<Flooded> {
  const { args = [], version = 1, slowDisk = false, ...rest } = options
  let server: (Subject & { readonly port: number }) | undefined
  t.after(() => server?.kill()) // before its directory is removed
  const directory = temporaryFolder(t)
  const nodeFlags = slowDisk ? [...FLAGS, '--import', LAYER] : FLAGS
  const env = { FAULT_DIRECTORY: directory }
  const dist = await compileLibrary()
  server = version === 2
    ? await Subject.script(t, HTTP2_SERVER, dist, directory, [String(HTTP2_IDLE_TIMEOUT_MS)], nodeFlags, env)
    : await Subject.program(t, dist, directory, ['--download', ...args], { ...rest, nodeFlags, env })
  await server.start()
  return { server, port: server.port, directory, version }
}

/**
 * Makes each write take so long from now on, of one upload or of all. Resolves with how many were
 * slow before.
 */
export function slowDown({ server }: Flooded, delayMs: number, path?: string): Promise<number> {
  const file = path === undefined ? undefined : idOf(path)
  const operations = delayMs === 0 ? [] : ['write', 'writev']
  return new Promise((resolve) => {
    const onMessage = ({ injected }: { injected?: Record<string, number> }): void => {
      if (!injected) return
      server.process.off('message', onMessage)
      resolve(Object.values(injected).reduce((sum, count) => sum + count, 0))
    }
    server.process.on('message', onMessage)
    const faults = operations.map((operation) => ({ operation, skip: 0, kind: delayMs, lasts: true, file }))
    server.process.send({ faults })
  })
}

/**
 * How an upload is made: how many of its zeros are stored (default: all), and headers of the
 * request.
 */
export interface UploadOptions {
  readonly stored?: number
  readonly headers?: Message['headers']
}

/** Makes an upload of zeros and resolves with its path. */
export async function makeUpload(flooded: Flooded, length: number, options: UploadOptions = {}): Promise<string> {
  const { stored = length, headers = {} } = options
  const message: Message = { method: 'POST', path: PATH, headers: { 'Upload-Length': length, ...headers } }
  const withBody = (): Message => ({
    ...message,
    headers: { ...message.headers, 'Content-Type': 'application/offset+octet-stream' },
    body: { length: stored, take: (start, end) => Buffer.alloc(end - start) },
  })
  const answer = await ask(flooded, stored === 0 ? message : withBody())
  assert.equal(answer.status, 201)
  return answer.headers.location!
}

/** The id of the upload at a path, which is the name of its file. */
export function idOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Sends a request that is no part of the flood. */
export function ask({ port, version }: Pick<Flooded, 'port' | 'version'>, message: Message): Promise<Answer> {
  return version === 2 ? http2Courier(port)(message) : send(port, message)
}

/** Runs something with each of several variants, and fails at the end if any failed. */
export async function forAll<T>(variants: readonly T[], run: (variant: T) => Promise<void>): Promise<void> {
  const failures: Error[] = []
  for (const variant of variants) await run(variant).catch((error: Error) => failures.push(error))
  if (failures.length > 1) throw new AggregateError(failures, failures.map(({ message }) => message).join('\n'))
  if (failures.length === 1) throw failures[0]
}
