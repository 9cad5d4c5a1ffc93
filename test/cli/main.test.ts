// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect, createServer as createTcpServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { HELP } from '../../lib/cli/help.ts'
import { filesIn } from '../support/files.ts'
import { listen } from '../support/listen.ts'
import { runProgram, startProgram, type Program } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request, WireClient } from '../support/wire.ts'

const TUS = 'Tus-Resumable: 1.0.0'
/** More than the socket buffers of a host hold while nobody reads. */
const LARGE_BYTES = 32 * 1024 ** 2

test('A program that nobody uses writes two lines: that it listens, and that it has stopped', async (t) => {
  const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', main, '--port', '0', '--dir', temporaryFolder(t)])
  t.after(() => child.kill('SIGKILL'))
  const text = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk) => (text.stdout += chunk))
  child.stderr.on('data', (chunk) => (text.stderr += chunk))
  const closed = once(child, 'close')

  await Promise.race([once(child.stdout, 'data'), closed])
  child.kill('SIGTERM')
  assert.deepEqual(await closed, [0, null])
  assert.match(text.stdout, /^longhaul listening on http:\/\/127\.0\.0\.1:[1-9]\d*\/files\/\n[\d-]+T[\d:.]+Z stopped in \d+\.\d s: 0 uploads interrupted, 0 bytes saved, nothing forced\n$/)
  assert.equal(text.stderr, '')
})

for (const [title, words, mentioned] of [
  ['An unknown flag', ['--bogus'], '--bogus'],
  ['A bad value', ['--max-size', '10mb'], '--max-size'],
  ['A flag without its value', ['--dir'], '--dir'],
  ['A surplus argument', ['one', 'two'], 'two'],
] as const) {
  test(`${title} is one line on stderr, and exit code 2`, async () => {
    const { code, stdout, stderr } = await runProgram(words)
    assert.equal(code, 2)
    assert.equal(stdout, '')
    assert.match(stderr, /^longhaul: [^\n]+ \(see --help\)\n$/)
    assert.ok(stderr.includes(`'${mentioned}`) || stderr.includes(`${mentioned} `), stderr)
  })
}

test('A port in use is one line on stderr, and exit code 1', async (t) => {
  const port = await listen(t, createServer())
  const { code, stdout, stderr } = await runProgram(['--port', String(port), '--dir', temporaryFolder(t)])
  assert.equal(code, 1)
  assert.equal(stdout, '')
  assert.match(stderr, new RegExp(`^longhaul: cannot listen on http://127\\.0\\.0\\.1:${port}: the port is in use \\(choose another with --port\\)\\n$`))
})

test('A --dir that is a file is one line on stderr, and exit code 2', async (t) => {
  const file = join(temporaryFolder(t), 'file')
  writeFileSync(file, 'kept')
  for (const dir of [file, join(file, 'below')]) {
    const { code, stdout, stderr } = await runProgram(['--port', '0', '--dir', dir])
    assert.equal(code, 2)
    assert.equal(stdout, '')
    assert.match(stderr, /^longhaul: cannot use --dir [^\n]+ is a file\n$/)
    assert.ok(stderr.includes(file), stderr)
  }
  assert.equal(readFileSync(file, 'utf8'), 'kept')
})

test('--help is the help on stdout, and exit code 0', async () => {
  assert.deepEqual(await runProgram(['--help']), { code: 0, signal: null, stdout: HELP, stderr: '' })
})

test('--version is the version of the package on stdout, and exit code 0', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  assert.deepEqual(await runProgram(['--version']), { code: 0, signal: null, stdout: `${version}\n`, stderr: '' })
})

test('--help and --version to a reader that has gone, as in --help | true, end without a stack trace', async () => {
  const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url))
  for (const flag of ['--help', '--version']) {
    const child = spawn(process.execPath, ['--import', 'tsx', main, flag], { stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.destroy()
    let errors = ''
    child.stderr.on('data', (chunk) => (errors += chunk))
    assert.deepEqual([await once(child, 'close'), errors], [[0, null], ''])
  }
})

for (const [word, path] of [['up', '/up/'], ['/up', '/up/'], ['/up/', '/up/'], ['/', '/']] as const) {
  test(`--path ${word} is printed as ${path} and serves uploads there only`, async (t) => {
    const { port, line } = await startProgram(t, ['--path', word, '--dir', temporaryFolder(t)])
    assert.equal(line, `longhaul listening on http://127.0.0.1:${port}${path}`)

    const created = await exchange(port, request(`POST ${path}`, [TUS, 'Upload-Length: 1']))
    assert.equal(created.status, 201)
    assert.match(created.headers.get('location') ?? '', new RegExp(`^${path}[0-9a-f]{32}$`))
    const elsewhere = await exchange(port, request('POST /files/', [TUS, 'Upload-Length: 1']))
    assert.notEqual(elsewhere.status, 201)
  })
}

test('The folder may be given without a flag, and is made if it is not there', async (t) => {
  const dir = join(temporaryFolder(t), 'a', 'b')
  const { port } = await startProgram(t, [dir])
  const location = await create(port, 1)
  assert.deepEqual(filesIn(dir), [idOf(location), `${idOf(location)}.info`])
})

test('Of two programs on one directory, one finishes what the other began, and no lock is left when both are gone', async (t) => {
  const dir = temporaryFolder(t)
  const [one, two] = [await startProgram(t, ['--dir', dir]), await startProgram(t, ['--dir', dir])]
  const { client, id, location } = await beginUpload(one, 1000)
  await client.send('x'.repeat(400))
  const head = await exchange(two.port, request(`HEAD ${location}`, [TUS]), { toHead: true })
  assert.equal((await client.response()).status, 409)
  const offset = Number(head.headers.get('upload-offset'))
  assert.ok(offset <= 400)
  const patch = [TUS, `Upload-Offset: ${offset}`, 'Content-Type: application/offset+octet-stream', `Content-Length: ${1000 - offset}`]
  assert.equal((await exchange(two.port, request(`PATCH ${location}`, patch, 'x'.repeat(1000 - offset)))).status, 204)
  assert.equal(readFileSync(join(dir, id), 'utf8'), 'x'.repeat(1000))
  client.destroy()
  for (const { process } of [one, two]) process.kill('SIGTERM')
  assert.deepEqual([(await one.exit).code, (await two.exit).code], [0, 0])
  assert.deepEqual(readdirSync(join(dir, '.locks')), [])
})

test('What has expired is removed when the program starts', async (t) => {
  const dir = temporaryFolder(t)
  const program = await startProgram(t, ['--dir', dir, '--expires', '24h'])
  const location = await create(program.port, 5)
  program.process.kill('SIGTERM')
  await program.exit
  const yesterday = new Date(Date.now() - 25 * 3_600_000)
  utimesSync(join(dir, idOf(location)), yesterday, yesterday)
  const again = await startProgram(t, ['--dir', dir, '--expires', '24h'])
  while (filesIn(dir).length > 0) await delay(20) // no request holds its lock meanwhile, for which the sweep would pass it by
  const { status } = await exchange(again.port, request(`HEAD ${location}`, [TUS]), { toHead: true })
  assert.equal(status, 404)
})

test('--cors, --public-url and --download do what they say', async (t) => {
  const dir = temporaryFolder(t)
  const { port } = await startProgram(t, [
    '--dir', dir, '--cors', 'https://a.example', '--public-url', 'https://b.example/up', '--download',
  ])
  const created = await exchange(port, request('POST /files/', [TUS, 'Upload-Length: 0', 'Origin: https://a.example']))
  assert.equal(created.headers.get('access-control-allow-origin'), 'https://a.example')
  const location = created.headers.get('location') ?? ''
  assert.match(location, /^https:\/\/b\.example\/up\/[0-9a-f]{32}$/)
  assert.equal((await exchange(port, request(`GET /files/${location.slice(-32)}`))).status, 200)
})

test('The web views of apps, whose origins have schemes of their own, are let in by --cors', async (t) => {
  const { port } = await startProgram(t, ['--dir', temporaryFolder(t), '--cors', 'capacitor://localhost', '--cors', 'app://.'])
  for (const [origin, allowed] of [
    ['capacitor://localhost', 'capacitor://localhost'],
    ['app://.', 'app://.'],
    ['ionic://localhost', null],
    ['null', null],
  ] as const) {
    const preflight = await exchange(port, request('OPTIONS /files/', [`Origin: ${origin}`, 'Access-Control-Request-Method: PATCH']))
    assert.equal(preflight.headers.get('access-control-allow-origin') ?? null, allowed, origin)
  }
})

test('Idle connections are kept for longer than a load balancer keeps them, or for as long as --keep-alive-timeout says', async (t) => {
  for (const [flags, seconds] of [[[], 75], [['--keep-alive-timeout', '620s'], 620]] as const) {
    const { port } = await startProgram(t, ['--dir', temporaryFolder(t), ...flags])
    const client = await WireClient.connect(port)
    await client.send(request('OPTIONS /files/'))
    assert.equal((await client.response()).headers.get('keep-alive'), `timeout=${seconds}`)
    client.destroy()
  }
  const { port } = await startProgram(t, ['--dir', temporaryFolder(t), '--keep-alive-timeout', '100ms'])
  await (await connectIdle({ port })).closed()
})

test('Files and the directory that is made have the permissions of --file-mode and --directory-mode, by default for the owner alone', async (t) => {
  const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8)
  for (const [flags, file, directory] of [
    [[], '600', '700'],
    [['--file-mode', '640', '--directory-mode', '0750'], '640', '750'],
  ] as const) {
    const dir = join(temporaryFolder(t), 'made')
    const { port } = await startProgram(t, ['--dir', dir, ...flags])
    const id = idOf(await create(port, 5))
    assert.deepEqual([modeOf(dir), modeOf(join(dir, id)), modeOf(join(dir, `${id}.info`))], [directory, file, file])
  }
})

test('Where there can be no locks between processes, the program says so and does not start', async (t) => {
  const dir = temporaryFolder(t)
  writeFileSync(join(dir, '.locks'), 'in the way')
  const refused = await runProgram(['--dir', dir, '--port', '0'])
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /^longhaul: cannot use --lock file: [^\n]*\.locks'\n$/)
  const { port } = await startProgram(t, ['--dir', dir, '--lock', 'memory'])
  await create(port, 1)
})

test('An IPv6 address is printed in brackets, and served if the system has it', async (t) => {
  const args = ['--host', '::1', '--dir', temporaryFolder(t)]
  if (await isAvailable('::1')) {
    const { port, line } = await startProgram(t, args)
    assert.equal(line, `longhaul listening on http://[::1]:${port}/files/`)
    const { status } = await fetch(line.slice('longhaul listening on '.length), { method: 'OPTIONS' })
    assert.equal(status, 204)
  } else {
    const { code, stderr } = await runProgram([...args, '--port', '0'])
    assert.equal(code, 1)
    assert.match(stderr, /^longhaul: [^\n]*::1[^\n]*\n$/)
  }
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} amid an upload: its bytes are saved, its client is told, and the exit code is 0`, async (t) => {
    const dir = temporaryFolder(t)
    const program = await startProgram(t, ['--dir', dir])
    const { client, id } = await beginUpload(program, 1000)
    await client.send('x'.repeat(400))

    program.process.kill(signal)

    const { status, headers, body } = await client.response()
    assert.equal(status, 503)
    assert.equal(headers.get('connection'), 'close')
    assert.match(headers.get('retry-after') ?? '', /^\d+$/)
    assert.match(body, /^[^\n]+\n$/)
    assert.equal(await client.closed(), '')
    assert.deepEqual(await program.exit, { code: 0, signal: null })
    assert.equal(readFileSync(join(dir, id), 'utf8'), 'x'.repeat(400))
  })
}

test('An answer that is under way when SIGTERM comes is delivered whole', async (t) => {
  const dir = temporaryFolder(t)
  const program = await startProgram(t, ['--dir', dir, '--download'])
  const idle = await connectIdle(program)
  const { socket, received } = await beginLargeAnswer(t, program, dir)

  program.process.kill('SIGTERM')
  await idle.closed() // the shutdown has begun
  socket.resume()

  await once(socket, 'close')
  assert.ok(received.bytes > LARGE_BYTES, `${received.bytes} bytes came`)
  assert.deepEqual(await program.exit, { code: 0, signal: null })
})

test('A SIGINT forces the end that a SIGTERM waits for, and the exit code is 1', async (t) => {
  const dir = temporaryFolder(t)
  const program = await startProgram(t, ['--dir', dir, '--download'])
  const idle = await connectIdle(program)
  await beginLargeAnswer(t, program, dir) // which nobody reads, so it cannot end by itself

  const firstAtMs = performance.now()
  program.process.kill('SIGTERM')
  await idle.closed() // the shutdown has begun
  pressCtrlC(t, program)

  assert.deepEqual(await program.exit, { code: 1, signal: null })
  assert.ok(performance.now() - firstAtMs < 10_000, 'it must be the second signal that ends it, not the deadline of ten seconds')
})

test('SIGTERM again and again, as process managers send it, cuts nothing: what is under way is delivered whole, and the exit code is 0', async (t) => {
  const dir = temporaryFolder(t)
  const program = await startProgram(t, ['--dir', dir, '--download'])
  const idle = await connectIdle(program)
  const { socket, received } = await beginLargeAnswer(t, program, dir)
  const begunAtMs = performance.now()
  const repeated = setInterval(() => program.process.kill('SIGTERM'), 20)
  t.after(() => clearInterval(repeated))
  await idle.closed() // the shutdown has begun
  while (performance.now() - begunAtMs < 1500) await turn()
  clearInterval(repeated) // Node itself listens to no signal any more while it ends
  socket.resume()
  await once(socket, 'close')
  assert.ok(received.bytes > LARGE_BYTES, `${received.bytes} bytes came`)
  assert.deepEqual(await program.exit, { code: 0, signal: null })
})

test('A SIGTERM that comes when all is closed, and the last lines wait to be read, changes nothing', async (t) => {
  const dir = temporaryFolder(t)
  const program = await startProgram(t, ['--dir', dir, '--log', 'json', '--sync', 'none'])
  program.process.stdout!.pause()
  for (let count = 0; count < 1500; count++) await create(program.port, 1) // more lines than the pipe holds
  const begunAtMs = performance.now()
  program.process.kill('SIGTERM')
  while (readdirSync(join(dir, '.locks')).length > 0 || performance.now() - begunAtMs < 700) await turn()
  program.process.kill('SIGTERM')
  assert.deepEqual(await program.exit, { code: 0, signal: null })
})

test('SIGTERM again and again until a program without work has ended leaves the exit code 0', async (t) => {
  for (let time = 0; time < 5; time++) {
    const program = await startProgram(t, ['--dir', temporaryFolder(t)])
    const repeated = setInterval(() => program.process.kill('SIGTERM'), 1)
    t.after(() => clearInterval(repeated))
    assert.deepEqual(await program.exit, { code: 0, signal: null })
    clearInterval(repeated)
  }
})

test('A forced end keeps the locks until the process is gone, as what was given up may still be written; the next program takes them over', async (t) => {
  const dir = temporaryFolder(t)
  const program = await startProgram(t, ['--dir', dir, '--download'])
  const idle = await connectIdle(program)
  await beginLargeAnswer(t, program, dir)
  program.process.kill('SIGTERM')
  await idle.closed() // the shutdown has begun
  pressCtrlC(t, program)
  assert.equal((await program.exit).code, 1)
  const [socket = ''] = readdirSync(join(dir, '.locks'))
  assert.match(socket, /\.sock$/)

  const next = await startProgram(t, ['--dir', dir])
  assert.equal(readdirSync(join(dir, '.locks')).includes(socket), false)
  await create(next.port, 1)
})

test('--max-size is announced, and what is larger is refused with 413', async (t) => {
  const dir = temporaryFolder(t)
  const { port } = await startProgram(t, ['--max-size', '1KiB', '--dir', dir])

  const options = await exchange(port, request('OPTIONS /files/'))
  assert.equal(options.headers.get('tus-max-size'), '1024')
  const tooLarge = await exchange(port, request('POST /files/', [TUS, 'Upload-Length: 1025']))
  assert.equal(tooLarge.status, 413)
  assert.deepEqual(filesIn(dir), [])
  await create(port, 1024)
})

test('--idle-timeout ends a silent upload with 423, and its bytes stay', async (t) => {
  const dir = temporaryFolder(t)
  const program = await startProgram(t, ['--idle-timeout', '300ms', '--dir', dir])
  const { client, id, location } = await beginUpload(program, 1000)
  await client.send('x'.repeat(400))

  const { status, headers } = await client.response()
  assert.equal(status, 423)
  assert.equal(headers.get('connection'), 'close')
  client.destroy()
  assert.equal(readFileSync(join(dir, id), 'utf8'), 'x'.repeat(400))
  const head = await exchange(program.port, request(`HEAD ${location}`, [TUS]), { toHead: true })
  assert.equal(head.headers.get('upload-offset'), '400')
})

/** Somebody who presses Ctrl-C until the program has ended: at first it takes that for a copy of the first signal. */
function pressCtrlC(t: TestContext, { process }: Program): void {
  const pressing = setInterval(() => process.kill('SIGINT'), 50)
  t.after(() => clearInterval(pressing))
}

/** A connection that has had its answer and is kept. */
async function connectIdle({ port }: Pick<Program, 'port'>): Promise<WireClient> {
  const client = await WireClient.connect(port)
  await client.send(request('OPTIONS /files/'))
  assert.equal((await client.response()).status, 204)
  return client
}

/**
 * Asks for an answer that is larger than all socket buffers, reads its beginning and pauses. No answer
 * is as large as one that repeats the metadata of an upload, so the upload is written by hand.
 */
async function beginLargeAnswer(
  t: TestContext,
  { port }: Program,
  dir: string,
): Promise<{ socket: Socket; received: { bytes: number } }> {
  writeFileSync(join(dir, 'large'), Buffer.alloc(LARGE_BYTES))
  writeFileSync(join(dir, 'large.info'), JSON.stringify({ ID: 'large', Size: LARGE_BYTES }))

  const socket = connect(port, '127.0.0.1').on('error', () => {}) // being forced is no failure of the test
  t.after(() => socket.destroy())
  const received = { bytes: 0 }
  socket.on('data', (chunk) => (received.bytes += chunk.length))
  socket.write(request('GET /files/large'))
  await once(socket, 'data')
  socket.pause()
  return { socket, received }
}

/** Creates an upload and has the server wait for the body of a PATCH that is to bring all of it. */
async function beginUpload({ port }: Program, length: number): Promise<{ client: WireClient; id: string; location: string }> {
  const location = await create(port, length)
  const client = await WireClient.connect(port)
  await client.send(request(`PATCH ${location}`, [
    TUS, 'Upload-Offset: 0', 'Content-Type: application/offset+octet-stream', `Content-Length: ${length}`, 'Expect: 100-continue',
  ]))
  assert.equal((await client.response()).status, 100)
  return { client, id: idOf(location), location }
}

async function create(port: number, length: number): Promise<string> {
  const { status, headers } = await exchange(port, request('POST /files/', [TUS, `Upload-Length: ${length}`]))
  assert.equal(status, 201)
  return headers.get('location') ?? ''
}

function idOf(location: string): string {
  return location.slice(location.lastIndexOf('/') + 1)
}

async function isAvailable(host: string): Promise<boolean> {
  const server = createTcpServer().listen(0, host)
  try {
    await once(server, 'listening')
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}
