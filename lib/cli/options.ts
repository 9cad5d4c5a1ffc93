// SPDX-License-Identifier: MIT

/**
 * The program's command line: a list of words in, a decision out.
 *
 * @module
 */

import { parseArgs } from 'node:util'
import { toAddresses } from '../http/location.ts'
import { dialectOf, type InteropVersion } from '../rufh/interop.ts'
import { parseHost } from './allowed-host.ts'
import type { LogFormat } from './log.ts'
import { parseDuration, parseSize } from './quantity.ts'

/** What `longhaul` serves, and how. */
export interface ServeOptions {
  readonly dir: string
  readonly host: string
  readonly port: number
  readonly path: string
  readonly maxSize: number
  readonly graceMs: number
  readonly idleTimeoutMs: number
  readonly keepAliveMs: number
  readonly sync: 'none' | 'finish' | 'append'
  /** Permissions of the files of uploads. */
  readonly fileMode: number
  readonly directoryMode: number
  /** `undefined`: as it arrives. */
  readonly publicUrl: string | undefined
  /** `undefined`: never. */
  readonly expiresMs: number | undefined
  readonly lock: 'file' | 'memory'
  readonly download: boolean
  /** Of the draft of Resumable Uploads for HTTP. */
  readonly interopVersions: readonly InteropVersion[]
  /** Origins; empty: none. */
  readonly cors: readonly string[]
  /** Names that requests may be for, besides those that are safe; `*` stands for every name. */
  readonly allowedHosts: readonly string[]
  /** Bodies received at once; `undefined`: as many as the limit of descriptors allows. */
  readonly maxConcurrent: number | undefined
  readonly log: LogFormat
  /** Whether there is a page at `/`. */
  readonly page: boolean
}

/** What a command line asks for. */
export type Command =
  | { readonly kind: 'serve'; readonly options: ServeOptions }
  | { readonly kind: 'help' | 'version' }
  | { readonly kind: 'invalid'; readonly message: string }

export const HELP = `Usage: longhaul [dir] [options]

Serves resumable uploads (tus 1.0.0, Resumable Uploads for HTTP) and stores them in a directory.

  --dir DIR            where uploads are stored            (./uploads)
  --host HOST          address to listen on                (127.0.0.1)
  --port PORT          port to listen on, 0 for any        (1080)
  --path PATH          where uploads are created           (/files/)
  --public-url URL     the same as clients see it, behind a proxy that changes it
  --allowed-host HOST  answers for this name, too; may be repeated; '*' for every name
  --max-size SIZE      most that one upload may hold       (100GiB)
  --grace TIME         for saving when a client has gone   (10s)
  --idle-timeout TIME  silence that ends a request         (60s)
  --keep-alive-timeout TIME  silence that ends an idle connection  (75s)
  --max-concurrent N   bodies received at once; one more is answered 503
  --sync WHEN          flush to the device: none, finish or append  (finish)
  --file-mode MODE     permissions of the files of uploads, in octal such as 640  (600)
  --directory-mode MODE  the same of a directory that is made, such as 750  (700)
  --expires TIME       gives up unfinished uploads that got no bytes for so long  (never)
  --lock KIND          file: other processes may use the directory too; or memory  (file)
  --download           offers finished uploads at their addresses
  --cors ORIGIN        lets pages of this origin in; may be repeated; '*' for any
  --interop-versions N,N  of the draft of Resumable Uploads for HTTP that clients may speak, 3 to 99  (8,9)
  --log FORMAT         of the lines about uploads: text, json or none  (text)
  --no-page            without the page at / that uploads files
  --help, --version

A request for any IP address, for localhost, or for the name in --host or --public-url is served. For another
name it is answered 421, so that no web page can reach the uploads by having its own name point here. Behind
a proxy that passes Host on, give the name that clients use with --allowed-host or --public-url.
A load balancer must close idle connections before the server does: most do so after 60 s. If yours
keeps them for longer, give a longer --keep-alive-timeout.
By default 10000 bodies are received at once, or fewer if the limit of open files (ulimit -n) is below 50000.

Sizes: 4096, 10MiB, 2GB. Times: 500ms, 30s, 5m, 24h.
SIGTERM or SIGINT (Ctrl-C) saves what is in progress and exits 0. A SIGINT after that forces and exits 1;
a SIGTERM that comes again changes nothing.
`

const MAX_TIMER_MS = 2 ** 31 - 1
const SYNCS = ['none', 'finish', 'append'] as const
const LOCKS = ['file', 'memory'] as const
const LOGS = ['text', 'json', 'none'] as const
const TEXT = { type: 'string' } as const
const SWITCH = { type: 'boolean' } as const
const FLAGS = {
  dir: TEXT, host: TEXT, port: TEXT, path: TEXT, sync: TEXT,
  'max-size': TEXT, grace: TEXT, 'idle-timeout': TEXT, expires: TEXT, lock: TEXT, 'public-url': TEXT, 'interop-versions': TEXT, log: TEXT,
  'allowed-host': { type: 'string', multiple: true }, 'max-concurrent': TEXT,
  'keep-alive-timeout': TEXT, 'file-mode': TEXT, 'directory-mode': TEXT,
  download: SWITCH, 'no-page': SWITCH, cors: { type: 'string', multiple: true },
  help: SWITCH, version: SWITCH,
} as const

/** Reads the words after the program's name. Every mistake is one line that names the flag. */
export function parseCommand(words: readonly string[]): Command {
  try {
    return read(words)
  } catch (error) {
    return { kind: 'invalid', message: explain(error as Error) }
  }
}

/** What is wrong; of a flag that there is not, which one was perhaps meant: one that begins alike. */
function explain({ message }: Error): string {
  const [firstLine = ''] = message.split('\n')
  const [, word = ''] = /^Unknown option '(-[^']*)'/.exec(firstLine) ?? []
  if (word === '') return firstLine
  const meant = Object.keys(FLAGS).find((flag) => `--${flag}`.startsWith(word.slice(0, word.startsWith('--no-') ? 6 : 5)))
  return `Unknown option '${word}'${meant === undefined ? '' : `, perhaps --${meant}`}`
}

function read(words: readonly string[]): Command {
  const { values, positionals } = parseArgs({ args: [...words], allowPositionals: true, options: FLAGS })
  if (values.help) return { kind: 'help' }
  if (values.version) return { kind: 'version' }
  if (positionals.length > (values.dir === undefined ? 1 : 0)) throw new Error(`Unexpected argument '${positionals.at(-1)}'`)
  const options: ServeOptions = {
    dir: value('dir', values.dir ?? positionals[0] ?? './uploads', parseName, 'the path of a folder'),
    host: value('host', values.host ?? '127.0.0.1', parseName, 'an address or a name'),
    port: value('port', values.port ?? '1080', parsePort, 'a number from 0 to 65535'),
    path: value('path', values.path ?? '/files/', parsePath, 'a path such as /files/'),
    maxSize: value('max-size', values['max-size'] ?? '100GiB', parseSize, 'a size such as 10MiB or 2GB'),
    graceMs: value('grace', values.grace ?? '10s', parseTimer, 'a time such as 500ms or 30s, at most 596h'),
    idleTimeoutMs: value('idle-timeout', values['idle-timeout'] ?? '60s', parseTimer, 'a time such as 500ms or 30s, at most 596h'),
    keepAliveMs: value('keep-alive-timeout', values['keep-alive-timeout'] ?? '75s', parseTimer, 'a time such as 75s, at most 596h'),
    fileMode: value(
      'file-mode', values['file-mode'] ?? '600', parseMode(0o600), 'octal, such as 640, and let the owner read and write',
    ),
    directoryMode: value(
      'directory-mode', values['directory-mode'] ?? '700', parseMode(0o700), 'octal, such as 750, and let the owner do all',
    ),
    sync: value('sync', values.sync ?? 'finish', (word) => SYNCS.find((sync) => sync === word), 'none, finish or append'),
    publicUrl: values['public-url'] === undefined ? undefined : value('public-url', values['public-url'], parsePublicUrl, 'a URL such as https://example.com/files/'),
    expiresMs: values.expires === undefined ? undefined : value('expires', values.expires, parsePositive, 'a time such as 24h'),
    lock: value('lock', values.lock ?? 'file', (word) => LOCKS.find((lock) => lock === word), 'file or memory'),
    download: values.download ?? false,
    interopVersions: value('interop-versions', values['interop-versions'] ?? '8,9', parseVersions, 'numbers from 3 to 99, such as 3,6,8,9'),
    allowedHosts: (values['allowed-host'] ?? []).map(readAllowedHost),
    maxConcurrent: values['max-concurrent'] === undefined ? undefined : readMaxConcurrent(values['max-concurrent']),
    log: value('log', values.log ?? 'text', (word) => LOGS.find((log) => log === word), 'text, json or none'),
    page: !values['no-page'],
    cors: (values.cors ?? []).map(readOrigin),
  }
  return { kind: 'serve', options }
}

function value<T>(flag: string, word: string, parse: (word: string) => T | undefined, expected: string): T {
  const parsed = parse(word)
  if (parsed === undefined) throw new Error(`--${flag} must be ${expected}: received '${word}'`)
  return parsed
}

function parsePort(word: string): number | undefined {
  const port = /^[0-9]{1,5}$/.test(word) ? Number(word) : NaN
  return port <= 65535 ? port : undefined
}

function readAllowedHost(word: string): string {
  const parse = (name: string): string | undefined => (name.includes(':') ? undefined : parseHost(name))
  return word === '*' ? word : value('allowed-host', word, parse, 'a name without a port such as example.com, or *')
}

function readMaxConcurrent(word: string): number {
  const parse = (digits: string): number | undefined => (/^[1-9][0-9]{0,5}$/.test(digits) ? Number(digits) : undefined)
  return value('max-concurrent', word, parse, 'a number from 1 to 999999')
}

function parseVersions(word: string): readonly InteropVersion[] | undefined {
  const versions = word.split(',').map((each) => dialectOf(/^[1-9][0-9]?$/.test(each) ? Number(each) : undefined)?.version)
  return versions.every((version) => version !== undefined) ? versions : undefined
}

function parseName(word: string): string | undefined {
  return word === '' ? undefined : word
}

/**
 * A path of unreserved characters (RFC 3986 section 2.3), without the segments "." and ".." that
 * clients resolve; the slashes at its ends may be left out.
 */
function parsePath(word: string): string | undefined {
  if (!/^[A-Za-z0-9._~/-]*$/.test(word) || /\/\/|(?:^|\/)\.{1,2}(?:\/|$)/.test(word)) return undefined
  const inner = word.replace(/^\/|\/$/g, '')
  return inner === '' ? '/' : `/${inner}/`
}

function parsePositive(word: string): number | undefined {
  return parseDuration(word) || undefined
}

/** Permissions in octal, which must give the owner those of `least`. */
function parseMode(least: number): (word: string) => number | undefined {
  return (word) => {
    const mode = /^0?[0-7]{3}$/.test(word) ? Number.parseInt(word, 8) : 0
    return (mode & least) === least ? mode : undefined
  }
}

function readOrigin(word: string): string {
  if (word === 'null' || word.startsWith('file:')) {
    throw new Error(`--cors must name an origin, and a page from a file has none: received '${word}'; only * lets it in`)
  }
  return value('cors', word, parseOrigin, 'an origin such as https://example.com or capacitor://localhost, or *')
}

/**
 * An origin as browsers and the web views of apps send it (RFC 6454 section 6.2): scheme and authority,
 * nothing behind them. A scheme that browsers do not know has no `URL.origin`, and is kept as it is.
 */
function parseOrigin(word: string): string | undefined {
  if (word === '*') return word
  if (!/^[a-z][a-z0-9+.-]*:\/\/[A-Za-z0-9.:[\]-]+$/.test(word) || !URL.canParse(word)) return undefined
  const { origin, href } = new URL(word)
  return word === (origin === 'null' ? href : origin) ? word : undefined
}

/** An http URL without a query, or a path, without the segments that clients resolve; the slash at its end may be left out. */
function parsePublicUrl(word: string): string | undefined {
  const publicUrl = word.endsWith('/') ? word : `${word}/`
  try {
    toAddresses('/', publicUrl, [])
    return word === '' || /\/(?:\.|%2e){1,2}\//i.test(publicUrl) || !URL.canParse(publicUrl, 'http://localhost') ? undefined : publicUrl
  } catch {
    return undefined
  }
}

function parseTimer(word: string): number | undefined {
  const durationMs = parseDuration(word)
  return durationMs !== undefined && durationMs >= 1 && durationMs <= MAX_TIMER_MS ? durationMs : undefined
}
