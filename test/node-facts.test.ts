// SPDX-License-Identifier: MIT

/**
 * Facts about Node on which `lib` relies (lib/NODE.md), each as short as it can be shown. Nothing of `lib` is tested here. A test that
 * fails on a new release says that Node has changed: then look for what `lib` does because of that fact.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import fs, { createReadStream, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server, type Http2ServerRequest, type ServerHttp2Session } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { test, type TestContext } from 'node:test'
import timers, { setImmediate as namedImmediate } from 'node:timers'
import { promisify } from 'node:util'
import { listen } from './support/listen.ts'
import { temporaryFolder } from './support/temporary.ts'
import { exchange, request, WireClient } from './support/wire.ts'

const LIMIT = { timeout: 30_000 }
const MAJOR = Number(process.versions.node.split('.')[0])
const realImmediate = globalThis.setImmediate

const turn = (): Promise<void> => new Promise((resolve) => realImmediate(resolve))

/** As `once`, which would reject when an 'error' comes first. */
const emitted = (emitter: NodeJS.EventEmitter, event: string): Promise<void> =>
  new Promise((resolve) => emitter.once(event, () => resolve()))

/** A request as the server has it. */
interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
}

interface Site {
  readonly server: Server
  readonly port: number
  /** The next request; of several at once, one after the other. */
  request(): Promise<Exchange>
}

async function serve(t: TestContext, options: ServerOptions = {}): Promise<Site> {
  const arrived: Exchange[] = []
  let wake: (() => void) | undefined
  const server = createServer(options, (req, res) => {
    req.on('error', () => {})
    arrived.push({ req, res })
    wake?.()
  })
  const next = async (): Promise<Exchange> => {
    while (arrived.length === 0) await new Promise<void>((resolve) => (wake = resolve))
    return arrived.shift()!
  }
  return { server, port: await listen(t, server), request: next }
}

/** Sends something on a connection of its own. */
async function send(t: TestContext, port: number, text: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  t.after(() => socket.destroy())
  await once(socket, 'connect')
  await new Promise<void>((resolve) => socket.write(text, () => resolve()))
  return socket
}

const POST = request('POST /', ['Content-Length: 10'], 'hello')

test('after an error, read() still returns what Node holds of a request, and for await does not', LIMIT, async (t) => {
  for (const [way, expected] of [['read', 'hello'], ['iterate', '']] as const) {
    const { port, request } = await serve(t)
    const client = await send(t, port, POST)
    const { req } = await request()
    while (req.readableLength < 5) await turn()
    const closed = emitted(req, 'close')
    client.destroy()
    await closed
    let received = ''
    if (way === 'read') for (let chunk: unknown; (chunk = req.read()) !== null; ) received += chunk
    else await (async () => { for await (const chunk of req) received += chunk })().catch(() => {})
    assert.equal(received, expected, way)
  }
})

test('pipeline destroys its target when the source fails, and what waits there is lost', LIMIT, async () => {
  const written: string[] = []
  const target = new Writable({ write: (chunk, _, callback) => void (written.push(String(chunk)), realImmediate(callback)) })
  const source = new Readable({ read() {} })
  const done = pipeline(source, target)
  for (const chunk of ['a', 'b', 'c']) source.push(chunk)
  await turn()
  source.destroy(new Error('gone'))
  await assert.rejects(done, /gone/)
  assert.equal(target.destroyed, true)
  assert.deepEqual(written, ['a'])
})

test('FIN, RST and a request that takes too long look alike to the handler; clientError tells FIN and time apart', LIMIT, async (t) => {
  const seen = async (options: ServerOptions, leave: (client: Socket) => unknown): Promise<unknown[]> => {
    const { server, port, request } = await serve(t, options)
    let told: unknown = 'nothing'
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      told = error.code
      socket.destroy()
    })
    const client = await send(t, port, POST)
    const { req } = await request()
    req.resume()
    const failed = once(req, 'error')
    leave(client)
    const [error] = await failed
    return [error.code, req.aborted, told]
  }
  const short = { requestTimeout: 50, headersTimeout: 50, connectionsCheckingInterval: 10 }
  assert.deepEqual(await seen({}, (client) => client.end()), ['ECONNRESET', true, 'HPE_INVALID_EOF_STATE'])
  assert.deepEqual(await seen({}, (client) => client.resetAndDestroy()), ['ECONNRESET', true, 'ECONNRESET'])
  assert.deepEqual(await seen(short, () => {}), ['ECONNRESET', true, 'ERR_HTTP_REQUEST_TIMEOUT'])
})

test('a client that closes its side in the middle of a body is answered 400 by Node itself', LIMIT, async (t) => {
  const { port, request } = await serve(t)
  const client = new WireClient(await send(t, port, POST))
  ;(await request()).req.resume()
  client.socket.end()
  assert.equal((await client.response()).status, 400)
})

test('a reset goes unnoticed while Node holds a full buffer that nobody reads', LIMIT, async (t) => {
  const { port, request } = await serve(t)
  const client = await send(t, port, `POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9000000\r\n\r\n`)
  const { req } = await request()
  client.write(Buffer.alloc(4_000_000))
  while (req.readableLength < req.readableHighWaterMark) await turn()
  client.resetAndDestroy()
  await once(client, 'close')
  const other = await send(t, port, POST) // a round trip through the same event loop
  await request()
  other.destroy()
  assert.deepEqual([req.aborted, req.socket.destroyed], [false, false])
  const failed = once(req, 'error')
  req.resume()
  await failed
})

test('over HTTP/2 a body that was cut off ends as a whole one does; aborted tells, perhaps later, and no error comes', LIMIT, async (t) => {
  const server = createHttp2Server()
  const port = await listen(t, server)
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  t.after(() => session.destroy())
  const stream = session.request({ ':method': 'POST' }, { endStream: false }).on('error', () => {})
  stream.write('hello')
  const [req] = (await once(server, 'request')) as [Http2ServerRequest]
  const events: string[] = []
  for (const name of ['aborted', 'error', 'end'] as const) req.on(name, () => events.push(name))
  const closed = emitted(req, 'close')
  req.resume().once('data', () => stream.close(8)) // CANCEL
  await closed
  assert.deepEqual(events, ['end', 'aborted'])
  assert.deepEqual([req.complete, req.aborted], [true, true])
})

test('by default a request may take 300 seconds, and one that takes longer is cut off in the middle of its body', LIMIT, async (t) => {
  assert.equal(createServer().requestTimeout, 300_000)
  const { port, request } = await serve(t, { requestTimeout: 50, headersTimeout: 50, connectionsCheckingInterval: 10 })
  const client = new WireClient(await send(t, port, POST))
  const { req } = await request()
  assert.equal((await client.response()).status, 408)
  await client.closed()
  if (!req.aborted) await once(req, 'aborted')
})

test('once a server closes, its requestTimeout is enforced no more', LIMIT, async (t) => {
  const options = { requestTimeout: 50, headersTimeout: 50, connectionsCheckingInterval: 10 }
  const [closing, control] = [await serve(t, options), await serve(t, options)]
  const kept = await send(t, closing.port, POST)
  const { req } = await closing.request()
  closing.server.close()
  const cut = new WireClient(await send(t, control.port, POST))
  await cut.closed()
  assert.deepEqual([req.aborted, kept.destroyed], [false, false])
})

test('a timer above 2^31-1 milliseconds fires at once', LIMIT, async (t) => {
  t.mock.method(process, 'emitWarning', () => {})
  await new Promise<void>((resolve) => setTimeout(resolve, 2 ** 31))
})

test('after an answer Node reads and discards the rest of a body that nobody began to read, however long', LIMIT, async (t) => {
  const { port, request: arrived } = await serve(t)
  const size = 20_000_000
  const client = new WireClient(await send(t, port, `POST / HTTP/1.1\r\nHost: test\r\nContent-Length: ${size}\r\n\r\n`))
  ;(await arrived()).res.end()
  assert.equal((await client.response()).status, 200)
  await client.send(Buffer.alloc(size))
  await client.send(request('GET /'))
  ;(await arrived()).res.end()
  assert.equal((await client.response()).status, 200)
  client.destroy()
})

test('an answer with Connection: close resets a client that goes on sending', LIMIT, async (t) => {
  const { port, request } = await serve(t)
  const client = await send(t, port, `POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 90000000\r\n\r\n`)
  let code: string | undefined
  client.on('error', (error: NodeJS.ErrnoException) => (code = error.code))
  const closed = emitted(client, 'close')
  ;(await request()).res.writeHead(413, { Connection: 'close' }).end()
  const more = (error?: Error | null): void => void (error ?? client.write(Buffer.alloc(65_536), more))
  more()
  await closed
  assert.match(code ?? '', /^(?:ECONNRESET|EPIPE)$/)
})

test('Connection: close on the first of three pipelined requests drops the other two', LIMIT, async (t) => {
  const { port, request: arrived } = await serve(t)
  const client = new WireClient(await send(t, port, request('GET /').repeat(3)))
  const answers = [await arrived(), await arrived(), await arrived()]
  answers[0]!.res.setHeader('Connection', 'close')
  for (const { res } of answers) res.end()
  await client.response()
  assert.equal(await client.closed(), '')
})

test('pipelined requests are handed over at once; a response has no socket before its turn, and then emits it', LIMIT, async (t) => {
  const { port, request: arrived } = await serve(t)
  const client = await send(t, port, request('GET /').repeat(3))
  client.resume()
  const [first, second, third] = [await arrived(), await arrived(), await arrived()]
  assert.deepEqual([first, second, third].map(({ res }) => res.socket === null), [false, true, true])
  for (const [before, after] of [[first, second], [second, third]] as const) {
    const given = once(after.res, 'socket')
    before.res.end()
    assert.equal((await given)[0], before.req.socket)
  }
  third.res.end()
})

test('a response whose turn never came learns nothing of the end of its connection before Node 24', LIMIT, async (t) => {
  const { port, request: arrived } = await serve(t)
  const client = await send(t, port, request('GET /').repeat(2))
  const [{ req }, { res }] = [await arrived(), await arrived()]
  const gone = once(req.socket, 'close')
  client.destroy()
  await gone
  await turn()
  assert.deepEqual([res.destroyed, res.closed], [MAJOR >= 24, MAJOR >= 24])
})

test('a socket that a handler pauses is resumed as soon as Node has parsed the request; one that is paused later stays so', LIMIT, async (t) => {
  const events: string[] = []
  const server = createServer((req) => {
    req.socket.on('resume', () => events.push('resume'))
    req.socket.pause()
    events.push('handled')
  })
  await send(t, await listen(t, server), request('GET /'))
  const [req] = (await once(server, 'request')) as [IncomingMessage]
  while (events.length < 2) await turn()
  assert.deepEqual(events, ['handled', 'resume'])
  req.socket.pause()
  await turn()
  assert.equal(req.socket.isPaused(), true)
})

test('microtasks run after the first piece of a body that came with its head; setImmediate sees the whole packet', LIMIT, async (t) => {
  const held: (number | boolean)[] = []
  const server = createServer(async (req, res) => {
    held.push(req.readableLength)
    await Promise.resolve()
    held.push(req.readableLength, req.complete)
    await turn()
    held.push(req.readableLength, req.complete)
    res.end()
  })
  const body = '5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n'
  await exchange(await listen(t, server), request('POST /', ['Transfer-Encoding: chunked'], body))
  assert.deepEqual(held, [0, 5, false, 10, true])
})

test('a request calls itself HTTP/2.0 on a connection of HTTP/1, and has no stream', LIMIT, async (t) => {
  const { port, request } = await serve(t)
  await send(t, port, 'GET / HTTP/2.0\r\nHost: test\r\n\r\n')
  const { req } = await request()
  assert.deepEqual([req.httpVersionMajor, 'stream' in req], [2, false])
})

test('what is held of a request that nobody reads is 16 KiB on Node 20, 64 KiB later, and what createServer is told', LIMIT, async (t) => {
  for (const [options, expected] of [[{}, MAJOR >= 22 ? 65_536 : 16_384], [{ highWaterMark: 1024 }, 1024]] as const) {
    const { port, request } = await serve(t, options)
    await send(t, port, POST)
    assert.equal((await request()).req.readableHighWaterMark, expected)
  }
})

test('a response that was cut off counts as finished on Node 20 and 22', LIMIT, async (t) => {
  const { port, request: arrived } = await serve(t)
  const client = await send(t, port, request('GET /'))
  const { res } = await arrived()
  res.write(Buffer.alloc(20_000_000))
  res.end()
  const closed = once(res, 'close')
  client.destroy()
  await closed
  assert.equal(res.writableFinished, MAJOR < 24)
})

test('res.write() of an answer to HEAD sends nothing, not even the head', LIMIT, async (t) => {
  const { port, request: arrived } = await serve(t)
  const client = await send(t, port, request('HEAD /'))
  const { res } = await arrived()
  res.write('hello')
  await turn()
  const other = await send(t, port, request('GET /'))
  ;(await arrived()).res.end()
  await once(other, 'data')
  assert.equal(client.bytesRead, 0)
})

test('headers that only writeHead is given are sent as they are spelled, and nobody else learns of them', LIMIT, async (t) => {
  const { port, request: arrived } = await serve(t)
  const client = await send(t, port, request('GET /'))
  const { res } = await arrived()
  res.setHeader = () => assert.fail('setHeader was called')
  res.writeHead(204, { 'x-job': '1', 'X-Job': '2' }).end()
  const [head] = (await once(client, 'data')) as [Buffer]
  assert.deepEqual(head.toString().match(/x-job: ./gi), ['x-job: 1', 'X-Job: 2'])
  assert.deepEqual(res.getHeaderNames(), [])
})

test('pause() of a stream that is destroyed does nothing on Node 26', () => {
  const source = new Readable({ read() {} })
  source.destroy()
  assert.equal(source.pause().isPaused(), MAJOR < 26)
})

test('http.Server#close() closes idle connections; one that never sent a request stays open before Node 26', LIMIT, async (t) => {
  const { server, port, request: arrived } = await serve(t)
  const accepted: Socket[] = []
  server.on('connection', (socket) => accepted.push(socket))
  const idle = new WireClient(await send(t, port, request('GET /')))
  ;(await arrived()).res.end()
  await idle.response()
  await send(t, port, '')
  while (accepted.length < 2) await turn()
  await turn()
  server.close()
  assert.deepEqual(accepted.map((socket) => socket.destroyed), [true, MAJOR >= 26])
})

test('http.Server#close() leaves a request in progress alone, and its answer does not say Connection: close', LIMIT, async (t) => {
  const { server, port, request: arrived } = await serve(t)
  const client = new WireClient(await send(t, port, request('GET /')))
  const { res } = await arrived()
  server.close()
  res.end()
  assert.notEqual((await client.response()).headers.get('connection'), 'close')
  client.destroy()
})

test('http.Server#close() destroys a connection whose answer was ended and is still being sent', LIMIT, async (t) => {
  const { server, port, request: arrived } = await serve(t)
  await send(t, port, request('GET /'))
  const { req, res } = await arrived()
  res.end(Buffer.alloc(20_000_000))
  await turn()
  server.close()
  assert.equal(req.socket.destroyed, true)
})

test('a server of HTTP/2 has no way to close its connections, and close() leaves sessions open before Node 24', LIMIT, async (t) => {
  const server = createHttp2Server()
  assert.deepEqual(['closeIdleConnections', 'closeAllConnections'].filter((name) => name in server), [])
  const port = await listen(t, server)
  const arrived = once(server, 'session')
  const client = connectHttp2(`http://127.0.0.1:${port}`)
  t.after(() => client.destroy())
  const [session] = (await arrived) as [ServerHttp2Session]
  await once(client, 'remoteSettings')
  server.close()
  assert.equal(session.closed, MAJOR >= 24)
})

test('the eleventh listener of an AbortSignal gives a warning on Node 20 only', LIMIT, async (t) => {
  const warnings = t.mock.method(process, 'emitWarning', () => {})
  const { signal } = new AbortController()
  for (let index = 0; index < 11; index++) signal.addEventListener('abort', () => index)
  assert.equal(warnings.mock.callCount(), MAJOR < 22 ? 1 : 0)
})

test('a listener of an AbortSignal that throws ends the process', LIMIT, async () => {
  const code = "const c = new AbortController(); c.signal.addEventListener('abort', () => { throw new Error('x') }); c.abort(); setInterval(() => {}, 9)"
  await assert.rejects(promisify(execFile)(process.execPath, ['--eval', code]), { code: 1 })
})

test('an AbortSignal that has aborted already calls no listener', async () => {
  let calls = 0
  AbortSignal.abort().addEventListener('abort', () => calls++)
  await turn()
  assert.equal(calls, 0)
})

test('mock timers mock globals and the default import, setImmediate too unless a list is given, and no named import', (t) => {
  const [named, own] = [namedImmediate, globalThis.setImmediate]
  t.mock.timers.enable()
  assert.notEqual(globalThis.setImmediate, own)
  assert.notEqual(timers.setImmediate, named)
  assert.equal(namedImmediate, named)
  t.mock.timers.reset()
  t.mock.timers.enable({ apis: ['setTimeout'] })
  assert.equal(globalThis.setImmediate, own)
})

test('mock timers have no clock of performance.now(), and refresh() of theirs does nothing', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const before = performance.now()
  let fired = 0
  const timer = setTimeout(() => fired++, 100)
  t.mock.timers.tick(60)
  timer.refresh()
  t.mock.timers.tick(60)
  assert.equal(fired, 1)
  assert.ok(performance.now() - before < 100)
})

test('a timer that a mocked timer sets does not run in the same tick', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const fired: string[] = []
  setTimeout(() => {
    fired.push('outer')
    setTimeout(() => fired.push('inner'), 10)
  }, 10)
  t.mock.timers.tick(1000)
  assert.deepEqual(fired, ['outer'])
})

test('destroy() of a read stream that is still opening leaves the open in flight; close comes after it', LIMIT, async (t) => {
  const file = join(temporaryFolder(t), 'file')
  writeFileSync(file, 'hello')
  let opened = 0
  const open = ((...args: unknown[]) => {
    const callback = args.pop() as (error: Error | null, descriptor?: number) => void
    Reflect.apply(fs.open, fs, [...args, (error: Error | null, descriptor?: number) => {
      opened++
      callback(error, descriptor)
    }])
  }) as typeof fs.open
  const stream = createReadStream(file, { fs: { ...fs, open } })
  stream.destroy()
  assert.deepEqual([opened, stream.closed], [0, false])
  await once(stream, 'close')
  assert.equal(opened, 1)
})

test('a write stream of Node writes what a short writev leaves over at the wrong place', LIMIT, async (t) => {
  const file = join(temporaryFolder(t), 'file')
  writeFileSync(file, '')
  let calls = 0
  const writev = ((descriptor: number, buffers: Buffer[], position: number, callback: (...args: unknown[]) => void) => {
    const given = calls++ === 0 ? [buffers[0]!] : buffers
    fs.writev(descriptor, given, position, (error, written) => callback(error, written, buffers))
  }) as typeof fs.writev
  const stream = fs.createWriteStream(file, { flags: 'r+', start: 0, fs: { ...fs, writev } })
  stream.cork()
  for (const chunk of ['aa', 'bb', 'cc']) stream.write(chunk)
  stream.uncork()
  stream.end()
  await once(stream, 'close')
  assert.notEqual(readFileSync(file, 'latin1'), 'aabbcc')
})

test('a regular expression that repeats a group takes stack for every turn of it', () => {
  assert.throws(() => /^(?:[a-z],?)*$/.test('a'.repeat(2 ** 24)), RangeError)
})

test('clients on a Unix socket have neither address nor port', LIMIT, async (t) => {
  const path = join(temporaryFolder(t), 'socket')
  const server = createServer((_, res) => res.end())
  t.after(() => server.close())
  server.listen(path)
  await once(server, 'listening')
  assert.ok(existsSync(path))
  const client = connect(path)
  const [socket] = (await once(server, 'connection')) as [Socket]
  assert.deepEqual([socket.remoteAddress, socket.remotePort], [undefined, undefined])
  client.destroy()
})

test('on Linux, maxRSS of a child begins with the memory of its parent, and VmHWM does not', LIMIT, async () => {
  const held = Buffer.alloc(200 * 1024 * 1024, 1)
  const program = `
    const [, peakKiB] = /VmHWM:\\s+(\\d+) kB/.exec(require('node:fs').readFileSync('/proc/self/status', 'utf8'))
    console.log(JSON.stringify([process.resourceUsage().maxRSS, Number(peakKiB)]))`
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', program])
  const [maxRssKiB, peakKiB] = JSON.parse(stdout) as [number, number]
  assert.ok(maxRssKiB > held.length / 1024 && peakKiB < held.length / 1024, stdout)
})
