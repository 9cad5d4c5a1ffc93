// SPDX-License-Identifier: MIT

/**
 * The program's command line: a list of words in, a decision out.
 *
 * @module
 */

import { parseArgs } from 'node:util'
import type { InteropVersion } from '../rufh/interop.ts'
import type { LogFormat } from './log.ts'
import {
  AGE, ALLOWED_HOST, CORS_ORIGIN, COUNT, DIRECTORY, DIRECTORY_MODE, FILE_MODE, HOST, INTEROP_VERSIONS, oneOf,
  PATH, PORT, PUBLIC_URL, SIZE, TIMEOUT, type Kind,
} from './values.ts'

/** What `longhaul` serves, and how. Sizes are in bytes. */
export interface ServeOptions {
  readonly dir: string
  readonly host: string
  readonly port: number
  /** With a slash at both ends. */
  readonly path: string
  readonly maxSize: number
  readonly graceMs: number
  readonly idleTimeoutMs: number
  readonly keepAliveMs: number
  readonly sync: 'none' | 'finish' | 'append'
  readonly fileMode: number
  readonly directoryMode: number
  /** `undefined`: a client's own address is right. */
  readonly publicUrl: string | undefined
  /** `undefined`: uploads do not expire. */
  readonly expiresMs: number | undefined
  readonly lock: 'file' | 'memory'
  readonly download: boolean
  readonly interopVersions: readonly InteropVersion[]
  /** Allowed origins, `*` for any; empty: none. */
  readonly cors: readonly string[]
  /** Host names to accept in addition to those that are always safe; `*` for any. */
  readonly allowedHosts: readonly string[]
  /** Bodies received at once; `undefined`: as many as the open-file limit allows. */
  readonly maxConcurrent: number | undefined
  readonly log: LogFormat
  /** Whether to serve the page at `/`. */
  readonly page: boolean
}

/** What a command line asks for. */
export type Command =
  | { readonly kind: 'serve'; readonly options: ServeOptions }
  | { readonly kind: 'help' | 'version' }
  | { readonly kind: 'invalid'; readonly message: string }

const TEXT = { type: 'string' } as const
const LIST = { type: 'string', multiple: true } as const
const SWITCH = { type: 'boolean' } as const

const FLAGS = {
  'dir': TEXT, // its default depends on the argument
  'sync': { ...TEXT, default: 'finish' },
  'lock': { ...TEXT, default: 'file' },
  'expires': TEXT,
  'file-mode': { ...TEXT, default: '600' },
  'directory-mode': { ...TEXT, default: '700' },
  'host': { ...TEXT, default: '127.0.0.1' },
  'port': { ...TEXT, default: '1080' },
  'path': { ...TEXT, default: '/files/' },
  'public-url': TEXT,
  'allowed-host': LIST,
  'cors': LIST,
  'max-size': { ...TEXT, default: '100GiB' },
  'max-concurrent': TEXT,
  'idle-timeout': { ...TEXT, default: '60s' },
  'keep-alive-timeout': { ...TEXT, default: '75s' },
  'grace': { ...TEXT, default: '10s' },
  'download': SWITCH,
  'interop-versions': { ...TEXT, default: '8,9' },
  'log': { ...TEXT, default: 'text' },
  'no-page': SWITCH,
  'help': SWITCH,
  'version': SWITCH,
} as const

/**
 * Reads the words after the program's name. A mistake is reported in one line that names the flag.
 */
export function parseCommand(words: readonly string[]): Command {
  try {
    return read(words)
  } catch (error) {
    return { kind: 'invalid', message: explain(error as NodeJS.ErrnoException) }
  }
}

function read(words: readonly string[]): Command {
  const { values, positionals } = parseArgs({ args: [...words], allowPositionals: true, options: FLAGS })
  if (values.help) return { kind: 'help' }
  if (values.version) return { kind: 'version' }
  if (positionals.length > (values.dir === undefined ? 1 : 0)) {
    throw new Error(`unexpected argument '${positionals.at(-1)}'`)
  }
  const options: ServeOptions = {
    dir: value('dir', values.dir ?? positionals[0] ?? './uploads', DIRECTORY),
    sync: value('sync', values.sync, oneOf('none', 'finish', 'append')),
    lock: value('lock', values.lock, oneOf('file', 'memory')),
    expiresMs: optional('expires', values.expires, AGE),
    fileMode: value('file-mode', values['file-mode'], FILE_MODE),
    directoryMode: value('directory-mode', values['directory-mode'], DIRECTORY_MODE),
    host: value('host', values.host, HOST),
    port: value('port', values.port, PORT),
    path: value('path', values.path, PATH),
    publicUrl: optional('public-url', values['public-url'], PUBLIC_URL),
    allowedHosts: (values['allowed-host'] ?? []).map((word) => value('allowed-host', word, ALLOWED_HOST)),
    cors: (values.cors ?? []).map((word) => value('cors', word, CORS_ORIGIN)),
    maxSize: value('max-size', values['max-size'], SIZE),
    maxConcurrent: optional('max-concurrent', values['max-concurrent'], COUNT),
    idleTimeoutMs: value('idle-timeout', values['idle-timeout'], TIMEOUT),
    keepAliveMs: value('keep-alive-timeout', values['keep-alive-timeout'], TIMEOUT),
    graceMs: value('grace', values.grace, TIMEOUT),
    download: values.download ?? false,
    interopVersions: value('interop-versions', values['interop-versions'], INTEROP_VERSIONS),
    log: value('log', values.log, oneOf('text', 'json', 'none')),
    page: !values['no-page'],
  }
  return { kind: 'serve', options }
}

function value<T>(flag: keyof typeof FLAGS, word: string, { expected, parse }: Kind<T>): T {
  const parsed = parse(word)
  if (parsed === undefined) throw new Error(`--${flag} must be ${expected}: received '${word}'`)
  return parsed
}

function optional<T>(flag: keyof typeof FLAGS, word: string | undefined, kind: Kind<T>): T | undefined {
  return word === undefined ? undefined : value(flag, word, kind)
}

/** Says in one line what is wrong, also for what `parseArgs` throws. */
function explain({ code, message }: NodeJS.ErrnoException): string {
  const [firstLine = ''] = message.split('\n')
  const [, word = ''] = /^(?:Unknown option|Option) '(-[^' ]*)/.exec(firstLine) ?? []
  if (word === '') return firstLine
  if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
    const meant = findSimilar(word)
    return `unknown option '${word}'${meant === undefined ? '' : `: did you mean --${meant}?`}`
  }
  if (firstLine.includes('does not take')) return `${word} must not have a value`
  const ambiguous = firstLine.includes('ambiguous') // its value begins with a dash
  return `${word} must have a value${ambiguous ? `: write ${word}=VALUE if it begins with a dash` : ''}`
}

/** The flag that begins with the same letters. */
function findSimilar(word: string): string | undefined {
  const beginning = word.slice(0, word.startsWith('--no-') ? 6 : 5)
  return Object.keys(FLAGS).find((flag) => `--${flag}`.startsWith(beginning))
}
