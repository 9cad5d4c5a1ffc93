// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { formatJson, formatText, UploadLog, type LogEntry, type LogFormat } from '../../lib/cli/log.ts'
import type { ShutdownReport } from '../../lib/shutdown-group.ts'
import type { InterruptReason } from '../../lib/upload/events.ts'
import type { Upload } from '../../lib/upload/types.ts'
import { startProgram, type Program } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request, WireClient } from '../support/wire.ts'

const TIME = new Date('2026-02-01T12:00:00.000Z')
const REPORT: ShutdownReport = {
  reason: 'SIGTERM',
  durationMs: 512.3,
  responses: 0,
  work: 0,
  forced: undefined,
  forcedConnections: 0,
  abandonedWork: 0,
  errors: [],
}

const LINES: readonly (readonly [entry: LogEntry, text: string])[] = [
  [{ event: 'create', upload: '3f2a9c1b', length: 50_000_000 }, '3f2a9c1b created: 50.0 MB'],
  [{ event: 'create', upload: '3f2a9c1b', length: undefined }, '3f2a9c1b created: length unknown'],
  [{ event: 'create', upload: '3f2a9c1b', length: 0 }, '3f2a9c1b created: 0 bytes'],
  [
    { event: 'interrupt', upload: 'a', offset: 12_345_678, length: 50_000_000, reason: 'ABORTED' },
    'a interrupted at 12.3 MB of 50.0 MB: the client disconnected',
  ],
  [
    { event: 'interrupt', upload: 'a', offset: 1, length: undefined, reason: 'IDLE' },
    'a interrupted at 1 byte: timed out waiting for data',
  ],
  [{ event: 'finish', upload: 'a', offset: 999_999, durationMs: 31_249 }, 'a finished at 999.9 kB after 31.2 s'],
  [{ event: 'reject', upload: 'a', offset: 1_999_999_999_999, durationMs: 0 }, 'a rejected at 1.9 TB after 0.0 s'],
  [{ event: 'terminate', upload: 'a', offset: 999, durationMs: 1 }, 'a terminated at 999 bytes after 0.0 s'],
  [{ event: 'expire', upload: 'a', offset: 1_000_000_000, durationMs: 86_400_000 }, 'a expired at 1.0 GB after 86400.0 s'],
  [{ event: 'error', error: 'Error: broken\n    at x', count: 1 }, 'Error: broken\n    at x'],
  [{ event: 'error', error: 'Error: broken', count: 2000 }, 'repeated 2000 times: Error: broken'],
  [
    { event: 'stop', durationMs: 512, savedUploads: 1, savedBytes: 0, forced: undefined, forcedConnections: 0, abandonedWork: 0 },
    'stopped in 0.5 s: 1 upload interrupted, 0 bytes saved, nothing forced',
  ],
  [
    { event: 'stop', durationMs: 10_000, savedUploads: 2, savedBytes: 2000, forced: 'deadline', forcedConnections: 2, abandonedWork: 1 },
    'stopped in 10.0 s: 2 uploads interrupted, 2.0 kB saved, forced by the deadline: 2 connections cut, 1 request abandoned',
  ],
]

test('each entry is one line for people and one JSON object for programs', () => {
  for (const [entry, text] of LINES) {
    assert.equal(formatText(entry, TIME), `2026-02-01T12:00:00.000Z ${text}\n`)
    const json = formatJson(entry, TIME)
    assert.match(json, /^\{[^\n]*\}\n$/)
    assert.deepEqual(JSON.parse(json), { time: '2026-02-01T12:00:00.000Z', ...JSON.parse(JSON.stringify(entry)) })
  }
})

test('an upload is named by the beginning of its id, and nothing that its client said is written', (t) => {
  const { lines, events } = openLog(t, 'json')
  events.begin({
    id: 'a-secret-address',
    length: 5,
    metadata: new Map([['filename', 'private.txt\n']]),
    encodedMetadata: 'filename cHJpdmF0ZQ==',
  })
  assert.equal(lines.length, 1)
  assert.deepEqual(JSON.parse(lines[0]!), { time: JSON.parse(lines[0]!).time, event: 'create', upload: 'a-secret', length: 5 })
})

test('an upload that was begun before the clock was set back took no time, rather than less than none', (t) => {
  const { lines } = openLog(t, 'json')
  const upload = { id: '0123456789abcdef', offset: 10, length: 10, createdAt: new Date(Date.now() + 3_600_000) }
  for (const event of ['finish', 'reject', 'terminate', 'expire']) channel(`longhaul:${event}`).publish({ upload })
  assert.deepEqual(lines.map((line) => JSON.parse(line).durationMs), [0, 0, 0, 0])
})

test('the summary counts the uploads that were interrupted since the shutdown began, each once, and what they have', (t) => {
  const { lines, events, log, controller } = openLog(t, 'text')
  events.interrupt({ offset: 1 }, 'ABORTED')
  controller.abort()
  events.interrupt({ offset: 500 }, 'TAKEN_OVER')
  events.interrupt({ offset: 1000 }, 'SHUTTING_DOWN')
  events.interrupt({ id: 'another', offset: 2000 }, 'ABORTED')
  log.stopped(REPORT)
  assert.match(lines.at(-1)!, /Z stopped in 0\.5 s: 2 uploads interrupted, 3\.0 kB saved, nothing forced\n$/)
  events.begin({})
  assert.equal(lines.length, 5)
})

test('an error that names an upload, or its file, names it as the log does', (t) => {
  const { errors } = openLog(t, 'text')
  const id = '0123456789abcdef0123456789abcdef'
  channel('longhaul:error').publish({
    error: new Error(`The upload ${id} is damaged`, { cause: new Error(`ENOENT, open '/srv/${id}.info'`) }),
  })
  assert.match(errors[0]!, /The upload 01234567 is damaged[^]*'\/srv\/01234567\.info'/)
  assert.doesNotMatch(errors[0]!, new RegExp(id))
})

test('a failure of the server is written to the other stream, with its cause', (t) => {
  for (const format of ['text', 'json', 'none'] as const) {
    const { lines, errors } = openLog(t, format)
    channel('longhaul:error').publish({ error: new Error('outer', { cause: new Error('inner') }) })
    assert.deepEqual([lines.length, errors.length], [0, 1])
    assert.match(errors[0]!, /outer[^]*inner/)
    if (format === 'json') assert.equal(JSON.parse(errors[0]!).event, 'error')
  }
})

test('a failure that repeats is written at once, then once a second with a count, and is forgotten when it stops', (t) => {
  for (const format of ['text', 'json'] as const) {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { errors } = openLog(t, format)
    const counts = (): number[] =>
      errors.splice(0).map((text) => (format === 'json' ? JSON.parse(text).count : Number(/Z repeated (\d+) times: /.exec(text)?.[1] ?? 1)))
    for (let repeat = 0; repeat < 1000; repeat++) fail(openFailure(repeat))
    assert.deepEqual(counts(), [1])
    t.mock.timers.tick(999)
    assert.deepEqual(counts(), [])
    t.mock.timers.tick(1)
    assert.deepEqual(counts(), [999])
    for (let repeat = 0; repeat < 5; repeat++) fail(openFailure(repeat))
    assert.deepEqual(counts(), [])
    t.mock.timers.tick(1000)
    assert.deepEqual(counts(), [5])
    t.mock.timers.tick(1000)
    assert.deepEqual(counts(), [])
    fail(openFailure(0))
    assert.deepEqual(counts(), [1]) // at once again
    t.mock.timers.reset()
  }
})

test('failures of another kind are written beside one that repeats', (t) => {
  const { errors } = openLog(t, 'text')
  const same = (): void => fail(openFailure(1))
  same()
  fail(Object.assign(new Error('with another code'), { code: 'EIO' }))
  fail(new Error('with another cause', { cause: openFailure(1) }))
  fail(new Error('without a code'))
  same()
  fail(Object.assign(new Error('with another text, but the same code'), { code: 'EIO' }))
  fail(new Error('without a code'))
  fail('not an error at all')
  assert.equal(errors.length, 5)
})

test('however many kinds of failures there are, lines and memory have a bound', (t) => {
  const { errors } = openLog(t, 'text')
  for (let kind = 0; kind < 10_000; kind++) fail(new Error(`kind ${kind}`))
  assert.ok(errors.length > 1 && errors.length < 100, `${errors.length} lines`)
  for (let kind = 0; kind < 10_000; kind++) fail(new Error(`The upload ${kind.toString(16).padStart(32, '0')} is damaged`))
  assert.ok(errors.length < 100, `${errors.length} lines`)
})

test('what has repeated until the end is counted before the summary', (t) => {
  const { errors, lines, log } = openLog(t, 'json')
  for (let repeat = 0; repeat < 3; repeat++) fail(openFailure(repeat))
  log.stopped(REPORT)
  assert.deepEqual(errors.map((text) => JSON.parse(text).count), [1, 2])
  assert.equal(lines.length, 1)
})

test('without a log, only the line that says where the program listens is written', (t) => {
  const { lines, events, log } = openLog(t, 'none')
  log.listening('http://127.0.0.1:1/files/')
  events.begin({})
  events.interrupt({}, 'ABORTED')
  log.stopped(REPORT)
  assert.deepEqual(lines, ['longhaul listening on http://127.0.0.1:1/files/\n'])
})

test('what a reader that has fallen behind does not get is counted, and no memory is spent on it', (t) => {
  const { lines, errors, events, output } = openLog(t, 'json')
  output.writableLength = 2 ** 20 + 1
  events.begin({})
  events.begin({})
  assert.deepEqual(lines, [])
  output.writableLength = 2 ** 20
  events.begin({})
  events.begin({})
  assert.deepEqual(lines.map((line) => JSON.parse(line).dropped), [2, undefined])
  output.writableLength = Infinity
  events.begin({})
  channel('longhaul:error').publish({ error: new Error('on the other stream, whose reader keeps up') })
  assert.doesNotMatch(errors[0]!, /dropped/)
  assert.match(formatText(LINES[0]![0], TIME, 2), / \(2 earlier lines dropped: the log was not being read\)\n$/)
})

test('the program logs how an upload is created, is interrupted by its client and by a shutdown, and that it stopped', async (t) => {
  const program = await startProgram(t, ['--dir', temporaryFolder(t), '--log', 'json'])
  const entries = entriesOf(program)
  const { client, location } = await beginUpload(program, 1000, 'x'.repeat(400))
  client.socket.end()
  await entries.untilThereAre(3)
  const again = await append(program, location, 400, 600, 'x'.repeat(100))
  program.process.kill('SIGTERM')
  assert.equal((await again.response()).status, 503)
  again.destroy()
  assert.equal((await program.exit).code, 0)

  const upload = location.slice(-32, -24)
  assert.deepEqual(await entries.all(), [
    { event: 'listen', url: `http://127.0.0.1:${program.port}/files/` },
    { event: 'create', upload, length: 1000 },
    { event: 'interrupt', upload, offset: 400, length: 1000, reason: 'ABORTED' },
    { event: 'interrupt', upload, offset: 500, length: 1000, reason: 'SHUTTING_DOWN' },
    { event: 'stop', savedUploads: 1, savedBytes: 500, forcedConnections: 0, abandonedWork: 0 },
  ])
})

test('a program whose log nobody reads any more, or never did, goes on saving uploads and ends', async (t) => {
  for (const leave of [(program: Program) => program.process.stdout?.destroy(), (program: Program) => program.process.stdout?.pause()]) {
    const dir = temporaryFolder(t)
    const program = await startProgram(t, ['--dir', dir, '--sync', 'none'])
    leave(program)
    const many = await WireClient.connect(program.port)
    for (let count = 0; count < 1500; count++) { // more lines than a pipe holds
      await many.send(request('POST /files/', [TUS, 'Upload-Length: 0']))
      assert.equal((await many.response()).status, 201)
    }
    many.destroy()
    const { client, location } = await beginUpload(program, 1000, 'x'.repeat(400))
    program.process.kill('SIGTERM')
    assert.equal((await client.response()).status, 503)
    client.destroy()
    assert.deepEqual(await program.exit, { code: 0, signal: null })
    assert.equal(statSync(join(dir, location.slice(-32))).size, 400)
    assert.deepEqual(readdirSync(join(dir, '.locks')), [])
  }
})

const TUS = 'Tus-Resumable: 1.0.0'

async function beginUpload(program: Program, length: number, content: string): Promise<{ client: WireClient; location: string }> {
  const { headers } = await exchange(program.port, request('POST /files/', [TUS, `Upload-Length: ${length}`]))
  const location = headers.get('location') ?? ''
  return { client: await append(program, location, 0, length, content), location }
}

/** Sends a beginning, once the server waits for it. */
async function append(program: Program, location: string, offset: number, length: number, content: string): Promise<WireClient> {
  const client = await WireClient.connect(program.port)
  const headers = [
    TUS,
    `Upload-Offset: ${offset}`,
    'Content-Type: application/offset+octet-stream',
    `Content-Length: ${length}`,
    'Expect: 100-continue',
  ]
  await client.send(request(`PATCH ${location}`, headers))
  assert.equal((await client.response()).status, 100)
  await client.send(content)
  return client
}

/** What a program logs as JSON, without times and durations. */
function entriesOf({ process, line }: Program) {
  let text = `${line}\n`
  const closed = once(process, 'close')
  process.stdout!.on('data', (chunk) => (text += chunk))
  const entries = (): object[] => text.trimEnd().split('\n').map((each) => {
    const { time, durationMs, ...entry } = JSON.parse(each)
    assert.match(time, /Z$/)
    return entry
  })
  return {
    async untilThereAre(count: number): Promise<void> {
      while (text.split('\n').length <= count) await once(process.stdout!, 'data')
    },
    async all(): Promise<object[]> {
      await closed
      return entries()
    },
  }
}

function fail(error: unknown): void {
  channel('longhaul:error').publish({ error })
}

/** What a file system says of one of many files. */
function openFailure(file: number): Error {
  const cause = Object.assign(new Error(`EMFILE: too many open files, open '/srv/upload-${file}.info'`), { code: 'EMFILE' })
  return Object.assign(new Error('The server failed', { cause }), { code: 'INTERNAL' })
}

/** A log that writes into arrays, and ways to have something happen. */
function openLog(t: TestContext, format: LogFormat) {
  const [lines, errors]: [string[], string[]] = [[], []]
  const output = { writableLength: 0, write: (text: string) => lines.push(text) }
  const controller = new AbortController()
  const log = new UploadLog({
    format,
    output,
    errors: { writableLength: 0, write: (text: string) => errors.push(text) },
    signal: controller.signal,
  })
  t.after(() => log.stopped(REPORT))
  const upload = { id: '0123456789abcdef', offset: 0, length: 10, createdAt: new Date() }
  const events = {
    begin: (more: Partial<Upload>) => channel('longhaul:create').publish({ upload: { ...upload, ...more } }),
    interrupt: (more: Partial<Upload>, code: InterruptReason) =>
      channel('longhaul:interrupt').publish({ upload: { ...upload, ...more }, code }),
  }
  return { log, lines, errors, output, controller, events }
}
