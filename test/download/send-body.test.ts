// SPDX-License-Identifier: MIT

/** Each guarantee holds over both versions of HTTP, unless it is about a connection. */

import assert from 'node:assert/strict'
import { getEventListeners, once } from 'node:events'
import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import { connect } from 'node:net'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { sendBody, type DownloadRequest, type DownloadResponse } from '../../lib/download/send-body.ts'
import { requestSignal } from '../../lib/request-signal.ts'
import { listen } from '../support/listen.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { request } from '../support/wire.ts'

/** A request on its way, seen from both ends. */
interface Delivery {
  readonly req: DownloadRequest
  readonly res: DownloadResponse
  /** What the client has received: text of the body, how it ended, and whether there was a head. */
  readonly client: Client
  /** What `sendBody` came to. */
  send(source: Readable, length: number, signal?: AbortSignal): Promise<Outcome>
}

type Outcome = 'resolved' | { readonly rejected: unknown }

interface Client {
  /** Resolves when the client has received so many bytes of body. */
  received(bytes: number): Promise<void>
  leave(): void
  /** Stops and resumes reading. */
  pause(): void
  resume(): void
  /** Resolves when the answer is over; `complete` tells whether it says so, or was cut off. */
  over(): Promise<{ readonly status: number | undefined; readonly bytes: number; readonly complete: boolean }>
}

async function attempt(delivery: Pick<Delivery, 'req' | 'res'>, source: Readable, length: number, signal?: AbortSignal): Promise<Outcome> {
  const { req, res } = delivery
  const writeHead = (): void => {
    if ('stream' in res) res.writeHead(200, { 'Content-Length': length })
    else res.writeHead(200, { 'Content-Length': length })
  }
  const before = listenersOf(req, res, signal)
  try {
    await sendBody({ req, res }, source, { length, writeHead, signal })
    return 'resolved'
  } catch (error) {
    return { rejected: error }
  } finally {
    assert.ok(source.destroyed && source.closed, 'the source is destroyed and closed')
    const after = listenersOf(req, res, signal)
    assert.ok(after.every((count, index) => count <= before[index]!), `${after} listen, and before it were ${before}`)
  }
}

/**
 * How many listen for the end of a request, of its response and of a signal. `pipeline` leaves some of its own to a response that has
 * begun.
 */
function listenersOf(req: DownloadRequest, res: DownloadResponse, signal: AbortSignal | undefined): readonly number[] {
  const ofResponse = res.headersSent ? [] : [res.listenerCount('aborted'), res.listenerCount('close')]
  return [req.listenerCount('aborted'), req.listenerCount('close'), signal ? getEventListeners(signal, 'abort').length : 0, ...ofResponse]
}

async function deliverHttp1(t: TestContext): Promise<Delivery> {
  const server = createServer()
  const socket = connect(await listen(t, server), '127.0.0.1')
  t.after(() => socket.destroy())
  let [head, bytes, isClosed] = ['', 0, false]
  let wake: (() => void) | undefined
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => {
    const headBytes = head.endsWith('\r\n\r\n') ? 0 : chunk.indexOf('\r\n\r\n') + 4 // it comes in one piece
    head += chunk.toString('latin1', 0, headBytes)
    bytes += chunk.length - headBytes
    wake?.()
  })
  socket.on('close', () => {
    isClosed = true
    wake?.()
  })
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) await new Promise<void>((resolve) => (wake = resolve))
  }
  const isComplete = (): boolean => bytes === Number(/^content-length: (\d+)\r$/im.exec(head)?.[1])
  const client: Client = {
    received: (wanted) => until(() => bytes >= wanted),
    leave: () => socket.destroy(),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    over: async () => {
      await until(() => isClosed || isComplete())
      const status = /^HTTP\/1\.1 (\d+)/.exec(head)?.[1]
      return { status: status === undefined ? undefined : Number(status), bytes, complete: isComplete() }
    },
  }
  socket.write(request('GET /'))
  const [req, res] = (await once(server, 'request')) as [DownloadRequest, DownloadResponse]
  return { req, res, client, send: (source, length, signal) => attempt({ req, res }, source, length, signal) }
}

async function deliverHttp2(t: TestContext): Promise<Delivery> {
  const server = createHttp2Server()
  const session = connectHttp2(`http://127.0.0.1:${await listen(t, server)}`)
  t.after(() => session.destroy())
  const stream = session.request({ ':path': '/' })
  let [bytes, status, ended] = [0, undefined as number | undefined, false]
  let wake: (() => void) | undefined
  stream.on('error', () => {})
  stream.on('response', (headers) => (status = headers[':status']))
  stream.on('end', () => (ended = stream.rstCode === 0))
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    wake?.()
  })
  const closed = once(stream, 'close').catch(() => {})
  const client: Client = {
    received: async (wanted) => {
      while (bytes < wanted) await new Promise<void>((resolve) => (wake = resolve))
    },
    leave: () => stream.close(8), // CANCEL
    pause: () => void stream.pause(),
    resume: () => void stream.resume(),
    over: async () => {
      await closed
      return { status, bytes, complete: ended && stream.rstCode === 0 }
    },
  }
  const [req, res] = (await once(server, 'request')) as [DownloadRequest, DownloadResponse]
  return { req, res, client, send: (source, length, signal) => attempt({ req, res }, source, length, signal) }
}

/** A source that says something and then nothing, until it is told to. */
function stalled(...chunks: readonly string[]): PassThrough {
  const source = new PassThrough()
  for (const chunk of chunks) source.write(chunk)
  return source
}

/** A source that never ends. */
function endless(): Readable {
  return new Readable({
    read() {
      this.push(Buffer.alloc(64 * 1024))
    },
  })
}

/** Resolves when a stream has not read anything more for as long as it takes the event loop to turn many times. */
async function backedUp(source: Readable): Promise<void> {
  let quiet = 0
  const read = source._read
  source._read = function (size) {
    quiet = 0
    read.call(this, size)
  }
  while (quiet++ < 50) await new Promise(setImmediate)
}

for (const [http, deliver] of [['HTTP/1', deliverHttp1], ['HTTP/2', deliverHttp2]] as const) {
  test(`${http} · all bytes arrive, and it resolves`, async (t) => {
    const { client, send } = await deliver(t)
    assert.equal(await send(Readable.from([Buffer.from('hello '), Buffer.from('world')]), 11), 'resolved')
    assert.deepEqual(await client.over(), { status: 200, bytes: 11, complete: true })
  })

  test(`${http} · a client that reads slowly gets all bytes, and the source is not read ahead of it`, async (t) => {
    const { client, send } = await deliver(t)
    const length = 64 * 1024 * 1024
    let produced = 0
    const source = new Readable({
      read() {
        produced += 64 * 1024
        this.push(produced > length ? null : Buffer.alloc(64 * 1024))
      },
    })
    client.pause()
    const sent = send(source, length)
    await backedUp(source)
    assert.ok(produced < length / 2, `${produced} bytes were read`)
    client.resume()
    assert.equal(await sent, 'resolved')
    assert.deepEqual(await client.over(), { status: 200, bytes: length, complete: true })
  })

  test(`${http} · a source that fails before its first byte leaves the answer to the caller`, async (t) => {
    const { res, client, send } = await deliver(t)
    const error = new Error('no such file')
    assert.deepEqual(await send(new Readable({ read() { this.destroy(error) } }), 10), { rejected: error })
    assert.equal(res.headersSent, false)
    res.statusCode = 500
    res.end()
    assert.equal((await client.over()).status, 500)
  })

  test(`${http} · a source that failed before it was given leaves the answer to the caller`, async (t) => {
    const { res, send } = await deliver(t)
    const error = new Error('no such file')
    const source = stalled('hello')
    const closed = new Promise((resolve) => source.on('error', () => {}).on('close', resolve))
    source.destroy(error)
    await closed
    assert.deepEqual(await send(source, 10), { rejected: error })
    assert.equal(res.headersSent, false)
  })

  test(`${http} · a source without a byte leaves the answer to the caller`, async (t) => {
    for (const source of [Readable.from([]), stalled().destroy()]) {
      const { res, send } = await deliver(t)
      const error = new RangeError('Cannot send the body as its source must hold bytes: it ended without any')
      assert.deepEqual(await send(source, 10), { rejected: error })
      assert.equal(res.headersSent, false)
    }
  })

  test(`${http} · a source that is closed before its first byte leaves the answer to the caller`, async (t) => {
    const { res, send } = await deliver(t)
    const source = stalled()
    const sent = send(source, 10)
    source.destroy()
    assert.notEqual(await sent, 'resolved')
    assert.equal(res.headersSent, false)
  })

  test(`${http} · a source that fails later cuts the answer off, and its error is the one that is thrown`, async (t) => {
    const { client, send } = await deliver(t)
    const [source, error] = [stalled('hello'), new Error('disk on fire')]
    const sent = send(source, 10)
    await client.received(5)
    source.destroy(error)
    assert.deepEqual(await sent, { rejected: error })
    assert.deepEqual(await client.over(), { status: 200, bytes: 5, complete: false })
  })

  test(`${http} · a source that fails while the client does not read is not mistaken for a client that left`, async (t) => {
    const { client, send } = await deliver(t)
    const [source, error] = [endless(), new Error('disk on fire')]
    client.pause()
    const sent = send(source, Number.MAX_SAFE_INTEGER)
    await backedUp(source)
    source.destroy(error)
    assert.deepEqual(await sent, { rejected: error })
    client.resume()
    assert.equal((await client.over()).complete, false)
  })

  test(`${http} · a source that is closed without an error cuts the answer off`, async (t) => {
    const { client, send } = await deliver(t)
    const source = stalled('hello')
    const sent = send(source, 10)
    await client.received(5)
    source.destroy()
    assert.notEqual(await sent, 'resolved')
    assert.equal((await client.over()).complete, false)
  })

  test(`${http} · a source that is too short cuts the answer off`, async (t) => {
    const { client, send } = await deliver(t)
    const error = new RangeError('Cannot send the body as its source must hold 10 bytes: it holds 5')
    assert.deepEqual(await send(Readable.from([Buffer.from('hello')]), 10), { rejected: error })
    assert.equal((await client.over()).complete, false)
  })

  test(`${http} · of a source that is too long, no byte goes out that could be taken for another answer`, async (t) => {
    const { client, send } = await deliver(t)
    const error = new RangeError('Cannot send the body as its source must hold 10 bytes: it holds more')
    assert.deepEqual(await send(Readable.from([Buffer.from('hello'), Buffer.from('world!')]), 10), { rejected: error })
    const { bytes, complete } = await client.over()
    assert.ok(bytes <= 5 && !complete)
  })

  test(`${http} · a client that leaves in the middle is no error`, async (t) => {
    const { client, send } = await deliver(t)
    const sent = send(stalled('hello'), 10)
    await client.received(5)
    client.leave()
    assert.equal(await sent, 'resolved')
  })

  test(`${http} · a client that leaves before the first byte is no error, and nothing is sent`, async (t) => {
    const { res, client, send } = await deliver(t)
    const sent = send(stalled(), 10)
    client.leave()
    assert.equal(await sent, 'resolved')
    assert.equal(res.headersSent, false)
  })

  test(`${http} · a client that leaves without having read what it asked for is no error`, async (t) => {
    const { client, send } = await deliver(t)
    const source = endless()
    client.pause()
    const sent = send(source, Number.MAX_SAFE_INTEGER)
    await backedUp(source)
    client.leave()
    assert.equal(await sent, 'resolved')
  })

  test(`${http} · a client that had left before is no error`, async (t) => {
    const { res, client, send } = await deliver(t)
    client.leave()
    await once(res, 'close')
    assert.equal(await send(stalled('hello'), 10), 'resolved')
    assert.equal(res.headersSent, false)
  })

  test(`${http} · a client that leaves is no error if the signal follows it and is the first to tell`, async (t) => {
    for (const chunks of [[], ['hello']]) {
      const { req, res, client, send } = await deliver(t)
      const signal = requestSignal(req, res)
      const sent = send(stalled(...chunks), 10, signal)
      if (chunks.length > 0) await client.received(5)
      client.leave()
      assert.equal(await sent, 'resolved')
      assert.ok(signal.aborted)
    }
  })

  test(`${http} · a signal that aborts before the first byte leaves the answer to the caller`, async (t) => {
    for (const isEarly of [true, false]) {
      const { res, client, send } = await deliver(t)
      const [controller, reason] = [new AbortController(), new Error('shutting down')]
      if (isEarly) controller.abort(reason)
      const sent = send(stalled(...(isEarly ? ['hello'] : [])), 10, controller.signal)
      controller.abort(reason)
      assert.deepEqual(await sent, { rejected: reason })
      assert.equal(res.headersSent, false)
      res.statusCode = 503
      res.end()
      assert.equal((await client.over()).status, 503)
    }
  })

  test(`${http} · a signal that aborts later cuts the answer off`, async (t) => {
    const { client, send } = await deliver(t)
    const [controller, reason] = [new AbortController(), new Error('shutting down')]
    const sent = send(stalled('hello'), 10, controller.signal)
    await client.received(5)
    controller.abort(reason)
    assert.deepEqual(await sent, { rejected: reason })
    assert.deepEqual(await client.over(), { status: 200, bytes: 5, complete: false })
  })

  test(`${http} · a signal that aborts while the client does not read gives up waiting for it`, async (t) => {
    const { client, send } = await deliver(t)
    const [controller, reason, source] = [new AbortController(), new Error('shutting down'), endless()]
    client.pause()
    const sent = send(source, Number.MAX_SAFE_INTEGER, controller.signal)
    await backedUp(source)
    controller.abort(reason)
    assert.deepEqual(await sent, { rejected: reason })
  })

  test(`${http} · a file that fails to open after it was given up does not become an uncaught error`, async (t) => {
    const { send } = await deliver(t)
    const [controller, reason] = [new AbortController(), new Error('shutting down')]
    const source = createReadStream(join(temporaryFolder(t), 'missing'))
    const closed = once(source, 'close').catch(() => {})
    controller.abort(reason)
    assert.deepEqual(await send(source, 10, controller.signal), { rejected: reason })
    await closed
  })
}

test('a response that waits for its turn in a pipeline lets go of its source when the client leaves', async (t) => {
  const server = createServer()
  const socket = connect(await listen(t, server), '127.0.0.1')
  t.after(() => socket.destroy())
  const deliveries: { readonly req: DownloadRequest; readonly res: DownloadResponse }[] = []
  const second = new Promise<void>((resolve) => {
    server.on('request', (req, res) => {
      if (deliveries.push({ req, res }) === 2) resolve()
    })
  })
  socket.write(request('GET /') + request('GET /'))
  await second
  const source = stalled('hello')
  const sent = attempt(deliveries[1]!, source, 10)
  await backedUp(source)
  socket.destroy()
  assert.equal(await sent, 'resolved')
})

test('HTTP/2 · a stream that is closed at any moment after the head is no error', { timeout: 60_000 }, async (t) => {
  for (let ticks = 0; ticks < 10; ticks++) {
    const { req, res } = await deliverHttp2(t)
    const later = (left: number): void => {
      if (left > 0) process.nextTick(later, left - 1)
      else if ('stream' in res) res.stream.destroy()
    }
    const source = Readable.from([Buffer.from('hello')], { objectMode: false })
    const writeHead = (): void => {
      if ('stream' in res) res.writeHead(200)
      later(ticks)
    }
    await sendBody({ req, res }, source, { length: 5, writeHead })
    assert.ok(source.destroyed)
  }
})
