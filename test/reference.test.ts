// SPDX-License-Identifier: MIT

/** What lib/REFERENCE.md says, compared with the sources, with what they do, and with files that they wrote. @module */

import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { lstatSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { HELP } from '../lib/cli/help.ts'
import { parseCommand } from '../lib/cli/options.ts'
import { FileStore } from '../lib/file-store/file-store.ts'
import { HappyReader } from '../lib/happy-reader.ts'
import type { Exchange } from '../lib/http/exchange.ts'
import { KeyedLock } from '../lib/keyed-lock.ts'
import { LockFiles } from '../lib/lock-files/lock-files.ts'
import { rufh } from '../lib/rufh/handler.ts'
import { problemOf } from '../lib/rufh/problem.ts'
import { ShutdownGroup } from '../lib/shutdown-group.ts'
import type { UploadContext } from '../lib/upload/context.ts'
import { UploadError, type UploadErrorCode } from '../lib/upload/errors.ts'
import { publish, publishError, publishInterrupt } from '../lib/upload/events.ts'
import type { Upload } from '../lib/upload/types.ts'
import { ROOT } from './support/examples.ts'
import { filesIn } from './support/files.ts'
import { PRIMITIVES } from './support/manifest.ts'
import { temporaryFolder } from './support/temporary.ts'

const reference = readFileSync(join(ROOT, 'lib/REFERENCE.md'), 'utf8')
const sources = readdirSync(join(ROOT, 'lib'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts')).sort()
const read = (name: string): string => readFileSync(join(ROOT, 'lib', name), 'utf8')
const all = sources.map(read).join('\n')
const withoutComments = (code: string): string => code.replace(/\/\*[^]*?\*\//g, '').replace(/\/\/.*$/gm, '')

/** The rows of all tables with these columns, a cell each, as they stand. */
function rowsOf(...columns: readonly string[]): string[][] {
  const lines = reference.split('\n')
  const rows: string[][] = []
  for (let at = lines.indexOf(`| ${columns.join(' | ')} |`); at >= 0; at = lines.indexOf(`| ${columns.join(' | ')} |`, at + 1)) {
    for (const line of lines.slice(at + 2)) {
      if (!line.startsWith('|')) break
      rows.push(line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim()))
      assert.equal(rows.at(-1)!.length, columns.length, line)
    }
  }
  assert.ok(rows.length > 0, `there is no table of ${columns.join(', ')}`)
  return rows
}

const plain = (cell: string): string => cell.replace(/[`'"]/g, '')

/** A member of an interface, with its comment on one line. */
interface Member {
  readonly name: string
  readonly optional: boolean
  readonly comment: string
}

function membersOf(file: string, name: string): Member[] {
  const [, body] = new RegExp(`^export interface ${name}\\b[^{]*\\{\\n([^]*?)^\\}`, 'm').exec(read(file)) ?? []
  assert.ok(body !== undefined, `lib/${file} has no interface ${name}`)
  return Array.from(
    body.matchAll(/^(?: {2}\/\*\*([^]*?)\*\/\n)?(?: {2})(?:readonly )?(\w+)(\??)[:(]/gm),
    ([, comment = '', member = '', mark]) => {
      return { name: member, optional: mark === '?', comment: comment.replace(/\n\s*\* ?/g, ' ').trim() }
    },
  )
}

/** What a comment says is taken without the option; `undefined` if it says nothing. */
function defaultIn(comment: string): string | undefined {
  const [, text] = /Default: (.+?)(?:,|\.(?=\s|$)|$)/.exec(comment.replace(/\{@link (\w+)\}/g, '$1')) ?? []
  return text?.replace(/[`'"]/g, '').replace(/(?<=\d) (?=\d{3}\b)/g, '')
}

/** What callers pass and get, and has a row for each member; what is only met inside, or by shape, has none. */
const DESCRIBED = /^(?:\w+Options|RufhOptions|TusOptions|ExpirationPolicy|CreationChoices|FinishAnswer|EarlyResponse|InterimResponse|ShutdownReport)$/
/** Where nothing is for callers: what a store and a locker are given is described as what they must keep. */
const INSIDE = /^(?:cli|download)\/|^upload\/types\.ts$/

const optionRows = rowsOf('options', 'name', 'type', 'unit', 'default', 'what it does').map(
  ([where = '', name = '', , unit = '', fallback = '']) => {
    const [, owner = '', file = ''] = /^\[`(\w+)`\]\((.+)\)$/.exec(where) ?? []
    return { owner, file, name: plain(name), unit, fallback: plain(fallback) }
  },
)

test('every option has a row, and no row names an option that there is not', () => {
  const there = sources.filter((file) => !INSIDE.test(file)).flatMap((file) =>
    Array.from(read(file).matchAll(/^export interface (\w+).*\{\n/gm), ([, owner = '']) => owner).filter((owner) => DESCRIBED.test(owner))
      .flatMap((owner) => membersOf(file, owner).map(({ name }) => `${file} ${owner}.${name}`)),
  )
  assert.ok(there.length > 50, 'options are found')
  assert.deepEqual(optionRows.map(({ file, owner, name }) => `${file} ${owner}.${name}`).sort(), there.sort())
})

test('each default is that of the comment', () => {
  for (const { owner, file, name, fallback } of optionRows) {
    const { optional, comment } = membersOf(file, owner).find((member) => member.name === name)!
    const stated = optional ? (defaultIn(comment) ?? 'none') : owner === 'ShutdownReport' ? '' : 'required'
    assert.equal(fallback, stated, `${owner}.${name} of lib/${file}`)
  }
})

/** A number as people write it, or as a source does. */
function numberIn(text: string): number | undefined {
  const [, digits, unit] = /^([0-9]+)(?: ([KMG])iB)?$/.exec(text) ?? []
  if (digits !== undefined) return Number(digits) * 1024 ** (unit === undefined ? 0 : 'KMG'.indexOf(unit) + 1)
  if (!/^[0-9_]+(?: \*\*? [0-9_]+)*$/.test(text)) return undefined
  return text
    .replaceAll('_', '')
    .split(' * ')
    .reduce(
      (product, factor) =>
        product *
        factor
          .split(' ** ')
          .map(Number)
          .reduceRight((power, base) => base ** power),
      1,
    )
}

test('each default that is a number, or yes or no, is the one that the code takes', () => {
  /** What belongs together: a file directly in `lib` alone, another with its folder. */
  const together = (file: string): string[] =>
    sources.filter((name) => name === file || (file.includes('/') && dirname(name) === dirname(file)))
  let checked = 0
  for (const { owner, file, name, fallback } of optionRows) {
    const expected = /^(?:true|false)$/.test(fallback) ? fallback : numberIn(fallback)
    if (expected === undefined || name === 'ref') continue // which is only looked at for being true
    const taken: unknown[] = Array.from(
      withoutComments(together(file).map(read).join('\n')).matchAll(
        new RegExp(`\\b${name}(?: =| \\?\\?) ([0-9_]+(?: \\*\\*? [0-9_]+)*|true|false)`, 'g'),
      ),
      ([, value = '']) => numberIn(value) ?? value,
    )
    assert.ok(taken.includes(expected), `${owner}.${name} of lib/${file} is ${taken.join(' or ')}, and not ${expected}`)
    checked++
  }
  assert.ok(checked >= 18, `${checked} defaults were found in the code`)
})

test('each unit is that of the name, and comments of times say it too', () => {
  const UNITS = { Ms: 'ms', Seconds: 'seconds', Bytes: 'bytes', Size: 'bytes', highWaterMark: 'bytes', maxConcurrent: 'requests' }
  for (const { owner, file, name, unit } of optionRows) {
    const [, expected = ''] = Object.entries(UNITS).find(([suffix]) => name.endsWith(suffix)) ?? []
    assert.equal(unit, expected, `${owner}.${name}`)
    const { comment } = membersOf(file, owner).find((member) => member.name === name)!
    if (unit === 'ms' && owner !== 'ShutdownReport') assert.match(comment, /milliseconds/i, `${owner}.${name} of lib/${file}`)
    if (unit === 'seconds') assert.match(comment, /\bseconds/, `${owner}.${name} of lib/${file}`)
    if (name.endsWith('Size')) assert.match(comment, /\bbytes/, `${owner}.${name} of lib/${file}`)
  }
})

test('each hook has a row, with its arguments', () => {
  const rows = rowsOf('hook', 'arguments', 'when', 'may return', 'refusing means', 'lock', 'how often')
  const onOneLine = read('upload/hooks.ts').replace(/\n {4,}/g, ' ').replace(/: \| /g, ': ').replace(/\( /g, '(').replace(/,? \)/g, ')')
  const signatures = Array.from(onOneLine.matchAll(/^ {2}readonly (\w+)\?: \(\((.*?)\) => MaybePromise<(.*)>\) \| undefined$/gm))
  assert.deepEqual(rows.map(([name = '']) => plain(name)), membersOf('upload/hooks.ts', 'UploadHooks').map(({ name }) => name))
  for (const [, name = '', parameters = '', result = ''] of signatures) {
    const [, given = '', , returned = ''] = rows.find(([hook = '']) => plain(hook) === name)!
    const names = Array.from(parameters.matchAll(/(\w+): (\S+)/g), ([, parameter, type]) =>
      type === 'FinishDetails' ? `{ ${membersOf('upload/hooks.ts', type).map((member) => member.name).join(', ')} }` : parameter)
    assert.equal(plain(given), names.join(', '), name)
    assert.equal(plain(returned), result.startsWith('void') ? 'nothing' : result.split(' ')[0], name)
  }
  assert.equal(signatures.length, rows.length)
})

test('each public member of a primitive that is a class has a row', () => {
  const classes: Readonly<Record<string, { readonly prototype: object }>> = { HappyReader, ShutdownGroup, KeyedLock, LockFiles, FileStore }
  const rows = rowsOf('class', 'member', 'what it does').map(([owner = '', member = '']) => `${plain(owner)}.${/\w+/.exec(member)}`)
  const there = Object.entries(classes).flatMap(([owner, { prototype }]) =>
    Object.getOwnPropertyNames(prototype)
      .filter((name) => name !== 'constructor' && !name.startsWith('_'))
      .map((name) => `${owner}.${name}`),
  )
  assert.deepEqual(rows.sort(), [...there, 'LockFiles.open'].sort())
  assert.equal(typeof LockFiles.open, 'function')
})

test('the code of each error of a primitive has a row, and no other', () => {
  const rows = rowsOf('source', 'code', 'when').map(([source = '', code = '']) => `${/\((.+)\)/.exec(source)?.[1]} ${plain(code)}`)
  const there = PRIMITIVES.flatMap(({ files }) => files).flatMap((file) =>
    Array.from(
      withoutComments(read(file)).matchAll(/^(?:export type \w+Code =|  readonly code[ :=]+)((?:[\s|]*'[A-Z_]+')+)$/gm),
      ([, codes = '']) => codes.match(/[A-Z_]+/g)!,
    )
      .flat()
      .map((code) => `${file} ${code}`),
  )
  assert.ok(there.length > 15, 'codes are found')
  assert.deepEqual(rows.sort(), there.sort())
})

test('the members of UploadStore and Locker have rows, which say what may be left out', () => {
  const rows = rowsOf('interface', 'member', 'need', 'what it must keep').map((cells) => cells.slice(0, 3).map(plain).join(' '))
  const there = ['UploadStore', 'Locker'].flatMap((owner) =>
    membersOf('upload/types.ts', owner).map(({ name, optional }) => `${owner} ${name} ${optional ? 'optional' : 'required'}`),
  )
  assert.deepEqual(rows.sort(), there.sort())
})

const errorRows = rowsOf('code', 'status', 'message', 'when', 'client', 'in RUFH')

test('the table of errors is that of the code, and tells which are to be tried again', () => {
  const [, table = ''] = /^const TABLE.*?\{\n([^]*?)^\}/m.exec(read('upload/errors.ts')) ?? []
  const codes = Array.from(table.matchAll(/^ {2}([A-Z_]+):/gm), ([, code]) => code as UploadErrorCode)
  assert.ok(codes.length > 25, 'codes are found')
  assert.deepEqual(
    errorRows.map(([code = '', status, message]) => [plain(code), Number(status), message]).sort(),
    codes.map((code) => [code, new UploadError(code).status, new UploadError(code).message]).sort(),
  )
  const [, transient = ''] = /^(?:export )?const TRANSIENT\b[^=]*= \[([^\]]*)\]$/m.exec(all) ?? []
  const retried = errorRows.filter(([, , , when = '']) => when.includes('Retry-After: 1')).map(([code = '']) => plain(code))
  assert.deepEqual(retried, transient.match(/[A-Z_]+/g))
})

test('an error has in Resumable Uploads for HTTP the status and the type that the table says', () => {
  const upload = { offset: 5 } as Upload
  const { refuse } = rufh({})({ limits: { maxSize: 10, maxAppendSize: 10 } } as UploadContext, undefined)
  const exchange = { req: { headers: {} }, method: 'PATCH' } as unknown as Exchange
  for (const [code = '', status, , , , differs = ''] of errorRows) {
    const error = new UploadError(plain(code) as UploadErrorCode, { upload })
    const [, ownStatus = status, type] = /^(?:(\d{3})(?:, |$))?(.+)?$/.exec(differs) ?? []
    assert.equal(refuse(exchange, error).status, Number(ownStatus), code)
    const problem = problemOf(error, 0)
    assert.equal(problem === undefined ? undefined : JSON.parse(problem).type.split('#')[1], type, code)
  }
})

/** The names of all values in a sidecar; of ours, also those below. */
function keysOf(value: object, prefix = ''): string[] {
  return Object.entries(value).flatMap(([key, below]) => {
    const descends = /^(?:Storage|Longhaul|Longhaul\.(?:digest|mark|outcome))$/.test(prefix + key)
    return descends ? keysOf(below as object, `${prefix}${key}.`) : [prefix + key]
  })
}

const keyRows = rowsOf('key', 'type', 'present', 'what it says').map(([key = '', type = '', present = '']) => ({
  key: plain(key),
  type: plain(type),
  present,
}))

test('a sidecar has in every state the keys that the table says, and together they are all of them', async (t) => {
  const bytes = (text: string): Readable => Readable.from([Buffer.from(text)], { objectMode: false })
  const outcome = { status: 201, headers: { 'X-Row': '7' }, body: 'thank you' }
  const store = new FileStore(temporaryFolder(t), { sync: 'append' })
  const plainStore = new FileStore(temporaryFolder(t))
  const sidecar = (id: string, from: FileStore = plainStore): Record<string, unknown> =>
    JSON.parse(readFileSync(join(from.directory, `${id}.info`), 'utf8'))
  const states: Record<string, Record<string, unknown>> = {}

  const bare = await plainStore.create({ length: undefined })
  states['bare'] = sidecar(bare.id)
  const full = await store.create({
    length: 5, encodedMetadata: 'name YQ==', metadata: new Map([['name', 'a']]), partial: true, parts: ['a', 'b'],
    encodedParts: 'final;/a /b',
    maxSize: 9, completion: 'explicit', digest: { algorithm: 'sha256', value: 'AAAA' },
  })
  await store.appendVerified(full, bytes('hello'), { verify: () => true })
  states['receiving'] = sidecar(full.id, store)
  for (const state of ['finishing', 'finished', 'rejected', 'deactivated'] as const) {
    const upload = await plainStore.create({ length: 5 })
    await plainStore.append(upload, bytes('hello'))
    await plainStore.setState((await plainStore.find(upload.id))!, state, state === 'finishing' ? undefined : outcome)
    states[state] = sidecar(upload.id)
    assert.equal((states[state]['Longhaul'] as { state: string }).state, state)
  }
  const moved = await plainStore.create({ length: 0 })
  await plainStore.setState(moved, 'finished')
  await plainStore.moveTo((await plainStore.find(moved.id))!, join(temporaryFolder(t), 'moved'))
  states['moved'] = sidecar(moved.id)
  await store.append((await store.find(full.id))!, bytes(''))
  states['flushed'] = sidecar(full.id, store)

  const tellsBoot = (await store.find(full.id))!.mark!.boot !== undefined
  const listed = keyRows.map(({ key }) => key).filter((key) => tellsBoot || key !== 'Longhaul.mark.boot')
  assert.deepEqual([...new Set(Object.values(states).flatMap((each) => keysOf(each)))].sort(), listed.sort())
  for (const [state, each] of Object.entries(states)) {
    for (const { key, type, present } of keyRows) {
      const value = key.split('.').reduce<unknown>((record, name) => (record as Record<string, unknown> | undefined)?.[name], each)
      if (present === 'always') assert.ok(value !== undefined, `${key} of ${state}`)
      if (value === undefined) continue
      const kind = Array.isArray(value)
        ? 'string[] or null'
        : value === null
          ? 'string[] or null'
          : typeof value === 'object'
            ? 'object of strings'
            : typeof value
      assert.equal(kind, type, `${key} of ${state}`)
    }
  }
  assert.deepEqual(keysOf(states['bare']!).sort(), keyRows.filter(({ present }) => present === 'always').map(({ key }) => key).sort())
})

test('the keys that are said to be of tusd and of @tus/server are those of their sidecars', () => {
  const from = (folder: string, suffix: string): string[] => {
    const path = join(ROOT, 'test/fixtures', folder)
    return [
      ...new Set(
        readdirSync(path)
          .filter((name) => name.endsWith(suffix))
          .flatMap((name) => keysOf(JSON.parse(readFileSync(join(path, name), 'utf8')))),
      ),
    ].sort()
  }
  const ours = keyRows.slice(0, 9).map(({ key }) => key)
  assert.deepEqual(from('tusd', '.info'), [...ours, 'Storage.InfoPath', 'Storage.Path'].sort())
  const [, said = ''] = /A sidecar of @tus\/file-store has ([^]*?), of which/.exec(reference) ?? []
  assert.deepEqual([...said.matchAll(/`(\w+)`/g)].map(([, key]) => key).sort(), from('tus-file-store', '.json'))
})

/** A name as the table has it, with the parts in angle brackets filled in. */
function nameLike(pattern: string): string {
  const fill = (_: string, digits: string | undefined): string => (digits === undefined ? 'abc' : 'f'.repeat(Number(digits)))
  return pattern.replace('<host>', '<8 hex>').replace(/<(?:(\d+) hex|\w+)>/g, fill)
}

test('each kind of file that a store or the locks know has a row, and no other', () => {
  const names = (owner: string): string[] =>
    rowsOf('of', 'name', 'what it is')
      .filter(([of]) => of === owner)
      .map(([, name = '']) => nameLike(plain(name)))
  const patternOf = (name: string): RegExp =>
    new RegExp(new RegExp(`^(?:export )?const ${name}(?:: RegExp)? = /(.*)/$`, 'm').exec(all)![1]!)
  const pattern = patternOf('FILE_PATTERN')
  const [, suffixes = ''] = /\(([^()]*)\)\$$/.exec(pattern.source)!
  const matched = names('store').map((name) =>
    suffixes.split('|').findIndex((suffix) => new RegExp(`^${suffix}$`).test(pattern.exec(name)?.[2] ?? '-')),
  )
  assert.deepEqual(matched.sort(), suffixes.split('|').map((_, index) => index))
  const kinds = [/\.sock$/, /\.new$/, /\.lock$/, /\.lock\./]
  const [socket, lock] = [patternOf('SOCKET'), patternOf('LOCK')]
  for (const name of names('locks')) assert.ok(socket.test(name) || lock.test(name), name)
  assert.deepEqual(names('locks').map((name) => kinds.findIndex((kind) => kind.test(name))), [0, 1, 2, 3])
})

test('files have the names and permissions that the page says', async (t) => {
  const folder = temporaryFolder(t)
  const modeOf = (...path: string[]): string => (lstatSync(join(...path)).mode & 0o777).toString(8)
  const store = new FileStore(join(folder, 'uploads'))
  const { id } = await store.create({ length: 1 })
  assert.deepEqual(filesIn(store.directory), [id, `${id}.info`])
  assert.deepEqual(
    [store.directory, join(store.directory, id), join(store.directory, `${id}.info`)].map((path) => modeOf(path)),
    ['700', '600', '600'],
  )

  const directory = join(folder, 'locks')
  const locks = await LockFiles.open(directory)
  const hold = await locks.acquire('key')
  const [socket = ''] = readdirSync(directory).filter((name) => /^[0-9a-f]{8}-[0-9a-f]{16}\.sock$/.test(name))
  assert.deepEqual(readdirSync(directory).sort(), [socket, 'key.lock'].sort())
  assert.match(readlinkSync(join(directory, 'key.lock')), new RegExp(`^${socket}/[0-9a-f]{24}$`))
  assert.deepEqual([modeOf(directory), modeOf(directory, socket)], ['700', '600'])
  await hold.release()
  await locks.close()
  assert.deepEqual(readdirSync(directory), [])
})

test('a finished upload may be removed at any time, in the order that the page says', async (t) => {
  assert.match(reference, /first `\.json`, then `\.info`, then the data/)
  const store = new FileStore(temporaryFolder(t))
  const upload = await store.create({ length: 0 })
  await store.setState(upload, 'finished')
  for (const suffix of ['.json', '.info', '']) {
    rmSync(join(store.directory, `${upload.id}${suffix}`), { force: true })
    await store.find(upload.id) // never fails
  }
  assert.equal(await store.find(upload.id), undefined)
})

test('each channel has a row, with the fields of its messages', (t) => {
  const rows = rowsOf('channel', 'when', 'message').map(([name = '', , fields = '']) => [plain(name), plain(fields)])
  const names = Array.from(withoutComments(all).matchAll(/\bchannel\('([^']+)'\)/g), ([, name = '']) => name)
  const heard = new Map<string, string>()
  for (const name of names) {
    const listener = (message: unknown): void => void heard.set(name, Object.keys(message as object).join(', '))
    subscribe(name, listener)
    t.after(() => unsubscribe(name, listener))
  }
  const upload = {} as Upload
  for (const event of ['create', 'append', 'finish', 'reject', 'terminate', 'expire'] as const) publish(event, upload)
  publishInterrupt(upload, 'ABORTED')
  publishError(new Error('for observers'))
  assert.deepEqual(rows.sort(), names.map((name) => [name, heard.get(name)!]).sort())
})

test('the flags, their values and their defaults are those that the program prints', () => {
  const rows = rowsOf('flag', 'value', 'default', 'what it does').map(([flag = '', value = '', fallback = '']) =>
    [flag, value, fallback].map(plain).join(' '),
  )
  const printed = HELP.split('\n').filter((line) => line.startsWith('  --')).map((line) => {
    const [, flag = '', value = '', fallback = ''] = /^ {2}(--[a-z-]+)(?: ([A-Z][A-Z,]*))? .*?(?: \(default: ([^()]+)\))?$/.exec(line) ?? []
    return `${flag} ${value} ${fallback}`
  })
  assert.ok(printed.length > 15, 'flags are found')
  assert.deepEqual(rows.sort(), printed.sort())
  // those have a default that can be said
  for (const row of rows.filter((each) => !/^--(?:public-url|allowed-host|max-concurrent|cors|expires|download|no-page|help|version)/.test(each))) {
    const [flag = '', , fallback = ''] = row.split(' ')
    assert.deepEqual(parseCommand([flag, fallback]), parseCommand([]), row)
  }
})

test('the page is short: 420 lines, and 128 columns where they can be broken', () => {
  const lines = reference.trimEnd().split('\n')
  assert.ok(lines.length <= 420, `${lines.length} lines`)
  for (const line of lines) assert.ok(line.startsWith('|') || line.length <= 128, line)
})

test('each link leads somewhere', () => {
  const anchors = Array.from(
    reference.matchAll(/^#+ (.+)$/gm),
    ([, title = '']) =>
      `#${title
        .toLowerCase()
        .replace(/[^\w -]/g, '')
        .replaceAll(' ', '-')}`,
  )
  const links = Array.from(reference.matchAll(/\]\(([^)]+)\)/g), ([, link = '']) => link)
  assert.ok(links.length > 50, 'links are found')
  for (const link of links) assert.ok(link.startsWith('#') ? anchors.includes(link) : sources.includes(link), link)
})
