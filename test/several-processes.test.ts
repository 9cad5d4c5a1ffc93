// SPDX-License-Identifier: MIT

/**
 * Two programs on one directory, clients that fight for the same uploads through both, and a SIGKILL
 * every 300 milliseconds.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { request, type IncomingHttpHeaders } from 'node:http'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { ROOT } from './support/examples.ts'
import { temporaryFolder } from './support/temporary.ts'

const UPLOADS = 4
const CLIENTS_EACH = 2
const DURATION_MS = 20_000
const KILL_EVERY_MS = 300
const SIZE = 12_000_000
const PIECE = 128 * 1024

/** A program at a port that it keeps, however often it is killed. */
class Restarting {
  readonly port: number
  readonly #main: string
  readonly #directory: string
  #process: ChildProcess | undefined
  kills = 0

  constructor(main: string, directory: string, port: number) {
    this.#main = main
    this.#directory = directory
    this.port = port
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, [this.#main, '--dir', this.#directory, '--port', String(this.port), '--sync', 'none'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#process = child
    const [line] = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), once(child, 'exit')])
    assert.match(String(line), /^longhaul listening/)
  }

  async kill(): Promise<void> {
    const child = this.#process!
    const exit = once(child, 'exit')
    child.kill('SIGKILL')
    await exit
    this.kills++
  }

  end(): void {
    this.#process?.kill('SIGKILL')
  }

  /** Ends it as an operator would; resolves with its exit code. */
  async stop(): Promise<number | null> {
    const exit = once(this.#process!, 'exit')
    this.#process!.kill('SIGTERM')
    return (await exit)[0] as number | null
  }
}

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
}

/** Sends a request, its body in pieces; rejects if the connection fails. */
function send(port: number, method: string, path: string, headers: Record<string, string>, body: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = request({ port, host: '127.0.0.1', method, path, agent: false, headers: { 'Tus-Resumable': '1.0.0', ...headers } }, (res) => {
      res.resume().on('error', reject)
      resolve({ status: res.statusCode!, headers: res.headers })
      if (res.statusCode !== 204) req.destroy()
    })
    req.on('error', reject)
    let at = 0
    const next = (): void => {
      if (req.destroyed || at >= body.length) return void req.end()
      req.write(body.subarray(at, (at += PIECE)), () => setImmediate(next))
    }
    next()
  })
}

const pause = (): Promise<void> => delay(10 + Math.random() * 60) // what a client waits before it tries again

/** Pushes an upload on until it is complete, through whichever program answers; many may do so at once. */
async function push(programs: readonly Restarting[], path: string, content: Buffer): Promise<void> {
  for (;;) {
    const { port } = programs[Math.floor(Math.random() * programs.length)]!
    try {
      const { status, headers } = await send(port, 'HEAD', path, {}, Buffer.alloc(0))
      if (status !== 200) throw new Error(`HEAD was answered ${status}`)
      const offset = Number(headers['upload-offset'])
      assert.ok(offset <= content.length)
      if (offset === content.length) return
      const rest = content.subarray(offset)
      await send(port, 'PATCH', path, {
        'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': String(offset), 'Content-Length': String(rest.length),
      }, rest)
    } catch (error) {
      assert.ok((error as Error).name !== 'AssertionError', error as Error)
    }
    await pause()
  }
}

async function create(programs: readonly Restarting[]): Promise<string> {
  for (let turn = 0; ; turn++) {
    try {
      const { status, headers } = await send(programs[turn % 2]!.port, 'POST', '/files/', { 'Upload-Length': String(SIZE) }, Buffer.alloc(0))
      assert.equal(status, 201)
      return headers.location!
    } catch (error) {
      assert.ok((error as Error).name !== 'AssertionError', error as Error)
    }
    await pause()
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

/** Compiles the program, which starts in a fraction of the time that way. */
async function compile(t: TestContext): Promise<string> {
  const folder = temporaryFolder(t)
  writeFileSync(join(folder, 'package.json'), readFileSync(join(ROOT, 'package.json')))
  await promisify(execFile)(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', ROOT, '--outDir', join(folder, 'dist')])
  return join(folder, 'dist', 'cli', 'main.js')
}

test('two programs on one directory, of which one is killed again and again, lose and mix up nothing', { timeout: 110_000 }, async (t) => {
  const directory = temporaryFolder(t)
  const main = await compile(t)
  const programs = [new Restarting(main, directory, await freePort()), new Restarting(main, directory, await freePort())]
  t.after(() => programs.forEach((program) => program.end()))
  await Promise.all(programs.map((program) => program.start()))

  const until = Date.now() + DURATION_MS
  let finished = 0
  const slot = async (): Promise<void> => {
    do {
      const content = randomBytes(SIZE)
      const path = await create(programs)
      await Promise.all(Array.from({ length: CLIENTS_EACH }, () => push(programs, path, content)))
      const stored = readFileSync(join(directory, path.slice('/files/'.length)))
      assert.equal(createHash('sha256').update(stored).digest('hex'), createHash('sha256').update(content).digest('hex'))
      finished++
    } while (Date.now() < until)
  }
  const killing = async (): Promise<void> => {
    const starting = programs.map(() => Promise.resolve())
    for (let turn = 0; Date.now() < until; turn = 1 - turn) {
      await Promise.all([starting[turn], delay(KILL_EVERY_MS)])
      await programs[turn]!.kill()
      starting[turn] = programs[turn]!.start() // meanwhile it is the other one's turn
    }
    await Promise.all(starting)
  }
  await Promise.all([killing(), ...Array.from({ length: UPLOADS }, slot)])

  const kills = programs.reduce((sum, program) => sum + program.kills, 0)
  t.diagnostic(`${finished} uploads of ${SIZE} bytes finished, ${kills} SIGKILLs`)
  assert.ok(finished >= UPLOADS)
  assert.ok(kills >= 10)
  assert.deepEqual(await Promise.all(programs.map((program) => program.stop())), [0, 0])
  assert.deepEqual(readdirSync(join(directory, '.locks')), [])
})
