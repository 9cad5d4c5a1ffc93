// SPDX-License-Identifier: MIT

/**
 * What the program says: a line when an upload begins, is interrupted, and ends, and one when the program stops.
 *
 * An upload is named by the first eight characters of its id, which suffice to find its file: whoever knows
 * the whole of it may use the upload. What clients say, such as file names, is not in the log.
 *
 * @module
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import type { ShutdownReport } from '../shutdown-group.ts'
import { UploadError } from '../upload/errors.ts'
import type { InterruptReason } from '../upload/events.ts'
import type { Upload } from '../upload/types.ts'

/** How lines look: to people, to programs (a JSON object each), or that only the first one is written. */
export type LogFormat = 'text' | 'json' | 'none'

/** What is logged. Sizes are in bytes. */
export type LogEntry =
  | { readonly event: 'listen'; readonly url: string }
  | { readonly event: 'begin'; readonly upload: string; readonly length: number | undefined }
  | { readonly event: 'interrupt'; readonly upload: string; readonly offset: number; readonly length: number | undefined; readonly reason: InterruptReason }
  | { readonly event: 'finish' | 'reject' | 'terminate' | 'expire'; readonly upload: string; readonly offset: number; readonly durationMs: number }
  /** A failure of the server; `count` says how often it has happened since it was written last. */
  | { readonly event: 'error'; readonly error: string; readonly count: number }
  /** With the uploads that were interrupted while it stopped, and the bytes that they have. */
  | ({ readonly event: 'stop'; readonly savedUploads: number; readonly savedBytes: number } & Pick<ShutdownReport, 'durationMs' | 'forced' | 'forcedConnections' | 'abandonedWork'>)

/** Where lines go, as `process.stdout` is. */
export interface LogOutput {
  readonly writableLength: number
  write(text: string): unknown
}

/** How to log, and where. */
export interface LogOptions {
  readonly format: LogFormat
  readonly output: LogOutput
  /** For failures of the server, which are written in every format. */
  readonly errors: LogOutput
  /** Aborts when the shutdown begins. */
  readonly signal: AbortSignal
}

/** The same failure is written once in this time, in milliseconds. */
const REPEAT_MS = 1000

/** How many kinds of failures are counted separately. All others count as one kind. */
const MAX_KINDS = 50

/** A log whose reader has fallen behind by this much is cut short, in bytes: memory is for uploads. */
const MAX_BACKLOG = 1024 ** 2

/**
 * Writes what happens to uploads, until the program has stopped.
 *
 * A failure of the server is written at once. While it repeats, it is written once a second, with a
 * count: clients can cause thousands of the same, as when no file can be opened any more.
 */
export class UploadLog {
  readonly #options: LogOptions
  readonly #listeners: readonly (readonly [channel: string, listener: (message: unknown) => void])[]
  /** The offsets of what the shutdown interrupted, by id. */
  readonly #saved = new Map<string, number>()
  /** How many lines were left out. */
  readonly #omitted = new Map<LogOutput, number>()
  /** The failures of the last second by their kind: the latest one, and how many were not written. */
  readonly #failures = new Map<string, { error: unknown; count: number }>()
  #failuresTimer: NodeJS.Timeout | undefined

  constructor(options: LogOptions) {
    this.#options = options
    const listeners = {
      create: ({ upload }: Message) => this.#write({ event: 'begin', upload: nameOf(upload), length: upload.length }),
      interrupt: ({ upload, code }: Message & { readonly code: InterruptReason }) => this.#onInterrupt(upload, code),
      finish: ({ upload }: Message) => this.#onEnd('finish', upload),
      reject: ({ upload }: Message) => this.#onEnd('reject', upload),
      terminate: ({ upload }: Message) => this.#onEnd('terminate', upload),
      expire: ({ upload }: Message) => this.#onEnd('expire', upload),
      error: ({ error }: { readonly error: unknown }) => this.#onFailure(error),
    }
    this.#listeners = Object.entries(listeners).map(([event, listener]) => [`longhaul:${event}`, listener as (message: unknown) => void])
    for (const [channel, listener] of this.#listeners) subscribe(channel, listener)
  }

  /** Says where the program listens, in every format. */
  listening(url: string): void {
    this.#write({ event: 'listen', url })
  }

  /** Sums up how the program stopped. */
  stopped({ durationMs, forced, forcedConnections, abandonedWork }: ShutdownReport): void {
    for (const [channel, listener] of this.#listeners) unsubscribe(channel, listener)
    clearTimeout(this.#failuresTimer)
    this.#writeFailures()
    const saved = { savedUploads: this.#saved.size, savedBytes: [...this.#saved.values()].reduce((sum, offset) => sum + offset, 0) }
    this.#write({ event: 'stop', durationMs: Math.round(durationMs), ...saved, forced, forcedConnections, abandonedWork })
  }

  #onInterrupt(upload: Upload, reason: InterruptReason): void {
    const { offset, length } = upload
    this.#write({ event: 'interrupt', upload: nameOf(upload), offset, length, reason })
    if (this.#options.signal.aborted) this.#saved.set(upload.id, offset)
  }

  #onEnd(event: 'finish' | 'reject' | 'terminate' | 'expire', upload: Upload): void {
    const durationMs = Math.max(Date.now() - upload.createdAt.getTime(), 0) // the clock may have been set back
    this.#write({ event, upload: nameOf(upload), offset: upload.offset, durationMs })
  }

  #onFailure(error: unknown): void {
    const kind = kindOf(error)
    const key = this.#failures.has(kind) || this.#failures.size < MAX_KINDS ? kind : 'others'
    const known = this.#failures.get(key)
    if (known) {
      known.error = error
      known.count++
    } else {
      this.#failures.set(key, { error, count: 0 })
      this.#writeFailure(error, 1)
      this.#failuresTimer ??= setTimeout(this.#onRepeat, REPEAT_MS).unref()
    }
  }

  readonly #onRepeat = (): void => {
    this.#writeFailures()
    this.#failuresTimer = this.#failures.size > 0 ? setTimeout(this.#onRepeat, REPEAT_MS).unref() : undefined
  }

  /** Writes what has repeated, and forgets what has not. */
  #writeFailures(): void {
    for (const [key, { error, count }] of this.#failures) {
      if (count === 0) this.#failures.delete(key)
      else this.#failures.set(key, { error, count: 0 })
      if (count > 0) this.#writeFailure(error, count)
    }
  }

  #writeFailure(error: unknown, count: number): void {
    this.#write({ event: 'error', error: shorten(inspect(error)), count }, this.#options.errors)
  }

  #write(entry: LogEntry, output: LogOutput = this.#options.output): void {
    const { format } = this.#options
    if (format === 'none' && entry.event !== 'listen' && entry.event !== 'error') return
    const omitted = this.#omitted.get(output) ?? 0
    const isBehind = output.writableLength > MAX_BACKLOG
    this.#omitted.set(output, isBehind ? omitted + 1 : 0)
    if (!isBehind) output.write((format === 'json' ? formatJson : formatText)(entry, new Date(), omitted))
  }
}

interface Message {
  readonly upload: Upload
}

/** A JSON object and a line feed; `omitted` says how many entries before it were left out. */
export function formatJson(entry: LogEntry, time: Date, omitted = 0): string {
  return `${JSON.stringify({ time, ...entry, ...(omitted > 0 && { omitted }) })}\n`
}

/** A line that people read. */
export function formatText(entry: LogEntry, time: Date, omitted = 0): string {
  if (entry.event === 'listen') return `longhaul listening on ${entry.url}\n` // scripts wait for this line
  const gap = omitted > 0 ? ` (${inPlural(omitted, 'line')} before this left out, as nobody read them)` : ''
  return `${time.toISOString()} ${inWords(entry)}${gap}\n`
}

function inWords(entry: Exclude<LogEntry, { readonly event: 'listen' }>): string {
  switch (entry.event) {
    case 'error':
      return entry.count === 1 ? entry.error : `repeated ${entry.count} times: ${entry.error}`
    case 'begin':
      return `${entry.upload} begins, ${entry.length === undefined ? 'of a length to be told' : formatBytes(entry.length)}`
    case 'interrupt':
      return `${entry.upload} is interrupted at ${formatBytes(entry.offset)}${entry.length === undefined ? '' : ` of ${formatBytes(entry.length)}`}: ${explain(entry.reason)}`
    case 'finish':
      return `${entry.upload} is finished, ${formatBytes(entry.offset)} in ${formatDuration(entry.durationMs)}`
    case 'reject':
    case 'terminate':
    case 'expire':
      return `${entry.upload} is ${PARTICIPLES[entry.event]} at ${formatBytes(entry.offset)}, after ${formatDuration(entry.durationMs)}`
    case 'stop':
      return `stopped in ${formatDuration(entry.durationMs)}: ${inPlural(entry.savedUploads, 'upload')} interrupted, with ${formatBytes(entry.savedBytes)} saved; ${explainForce(entry)}`
  }
}

const PARTICIPLES = { reject: 'rejected', terminate: 'terminated', expire: 'expired' } as const

function explain(reason: InterruptReason): string {
  return reason === 'ABORTED' ? 'the client went away' : new UploadError(reason).message
}

function explainForce({ forced, forcedConnections, abandonedWork }: LogEntry & { event: 'stop' }): string {
  if (forced === undefined) return 'nothing was forced'
  const by = forced === 'deadline' ? 'the deadline' : 'a second signal'
  return `${by} cut ${inPlural(forcedConnections, 'connection')} and gave up ${inPlural(abandonedWork, 'request')}`
}

/** The upload in the log. */
function nameOf({ id }: Upload): string {
  return id.slice(0, 8)
}

/**
 * What two failures have in common that are written as one: the codes of the error and of its causes.
 * Where there is no code it is the message. Messages with a code may hold the path of a file.
 */
function kindOf(error: unknown, depth = 0): string {
  if (!(error instanceof Error) || depth > 4) return typeof error
  const { code, message, cause } = error as NodeJS.ErrnoException
  const own = typeof code === 'string' ? code : message.replace(/[0-9a-f]{32}/g, '')
  return cause === undefined ? own : `${own}, ${kindOf(cause, depth + 1)}`
}

/** Names uploads in the same way where errors, or paths in them, have their ids. */
function shorten(text: string): string {
  return text.replace(/\b([0-9a-f]{8})[0-9a-f]{24}\b/g, '$1')
}

/** To three digits or so, in the units that `--max-size` takes. */
function formatBytes(bytes: number): string {
  if (bytes < 1000) return inPlural(bytes, 'byte')
  const [unit, size] = [['KB', 1e3] as const, ['MB', 1e6] as const, ['GB', 1e9] as const, ['TB', 1e12] as const].findLast(([, size]) => bytes >= size)!
  return `${(Math.floor((bytes / size) * 10) / 10).toFixed(1)} ${unit}`
}

function formatDuration(durationMs: number): string {
  return `${(durationMs / 1000).toFixed(1)} s`
}

function inPlural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
