// SPDX-License-Identifier: MIT

/**
 * Whatever a stranger writes is read in the documented way: no parser throws, hangs, remembers, or lets
 * a text reach what it is not meant for.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { FileStore, type StoredUpload } from '../../lib/file-store/file-store.ts'
import { LockFiles } from '../../lib/lock-files/lock-files.ts'
import { serve, head, OCT, V } from '../tus/support.ts'
import { ROOT } from '../support/examples.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request, WireClient, type WireResponse } from '../support/wire.ts'
import { campaign } from './campaign.ts'
import { Ledger, PATH, type Entry } from './ledger.ts'
import { attacksOn, literalsOf, readPatterns, runAll, slowness, stretchesOf, textOf, type Attack } from './parser-patterns.ts'
import { FRAMING_HEADERS, headersOfSources, headerValues, SPOILT_HEADERS, toBytes, wellFormed, type Draft } from './parser-requests.ts'
import { ALL_TEXTS, PARSERS, readCorpus, textsFor, type Parser } from './parser-table.ts'
import { finish } from './process-client.ts'
import { assertSettles, holdingsAtRest } from './process-holdings.ts'
import type { Random } from './random.ts'
import { compileLibrary, locksIn, Subject } from './subject.ts'

/** More than Node lets into all headers of a request. */
const MAX_HEADER_BYTES = 64 * 1024
/** The largest sidecar that is read. */
const MAX_SIDECAR_BYTES = 3 * 1024 * 1024

/** What must stay as it is, whatever is read: everything that all objects, lists and functions have. */
function builtins(): string {
  return [Object, Array, Function, Map, String, RegExp].map(({ prototype }) => Reflect.ownKeys(prototype).map(String).join()).join('\n')
}
const untouched = builtins()

function assertUntouched(): void {
  assert.equal(builtins(), untouched)
  assert.equal(Object.keys(Object.prototype).length, 0)
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined)
}

/** What a text means to a parser, `refused` if it means nothing. Any error that is not documented fails here. */
async function meaningOf({ name, read, isRefusal, throws }: Parser, text: string): Promise<unknown> {
  try {
    const meaning = await read(text)
    return isRefusal(meaning) ? 'refused' : meaning
  } catch (error) {
    assert.ok(throws !== undefined && error instanceof throws, `${name} threw ${String(error)} for ${JSON.stringify(text)}`)
    return 'refused'
  }
}

async function assertReadsWell(parser: Parser, text: string): Promise<void> {
  const meaning = await meaningOf(parser, text)
  assert.deepEqual(await meaningOf(parser, text), meaning, 'the same text means the same again')
  if (meaning !== 'refused') {
    parser.check(meaning as never, text)
    if (parser.write) {
      assert.deepEqual(
        await meaningOf(parser, parser.write(meaning as never)),
        meaning,
        'what was read is read again from what it is written as',
      )
    }
  }
  assertUntouched()
}

test('each parser reads its corpus as it should, and is not shaken by that of any other', async () => {
  for (const parser of PARSERS) {
    for (const text of parser.corpus.accepted) {
      assert.notEqual(await meaningOf(parser, text), 'refused', `${parser.name} reads ${JSON.stringify(text)}`)
    }
    for (const text of parser.corpus.refused) {
      assert.equal(await meaningOf(parser, text), 'refused', `${parser.name} refuses ${JSON.stringify(text)}`)
    }
    for (const text of ALL_TEXTS) await assertReadsWell(parser, text)
  }
})

campaign(
  'whatever the text, a parser reads it or refuses it as documented, the same each time, and changes nothing else',
  { short: 500, long: 50_000 },
  async ({ random, rounds, report }) => {
    for (const parser of PARSERS) {
      const property = fc.asyncProperty(textsFor(parser.corpus), (text) => assertReadsWell(parser, text))
      await fc.assert(property, { seed: random.integer(0, 2 ** 31 - 1), numRuns: rounds })
    }
    report({ fault: 'hostile texts for parsers', rounds: rounds * PARSERS.length })
  },
)

test('a header that is there and malformed is not taken for one that is absent', async (t) => {
  const site = await serve(t, { download: {} })
  const status = async (text: string): Promise<number> => (await exchange(site.port, text, { toHead: text.startsWith('HEAD') })).status
  const created = async (): Promise<string> =>
    (await exchange(site.port, request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 5'], 'hello'))).headers.get(
      'location',
    )!
  const finished = await created()
  const post = (headers: readonly string[]): string => request('POST /files/', [V, 'Upload-Length: 5', 'Content-Length: 0', ...headers])
  const get = (headers: readonly string[]): string => request(`GET ${finished}`, headers)
  const rows: readonly (readonly [
    header: string,
    malformed: string,
    of: (headers: readonly string[]) => string,
    absent: number,
    refused: number,
  ])[] = [
    ['Upload-Metadata', 'k eA', post, 201, 400],
    ['Upload-Concat', 'final', post, 201, 400],
    [
      'Upload-Checksum',
      'sha1',
      (headers) => request('POST /files/', [V, OCT, 'Upload-Length: 5', 'Content-Length: 5', ...headers], 'hello'),
      201,
      400,
    ],
    ['Upload-Defer-Length', '', post, 201, 400],
    [
      'Upload-Length',
      '5.0',
      (headers) => request('POST /files/', [V, 'Upload-Defer-Length: 1', 'Content-Length: 0', ...headers]),
      201,
      400,
    ],
    ['Tus-Resumable', '1', get, 200, 412],
    ['X-HTTP-Method-Override', '', get, 200, 400],
    ['If-Match', 'tag', get, 200, 412],
    ['If-Unmodified-Since', 'Thu, 01 Jan 1970 00:00:00 GMT', get, 200, 412],
  ]
  for (const [header, malformed, of, absent, refused] of rows) {
    assert.equal(await status(of([])), absent, `without ${header}`)
    assert.equal(await status(of([`${header}: ${malformed}`])), refused, `with ${header}: ${malformed}`)
  }
  const ranged = async (headers: readonly string[]): Promise<number> => status(get(['Range: bytes=0-1', ...headers]))
  assert.deepEqual([await ranged([]), await ranged(['If-Range: tag'])], [206, 200], 'a malformed If-Range has the whole sent')
})

test('the expressions of the library are all written as literals, and the search finds them', () => {
  const patterns = readPatterns(ROOT)
  assert.ok(patterns.length >= 40, `${patterns.length} expressions`)
  assert.ok(patterns.some(({ file, regex }) => file === 'tus/metadata.ts' && regex.source.includes('([!-+')))
  for (const name of readdirSync(join(ROOT, 'lib'), { recursive: true, encoding: 'utf8' }).filter((each) => each.endsWith('.ts'))) {
    assert.doesNotMatch(
      readFileSync(join(ROOT, 'lib', name), 'utf8'),
      /\bRegExp\(|\.(?:match|matchAll|search)\(['"`]/,
      `lib/${name} makes an expression out of text`,
    )
  }
  assert.deepEqual(literalsOf("// a /b/\nconst x = 4 / 2 / 1 // no /c/\n/* /d/ */ f('/e/', `/${g(/h/u)}/`, /[/'\"]i\\//g)").map(String), [
    '/[/\'"]i\\//g',
  ])
})

test('the search for slow expressions finds those that are known to be slow', () => {
  for (const slow of [/^(a+)+$/, /^(\w+\s?)*$/, /\s+$/, /^(?:[!-~]+ ?)*$/, /"[^"]*",.*;x/, /,.*,.*;$/]) {
    const attacks = attacksOn(slow, 1)
    assert.ok(
      attacks.some((attack) => slowness(runAll(slow), attack, MAX_HEADER_BYTES / 4, 20) !== undefined),
      `${slow} passed ${attacks.length} attacks`,
    )
  }
})

campaign('no regular expression takes more than linear time', { short: 1, long: 20 }, async ({ random, rounds, report }) => {
  let attacks = 0
  for (let round = 0; round < rounds; round++) {
    for (const { file, regex } of readPatterns(ROOT)) {
      for (const attack of attacksOn(regex, random.integer(0, 2 ** 31 - 1))) {
        assert.equal(slowness(runAll(regex), attack, MAX_HEADER_BYTES), undefined, `lib/${file}: ${regex}`)
        attacks++
      }
    }
  }
  report({ fault: 'texts that slow expressions down', rounds: attacks })
})

test('no parser takes more than linear time, whatever is repeated in what it reads', () => {
  // the operator's own words, which Node's `parseArgs` takes apart
  for (const parser of PARSERS.filter(({ name }) => name !== 'command line')) {
    const read = (text: string): void => {
      try {
        void parser.read(text)
      } catch {} // whether it may is asked elsewhere
    }
    for (const text of [...parser.corpus.accepted, ...parser.corpus.refused].slice(0, 6)) {
      for (const attack of stretchesOf(text.slice(0, 60))) assert.equal(slowness(read, attack, MAX_HEADER_BYTES), undefined, parser.name)
    }
  }
})

const SIDECARS = readCorpus('sidecars')
const layouts = [['longhaul', '.info'], ['tusd', '.info'], ['@tus/file-store', '.json']] as const

/** Puts an upload of three bytes into a directory, with a sidecar that is anybody's. */
function plant(directory: string, suffix: string, sidecar: string): void {
  writeFileSync(join(directory, 'x'), 'abc')
  writeFileSync(join(directory, `x${suffix}`), sidecar)
}

/** What the store makes of a sidecar. Any error but the documented one fails here. */
async function findPlanted(store: FileStore, suffix: string, sidecar: string): Promise<StoredUpload | 'refused'> {
  plant(store.directory, suffix, sidecar)
  try {
    const upload = await store.find('x')
    return upload ?? assert.fail('a sidecar that is there was taken for an absent one')
  } catch (error) {
    const expected = suffix === '.info' && isLater(sidecar) ? 'UPLOAD_TOO_NEW' : 'UPLOAD_CORRUPT'
    assert.equal((error as { code?: unknown }).code, expected, String(error))
    return 'refused'
  }
}

/** Whether a later version of the store may have written it. */
function isLater(sidecar: string): boolean {
  try {
    const { version } = (JSON.parse(sidecar) as { Longhaul: { version: unknown } }).Longhaul
    return typeof version === 'number' && version > 2
  } catch {
    return false
  }
}

function assertMakesSense(upload: StoredUpload): void {
  const { id, offset, length, metadata, state, parts = [], maxSize = 0, createdAt, outcome } = upload
  assert.equal(id, 'x')
  assert.ok(Number.isSafeInteger(offset) && offset >= 0 && offset <= Math.min(3, length ?? 3))
  assert.ok(length === undefined || (Number.isSafeInteger(length) && length >= 0))
  assert.ok(Number.isSafeInteger(maxSize) && maxSize >= 0 && !Number.isNaN(createdAt.getTime()))
  assert.ok(['receiving', 'finishing', 'finished', 'rejected', 'deactivated'].includes(state))
  for (const [key, value] of metadata) assert.ok(typeof key === 'string' && typeof value === 'string')
  for (const part of parts) assert.match(part, /^[A-Za-z0-9_-]{1,128}$/)
  assert.equal(Object.getPrototypeOf(outcome ?? {}), Object.prototype)
}

for (const [layout, suffix] of layouts) {
  const corpus = SIDECARS[layout]!
  test(`sidecars of ${layout}: the corpus is read as it should, keys such as __proto__ as plain data`, async (t) => {
    const store = new FileStore(temporaryFolder(t), { sync: 'none' })
    for (const text of corpus.refused) assert.equal(await findPlanted(store, suffix, text), 'refused', text)
    for (const text of corpus.accepted) {
      const upload = await findPlanted(store, suffix, text)
      assert.ok(upload !== 'refused', text)
      assertMakesSense(upload)
      const told = JSON.parse(text) as { MetaData?: object; metadata?: object }
      assert.deepEqual([...upload.metadata.keys()], Object.keys(told.MetaData ?? told.metadata ?? {}))
    }
    assertUntouched()
  })

  campaign(
    `sidecars of ${layout}: whatever the text, it is read or refused as documented, the same each time`,
    { short: 300, long: 20_000 },
    async ({ t, random, rounds, report }) => {
      const store = new FileStore(temporaryFolder(t), { sync: 'none' })
      const property = fc.asyncProperty(textsFor(corpus), async (text) => {
        const upload = await findPlanted(store, suffix, text)
        assert.deepEqual(
          await findPlanted(store, suffix, text),
          upload === 'refused'
            ? upload
            : { ...upload, updatedAt: (await store.find('x'))!.updatedAt, createdAt: (await store.find('x'))!.createdAt },
        )
        if (upload !== 'refused') assertMakesSense(upload)
        assertUntouched()
      })
      await fc.assert(property, { seed: random.integer(0, 2 ** 31 - 1), numRuns: rounds })
      report({ fault: `hostile sidecars of ${layout}`, rounds })
    },
  )
}

test('a sidecar that is changed says afterwards what it said before, keys of any name included', async (t) => {
  for (const [layout, suffix] of layouts) {
    for (const text of SIDECARS[layout]!.accepted) {
      const store = new FileStore(temporaryFolder(t), { sync: 'none' })
      const before = await findPlanted(store, suffix, text)
      assert.ok(before !== 'refused')
      await store.setState(before, before.state, before.outcome)
      const after = await store.find('x')
      assert.deepEqual(
        { ...after, foreign: undefined, updatedAt: undefined, createdAt: undefined },
        { ...before, foreign: undefined, updatedAt: undefined, createdAt: undefined },
      )
      assert.equal(after!.createdAt.getTime(), before.createdAt.getTime())
      if (suffix === '.info') {
        const [first, second] = [JSON.parse(text), JSON.parse(readFileSync(join(store.directory, 'x.info'), 'utf8'))] as [
          Record<string, unknown>,
          Record<string, unknown>,
        ]
        for (const key of Object.keys(first)) assert.ok(Object.hasOwn(second, key), `${key} is gone`)
        for (const key of ['Storage', '__proto__', 'constructor']) {
          assert.deepEqual(Object.getOwnPropertyDescriptor(second, key)?.value, Object.getOwnPropertyDescriptor(first, key)?.value)
        }
      }
    }
  }
  assertUntouched()
})

test('a sidecar of the largest size is read or refused in linear time', async (t) => {
  const store = new FileStore(temporaryFolder(t), { sync: 'none' })
  const shapes: readonly (readonly [what: string, attack: Attack])[] = [
    ['metadata of one long value', { start: '{"ID":"x","Size":3,"MetaData":{"a":"', piece: 'é', end: '"}}' }],
    ['metadata of many keys', { start: '{"ID":"x","Size":3,"MetaData":{"a":""', piece: ',"__proto__":"b","constructor":"c"', end: '}}' }],
    ['many parts', { start: '{"ID":"x","Size":3,"IsFinal":true,"PartialUploads":["a"', piece: ',"b"', end: ']}' }],
    [
      'parts of which the last is none',
      { start: '{"ID":"x","Size":3,"IsFinal":true,"PartialUploads":["a"', piece: ',"b"', end: ',"../c"]}' },
    ],
    ['a part with a long name', { start: '{"ID":"x","Size":3,"IsFinal":true,"PartialUploads":["', piece: 'a', end: '"]}' }],
    ['lists in lists that never end', { start: '{"ID":"x","Size":3,"Storage":', piece: '[', end: '' }],
    ['records in records', { start: '', piece: '{"ID":', end: '' }],
    ['white space', { start: '{"ID":"x","Size":3', piece: ' \n', end: '}' }],
    ['digits', { start: '{"ID":"x","Size":', piece: '9', end: '}' }],
    [
      'a date',
      { start: '{"ID":"x","Size":3,"Longhaul":{"version":1,"state":"receiving","createdAt":"', piece: '2024-01-01 (', end: '"}}' },
    ],
    ['escapes', { start: '{"ID":"x","Size":3,"MetaData":{"a":"', piece: '\\u0000', end: '"}}' }],
  ]
  for (const [what, attack] of shapes) {
    for (const suffix of ['.info', '.json']) {
      // Two sizes, the second twelve times the first: what is linear is far below a second at the larger, what is quadratic far above.
      for (const size of [MAX_SIDECAR_BYTES / 12, MAX_SIDECAR_BYTES - 100]) {
        const text = textOf(attack, Math.floor(size / (attack.piece === 'é' ? 2 : 1)) - attack.piece.length)
        const start = performance.now()
        await findPlanted(store, suffix, text)
        assert.ok(performance.now() - start < 5000, `${what} of ${size} bytes`)
      }
      assertUntouched()
    }
  }
  assert.equal(await findPlanted(store, '.info', ' '.repeat(MAX_SIDECAR_BYTES + 1)), 'refused')
})

test('metadata with keys such as __proto__ come back as they were sent, through every change of the upload and a restart', async (t) => {
  const metadata = '__proto__ eA==,constructor eQ==,prototype eg==,toString,hasOwnProperty dg==,filename YS50eHQ='
  const site = await serve(t, { download: {} })
  const created = await exchange(
    site.port,
    request('POST /files/', [V, OCT, 'Upload-Defer-Length: 1', `Upload-Metadata: ${metadata}`, 'Content-Length: 2'], 'he'),
  )
  const path = created.headers.get('location')!
  assert.equal(
    (await exchange(site.port, request(`PATCH ${path}`, [V, OCT, 'Upload-Offset: 2', 'Upload-Length: 5', 'Content-Length: 3'], 'llo')))
      .status,
    204,
  )
  for (const port of [site.port, (await serve(t, { folder: site.folder })).port]) {
    assert.equal((await head({ port }, path)).headers.get('upload-metadata'), metadata)
  }
  const stored = (await new FileStore(site.folder).find(path.slice(PATH.length)))!
  assert.deepEqual(
    [...stored.metadata],
    [
      ['__proto__', 'x'],
      ['constructor', 'y'],
      ['prototype', 'z'],
      ['toString', ''],
      ['hasOwnProperty', 'v'],
      ['filename', 'a.txt'],
    ],
  )
  assert.equal((await exchange(site.port, request(`GET ${path}`))).headers.get('content-disposition'), 'attachment; filename="a.txt"')
  assertUntouched()
})

campaign(
  'whatever a lock names, it is one of ours or corrupt, and no other lock suffers',
  { short: 150, long: 5000 },
  async ({ t, random, rounds, report }) => {
    const directory = temporaryFolder(t)
    const locks = await LockFiles.open(directory, { leaseMs: 20 }) // for so long a process counts that has no socket
    const corpus = readCorpus('tokens')['lock']!
    const text = textsFor(corpus)
      .map((target) => Buffer.from(target.replaceAll('\0', '').slice(0, 1000)).toString())
      .filter((target) => target !== '')
    let count = 0
    const property = fc.asyncProperty(fc.oneof(text, fc.constantFrom(...corpus.accepted, ...corpus.refused)), async (target) => {
      const key = `key-${count++}`
      symlinkSync(target, join(directory, `${key}.lock`))
      const outcome = await locks.acquire(key, { timeoutMs: 10_000 }).then(
        (hold) => hold.release().then(() => 'held'),
        (error: { code?: string }) => error.code,
      )
      assert.equal(outcome, /^[0-9a-f]{8}-[0-9a-f]{16}\.sock\/[0-9a-f]{24}$/.test(target) ? 'held' : 'LOCK_CORRUPT')
      await (await locks.acquire('other')).release()
    })
    await fc.assert(property, { seed: random.integer(0, 2 ** 31 - 1), numRuns: rounds })
    const late = await LockFiles.open(directory) // whatever lies there, a process that comes later starts
    await (await late.acquire('other')).release()
    await Promise.all([locks.close(), late.close()])
    report({ fault: 'hostile locks', rounds })
  },
)

campaign(
  'whatever comes over the socket of the locks, it is turned away, and those in line are served',
  { short: 150, long: 5000 },
  async ({ t, random, rounds, report }) => {
    const directory = temporaryFolder(t)
    const [locks, elsewhere] = [await LockFiles.open(directory), await LockFiles.open(directory)]
    const hold = await locks.acquire('key')
    const waiting = elsewhere.acquire('key')
    const [socketName] = readdirSync(directory).filter((name) => name.endsWith('.sock'))
    const line = fc.oneof(
      textsFor(readCorpus('tokens')['lock']!),
      fc.constantFrom('\n', '!', '?', 'x'.repeat(300_000), `${socketName}/${'0'.repeat(24)}\n`),
    )
    const property = fc.asyncProperty(line, async (text) => {
      const socket = connect(join(directory, socketName!))
      await once(socket, 'connect')
      let answer = ''
      socket.on('data', (chunk) => (answer += chunk)).on('error', () => {})
      socket.end(text)
      if (!socket.closed) await once(socket, 'close')
      assert.ok(answer === '?' || (answer === '' && (text === '' || text.length > 1000)), JSON.stringify(answer))
    })
    await fc.assert(property, { seed: random.integer(0, 2 ** 31 - 1), numRuns: rounds })
    await hold.release()
    await (await waiting).release()
    await Promise.all([locks.close(), elsewhere.close()])
    assert.deepEqual(readdirSync(directory), [])
    report({ fault: "hostile lines over the locks' sockets", rounds })
  },
)

const TABLE = [400, 403, 404, 405, 408, 409, 410, 412, 413, 415, 423, 431, 460, 501, 503, 507]
const SUCCESSES = [200, 201, 204, 206, 304]
/** Answers that are Node's own, or those of a range. */
const OTHERS = [416, 417]
const MARK = 'xY9qMARKq9Yx'

test('every header that the handler reads is among those that are spoiled', () => {
  const known = [...SPOILT_HEADERS, ...FRAMING_HEADERS, ':authority'].map((name) => name.toLowerCase())
  const read = headersOfSources(ROOT)
  assert.ok(read.length > 15, read.join())
  assert.deepEqual(read.filter((name) => !known.includes(name)), [])
})

campaign(
  'whatever the headers of a request say, it is answered from the table, nothing of it is reflected, and uploads lose nothing',
  { short: 800, long: 60_000 },
  async ({ t, random, rounds, report }) => {
    const folder = temporaryFolder(t)
    const dist = await compileLibrary()
    const args = [
      '--download', '--cors', 'https://app.example', '--expires', '1h', '--idle-timeout', '1s', '--sync', 'none', '--max-size', '1MiB',
    ]
    const subject = await Subject.program(t, dist, folder, args)
    const { port } = subject
    await subject.start()
    const ledger = new Ledger()
    const values = fc.sample(headerValues(), { numRuns: Math.min(rounds, 5000), seed: random.integer(0, 2 ** 31 - 1) })
    await finish(port, await create(port, ledger, random.fork(-1))) // so that what a program makes only once is made
    const before = await holdingsAtRest(subject)

    const attack = async (task: number): Promise<void> => {
      const own = random.fork(task)
      let entry = await create(port, ledger, own)
      for (let round = task; round < rounds; round += TASKS) {
        const { acknowledged, length } = entry
        const body = entry.take(acknowledged, Math.min(length, acknowledged + own.integer(0, 2000)))
        const draft = wellFormed(own, entry.path, acknowledged, body)
        const marked = spoil(draft, own, values)
        const answer = await answerTo(port, draft)
        assertPlain(answer, draft, marked)
        const told = await exchange(port, request(`HEAD ${entry.path}`, [V]), { toHead: true })
        if (told.status === 404) {
          assert.ok([draft.method, draft.headers.get('X-HTTP-Method-Override')].includes('DELETE'), `${entry.path} is gone`)
          entry.terminated = true
        } else if (told.status === 410) {
          assert.ok(
            draft.method === 'PATCH' && draft.headers.has('Upload-Complete') && draft.headers.get('Content-Length') !== String(body.length),
            `${entry.path} is deactivated`,
          )
          entry.terminated = true // more was announced than it was to have
        } else entry.acknowledge(Number(told.headers.get('upload-offset')))
        if (entry.terminated || entry.acknowledged === entry.length) entry = await create(port, ledger, own)
      }
    }
    await Promise.all(Array.from({ length: TASKS }, (_, task) => attack(task)))

    for (const entry of ledger.entries.filter(({ terminated }) => !terminated)) await finish(port, entry)
    const { acknowledgedBytes, lostBytes } = ledger.audit(folder)
    await assertSettles(subject, before)
    assert.deepEqual([...(await subject.inspect()).alarms, ...subject.alarms], [])
    assert.equal(subject.errors, '', 'no request made the server fail')
    assert.deepEqual(await subject.stop(), { code: 0, signal: null })
    assert.deepEqual(locksIn(folder), [])
    report({ fault: 'hostile request headers', rounds, acknowledgedBytes, lostBytes })
  },
)

/** How many clients attack at once. */
const TASKS = 8

async function create(port: number, ledger: Ledger, random: Random): Promise<Entry> {
  const length = random.integer(1, 10_000)
  const created = await exchange(
    port,
    request('POST /files/', [V, `Upload-Length: ${length}`, 'Upload-Metadata: filename d29ybGQ=', 'Content-Length: 0']),
  )
  assert.equal(created.status, 201)
  return ledger.created(created.headers.get('location')!, length, String(random.next()))
}

/** Spoils one to three headers of a request; returns the mark that one of them holds, if one does. */
function spoil({ headers, method }: Draft, random: Random, values: readonly string[]): boolean {
  let marked = false
  for (let count = random.integer(1, 3); count > 0; count--) {
    const value = random.pick(values)
    const withMark = random.chance(0.5)
    const at = random.integer(0, value.length)
    if (random.chance(0.02)) headers.set('Content-Length', value)
    else headers.set(random.pick(SPOILT_HEADERS), withMark ? value.slice(0, at) + MARK + value.slice(at) : value)
    marked ||= withMark
  }
  if (method === 'POST' && random.chance(0.1)) headers.delete('Upload-Length')
  return marked
}

/** The last answer to a request; `undefined` if the connection was closed without one. */
async function answerTo(port: number, draft: Draft): Promise<WireResponse | undefined> {
  const client = await WireClient.connect(port)
  try {
    await client.send(toBytes(draft))
    for (;;) {
      const answer = await client.response({ toHead: draft.method === 'HEAD' || draft.headers.get('X-HTTP-Method-Override') === 'HEAD' })
      if (answer.status >= 200) return answer
    }
  } catch (error) {
    assert.match(String(error), /ended inside an answer, after ""/)
    return undefined
  } finally {
    client.destroy()
  }
}

function assertPlain(answer: WireResponse | undefined, draft: Draft, marked: boolean): void {
  const sent = toBytes({ ...draft, body: Buffer.alloc(0) }).toString('latin1')
  assert.ok(answer, `there was no answer to ${sent}`)
  const { status, headers, body } = answer
  assert.ok([...TABLE, ...SUCCESSES, ...OTHERS].includes(status), `${status} was the answer to ${sent}`)
  if (marked) assert.ok(![...headers.values(), ...headers.keys(), body].join('\n').includes(MARK), `the answer reflects ${sent}`)
  if (status === 201) assert.match(headers.get('location')!, /^\/files\/[0-9a-f]{32}$/)
  if (TABLE.includes(status) && headers.get('tus-resumable') !== undefined && body !== '') assert.match(body, /^[A-Z][^\r\n]*\n$/)
  if (headers.get('content-type') === 'application/problem+json') {
    assert.match(JSON.parse(body).type, /^https:\/\/iana\.org\/assignments\/http-problem-types#[a-z-]+$/)
  }
}
