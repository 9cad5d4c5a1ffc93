// SPDX-License-Identifier: MIT

/** The program with few descriptors, and strangers that want all of them. */

import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { capacityOf } from '../../lib/cli/descriptors.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request, type WireResponse } from '../support/wire.ts'

const MAIN = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url))
const TUS = 'Tus-Resumable: 1.0.0'
const OCTETS = 'Content-Type: application/offset+octet-stream'
const LIMIT = 256
const BODIES = 25
/** Far more than an answer takes, and less than what strangers may keep by doing nothing. */
const SOON_MS = 10_000

test('with few descriptors, the program says once what they are enough for, behind the line that it listens', async (t) => {
  const { line, stop } = await start(t)
  assert.match(line, /^longhaul listening on /)
  assert.match(await stop(), /^longhaul: the open-file limit \(ulimit -n\) is 256: at most 25 bodies and 51 connections at once\n$/)
  assert.equal(capacityOf(LIMIT).maxConcurrent, BODIES)
})

test('a stranger with more idle uploads than there are descriptors leaves room: others look, create and are told to come again', async (t) => {
  const { port, stop } = await start(t)
  const mine = await create(port)
  const theirs = await Promise.all(Array.from({ length: 50 }, () => create(port)))
  const strangers = Array.from({ length: 300 }, (_, index) => {
    return open(t, port, request(`PATCH ${theirs[index % 50]}`, [TUS, OCTETS, 'Upload-Offset: 0', 'Content-Length: 1000']))
  })
  const isOver = ({ socket, received }: Stranger): boolean => socket.closed || received() !== ''
  while (strangers.filter(isOver).length < strangers.length - BODIES) await new Promise(setImmediate)
  await assertServed(port, mine, [204, 503])
  const answers = strangers.map(({ received }) => /^HTTP\/1\.1 (\d+)/.exec(received())?.[1]).filter((status) => status !== undefined)
  assert.deepEqual(answers.filter((status) => !['409', '503'].includes(status)), [])
  for (const { socket } of strangers) socket.destroy()
  assert.ok((await stop()).split('\n').length < 20)
})

for (const [what, text] of [
  ['nothing', ''],
  ['half a head', 'GET / HTTP/1.1\r\nHost: te'],
  ['a first request and no second', request('OPTIONS /files/')],
] as const) {
  test(`a stranger whose many connections send ${what} makes room for others`, async (t) => {
    const { port, stop } = await start(t)
    const mine = await create(port)
    for (let round = 0; round < 5; round++) {
      await Promise.all(Array.from({ length: 100 }, () => open(t, port, text).connected))
      await assertServed(port, mine, [204])
    }
    assert.equal((await stop()).split('\n').length, 2)
  })
}

test('a stranger whose pipelined requests need more files than there can be fills no log, and others are served after it', async (t) => {
  const { port, stop } = await start(t)
  const mine = await create(port)
  const strangers = Array.from({ length: 10 }, () => open(t, port, request('POST /files/', [TUS, 'Upload-Length: 5']).repeat(1000)))
  await Promise.all(strangers.map(({ socket }) => Promise.race([once(socket, 'data'), once(socket, 'close')]).catch(() => {})))
  for (const { socket } of strangers) socket.destroy()
  while (!(await isServed(port, mine))) await new Promise(setImmediate)
  const errors = await stop()
  assert.ok((errors.match(/Z /g) ?? []).length < 40, errors)
})

/** A well-behaved client looks where its upload stands, creates another, and sends its bytes. */
async function assertServed(port: number, location: string, appended: readonly number[]): Promise<void> {
  const startedAtMs = performance.now()
  const head = await exchange(port, request(`HEAD ${location}`, [TUS]), { toHead: true })
  assert.equal(head.status, 200)
  const created = await exchange(port, request('POST /files/', [TUS, 'Upload-Length: 1000']))
  assert.equal(created.status, 201)
  const patch = await append(port, created.headers.get('location')!)
  assert.ok(appended.includes(patch.status), `${patch.status} ${patch.body}`)
  if (patch.status === 503) assert.match(patch.headers.get('retry-after') ?? '', /^\d+$/)
  assert.ok(performance.now() - startedAtMs < SOON_MS, `it took ${performance.now() - startedAtMs} ms`)
}

/** Whether there is a good answer, and not an error or a reset. */
async function isServed(port: number, location: string): Promise<boolean> {
  const answer = await exchange(port, request(`HEAD ${location}`, [TUS]), { toHead: true }).catch(() => undefined)
  return answer?.status === 200
}

function append(port: number, location: string): Promise<WireResponse> {
  return exchange(port, request(`PATCH ${location}`, [TUS, OCTETS, 'Upload-Offset: 0', 'Content-Length: 1000'], 'x'.repeat(1000)))
}

async function create(port: number): Promise<string> {
  const { status, headers } = await exchange(port, request('POST /files/', [TUS, 'Upload-Length: 1000']))
  assert.equal(status, 201)
  return headers.get('location')!
}

/** A connection, and what came over it. */
interface Stranger {
  readonly socket: Socket
  readonly connected: Promise<unknown>
  received(): string
}

/** Opens a connection which sends this and then nothing. */
function open(t: TestContext, port: number, text: string): Stranger {
  const socket = connect(port, '127.0.0.1')
  let received = ''
  socket.on('error', () => {}).on('data', (chunk) => (received += chunk))
  socket.write(text)
  t.after(() => socket.destroy())
  const connected = Promise.race([once(socket, 'connect'), once(socket, 'close')])
  return { socket, connected, received: () => received }
}

/** Starts the program where a process may have few descriptors; `stop` resolves with what it wrote to stderr. */
async function start(t: TestContext): Promise<{ port: number; line: string; stop: () => Promise<string> }> {
  let child: ChildProcess | undefined
  t.after(() => child?.kill('SIGKILL')) // before the folder goes
  const dir = temporaryFolder(t)
  const words = [
    process.execPath, '--import', 'tsx', MAIN, '--port', '0', '--allowed-host', 'test', '--log', 'text', '--sync', 'none', '--dir', dir,
  ]
  const program = (child = spawn('sh', ['-c', `ulimit -n ${LIMIT}; exec "$@"`, 'sh', ...words]))
  let errors = ''
  program.stderr.on('data', (chunk) => (errors += chunk))
  const closed = once(program, 'close')
  const [line] = (await once(createInterface({ input: program.stdout }), 'line')) as [string]
  const stop = async (): Promise<string> => {
    program.kill('SIGTERM')
    await closed
    return errors
  }
  return { port: Number(/:(\d+)\//.exec(line)?.[1]), line, stop }
}
