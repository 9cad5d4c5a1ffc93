// SPDX-License-Identifier: MIT

/**
 * The program's log: a line when an upload is created, is interrupted and ends, and one when the
 * program stops.
 *
 * An upload is named by the first eight characters of its id. They are enough to find its file. The
 * whole id is not logged, as anybody who has it may use the upload. Nor is anything that clients
 * send, such as the names of files.
 *
 * @module
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { inspect } from 'node:util'
import type { ShutdownReport } from '../shutdown-group.ts'
import { UploadError } from '../upload/errors.ts'
import type { InterruptReason } from '../upload/events.ts'
import type { Upload } from '../upload/types.ts'

/** Lines for people, JSON objects for programs, or only the line that says where it listens. */
export type LogFormat = 'text' | 'json' | 'none'

/** What is logged. Sizes are in bytes. The events are named as their diagnostics channels are. */
export type LogEntry = ListenEntry | CreateEntry | InterruptEntry | EndEntry | ErrorEntry | StopEntry

interface ListenEntry {
  readonly event: 'listen'
  readonly url: string
}

interface CreateEntry {
  readonly event: 'create'
  readonly upload: string
  /** `undefined`: not known yet. */
  readonly length: number | undefined
}

interface InterruptEntry {
  readonly event: 'interrupt'
  readonly upload: string
  readonly offset: number
  readonly length: number | undefined
  readonly reason: InterruptReason
}

interface EndEntry {
  readonly event: 'finish' | 'reject' | 'terminate' | 'expire'
  readonly upload: string
  readonly offset: number
  /** Since its creation. */
  readonly durationMs: number
}

/** A failure of the server. */
interface ErrorEntry {
  readonly event: 'error'
  readonly error: string
  /** How often it has happened since it was last written. */
  readonly count: number
}

/** The shutdown, the uploads that it interrupted, and their bytes. */
interface StopEntry extends Pick<ShutdownReport, 'durationMs' | 'forced' | 'forcedConnections' | 'abandonedWork'> {
  readonly event: 'stop'
  readonly savedUploads: number
  readonly savedBytes: number
}

/** Where lines go, such as `process.stdout`. */
export interface LogOutput {
  readonly writableLength: number
  write(text: string): unknown
}

/** How to log, and where. */
export interface LogOptions {
  readonly format: LogFormat
  readonly output: LogOutput
  /** For failures of the server. They are written in every format. */
  readonly errors: LogOutput
  /** Aborts when the shutdown begins. */
  readonly signal: AbortSignal
}

/** A failure that repeats is written once in this time, in milliseconds. */
const REPEAT_MS = 1000

/** How many kinds of failures are counted separately; all others count as one kind. */
const MAX_KINDS = 50

/**
 * Lines are dropped while a reader is further behind than this, in bytes: memory is for uploads.
 */
const MAX_BACKLOG = 1024 ** 2

/**
 * Writes what happens to uploads, until the program has stopped.
 *
 * A failure of the server is written at once. While it repeats, it is written once a second with a
 * count: clients can cause thousands of them, for example when no more files can be opened.
 */
export class UploadLog {
  readonly #options: LogOptions
  readonly #listeners: readonly (readonly [channel: string, listener: (message: unknown) => void])[]
  /** The offset of each upload that the shutdown interrupted, by id. */
  readonly #saved = new Map<string, number>()
  /** How many lines each output has missed since its last one. */
  readonly #dropped = new Map<LogOutput, number>()
  /** The failures of the last second by kind: the latest one, and how many were not written. */
  readonly #failures = new Map<string, { error: unknown; count: number }>()
  #failuresTimer: NodeJS.Timeout | undefined

  constructor(options: LogOptions) {
    this.#options = options
    const listeners = {
      create: ({ upload }: Message) => this.#onCreate(upload),
      interrupt: ({ upload, code }: InterruptMessage) => this.#onInterrupt(upload, code),
      finish: ({ upload }: Message) => this.#onEnd('finish', upload),
      reject: ({ upload }: Message) => this.#onEnd('reject', upload),
      terminate: ({ upload }: Message) => this.#onEnd('terminate', upload),
      expire: ({ upload }: Message) => this.#onEnd('expire', upload),
      error: ({ error }: ErrorMessage) => this.#onFailure(error),
    }
    this.#listeners = Object.entries(listeners).map(([event, listener]) => {
      return [`longhaul:${event}`, listener as (message: unknown) => void]
    })
    for (const [channel, listener] of this.#listeners) subscribe(channel, listener)
  }

  /** Writes where the program listens, in every format. */
  listening(url: string): void {
    this.#write({ event: 'listen', url })
  }

  /** Sums up how the program stopped, and ends the log. */
  stopped({ durationMs, forced, forcedConnections, abandonedWork }: ShutdownReport): void {
    for (const [channel, listener] of this.#listeners) unsubscribe(channel, listener)
    clearTimeout(this.#failuresTimer)
    this.#writeFailures()
    this.#write({
      event: 'stop',
      durationMs: Math.round(durationMs),
      savedUploads: this.#saved.size,
      savedBytes: [...this.#saved.values()].reduce((sum, offset) => sum + offset, 0),
      forced, forcedConnections, abandonedWork,
    })
  }

  #onCreate(upload: Upload): void {
    this.#write({ event: 'create', upload: nameOf(upload), length: upload.length })
  }

  #onInterrupt(upload: Upload, reason: InterruptReason): void {
    const { offset, length } = upload
    this.#write({ event: 'interrupt', upload: nameOf(upload), offset, length, reason })
    if (this.#options.signal.aborted) this.#saved.set(upload.id, offset)
  }

  #onEnd(event: EndEntry['event'], upload: Upload): void {
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
    const dropped = this.#dropped.get(output) ?? 0
    const isBehind = output.writableLength > MAX_BACKLOG
    this.#dropped.set(output, isBehind ? dropped + 1 : 0)
    if (!isBehind) output.write((format === 'json' ? formatJson : formatText)(entry, new Date(), dropped))
  }
}

interface Message {
  readonly upload: Upload
}

interface InterruptMessage extends Message {
  readonly code: InterruptReason
}

interface ErrorMessage {
  readonly error: unknown
}

/**
 * A JSON object and a line feed. `dropped` is the number of entries that were dropped before it.
 */
export function formatJson(entry: LogEntry, time: Date, dropped = 0): string {
  return `${JSON.stringify({ time, ...entry, ...(dropped > 0 && { dropped }) })}\n`
}

/** A line for people. */
export function formatText(entry: LogEntry, time: Date, dropped = 0): string {
  if (entry.event === 'listen') return `longhaul listening on ${entry.url}\n` // scripts wait for this line
  const gap = dropped > 0 ? ` (${inPlural(dropped, 'earlier line')} dropped: the log was not being read)` : ''
  return `${time.toISOString()} ${inWords(entry)}${gap}\n`
}

function inWords(entry: Exclude<LogEntry, ListenEntry>): string {
  switch (entry.event) {
    case 'error':
      return entry.count === 1 ? entry.error : `repeated ${entry.count} times: ${entry.error}`
    case 'create':
      return `${entry.upload} created: ${entry.length === undefined ? 'length unknown' : formatBytes(entry.length)}`
    case 'interrupt':
      return `${entry.upload} interrupted at ${progressOf(entry)}: ${explain(entry.reason)}`
    case 'finish':
    case 'reject':
    case 'terminate':
    case 'expire':
      return `${entry.upload} ${PARTICIPLES[entry.event]} at ${formatBytes(entry.offset)} ${after(entry)}`
    case 'stop':
      return `stopped in ${formatDuration(entry.durationMs)}: ${sumUp(entry)}`
  }
}

const PARTICIPLES = { finish: 'finished', reject: 'rejected', terminate: 'terminated', expire: 'expired' } as const

function progressOf({ offset, length }: InterruptEntry): string {
  return length === undefined ? formatBytes(offset) : `${formatBytes(offset)} of ${formatBytes(length)}`
}

function after({ durationMs }: EndEntry): string {
  return `after ${formatDuration(durationMs)}`
}

function explain(reason: InterruptReason): string {
  if (reason === 'ABORTED') return 'the client disconnected'
  const { message } = new UploadError(reason)
  return message.charAt(0).toLowerCase() + message.slice(1)
}

function sumUp({ savedUploads, savedBytes, forced, forcedConnections, abandonedWork }: StopEntry): string {
  const saved = `${inPlural(savedUploads, 'upload')} interrupted, ${formatBytes(savedBytes)} saved`
  if (forced === undefined) return `${saved}, nothing forced`
  const by = forced === 'deadline' ? 'the deadline' : 'a second signal'
  const cut = `${inPlural(forcedConnections, 'connection')} cut, ${inPlural(abandonedWork, 'request')} abandoned`
  return `${saved}, forced by ${by}: ${cut}`
}

/** What an upload is called in the log. */
function nameOf({ id }: Upload): string {
  return id.slice(0, 8)
}

/**
 * Failures of the same kind are written as one. The kind is the code of the error and those of its
 * causes. Without a code it is the message. A message next to a code may contain a path.
 */
function kindOf(error: unknown, depth = 0): string {
  if (!(error instanceof Error) || depth > 4) return typeof error
  const { code, message, cause } = error as NodeJS.ErrnoException
  const own = typeof code === 'string' ? code : message.replace(/[0-9a-f]{32}/g, '')
  return cause === undefined ? own : `${own}, ${kindOf(cause, depth + 1)}`
}

/** Shortens the ids of uploads in errors, and in the paths that they mention. */
function shorten(text: string): string {
  return text.replace(/\b([0-9a-f]{8})[0-9a-f]{24}\b/g, '$1')
}

const UNITS = [['kB', 1e3], ['MB', 1e6], ['GB', 1e9], ['TB', 1e12]] as const

/** In decimal units with one digit after the point, rounded down. */
function formatBytes(bytes: number): string {
  const [unit, size] = UNITS.findLast(([, each]) => bytes >= each) ?? []
  return unit === undefined ? inPlural(bytes, 'byte') : `${(Math.floor((bytes / size) * 10) / 10).toFixed(1)} ${unit}`
}

function formatDuration(durationMs: number): string {
  return `${(durationMs / 1000).toFixed(1)} s`
}

function inPlural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
