// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server, constants, type Http2ServerRequest } from 'node:http2'
import { connect } from 'node:net'
import { test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { HappyReader } from '../lib/happy-reader.ts'
import { listen } from './support/listen.ts'

/** Bytes of which every prefix is recognisable. */
function pattern(length: number): Buffer {
  const block = createHash('sha512').update('longhaul').digest()
  return Buffer.alloc(length, block)
}

interface Outcome {
  readonly body: Buffer
  readonly code: string | undefined
}

/** Collects one body a request; reading begins when the test says so. */
function collector<Source extends IncomingMessage | Http2ServerRequest>(options: { readonly signal?: AbortSignal } = {}) {
  const outcomes: Outcome[] = []
  let wake: (() => void) | undefined
  let beforeReader: ((source: Source) => Promise<void>) | undefined
  let beforeRead: ((source: Source) => Promise<void>) | undefined
  return {
    /** Holds the request back before there is a reader. */
    holdRequest(hold: (source: Source) => Promise<void>): void {
      beforeReader = hold
    },
    /** Holds the reader back before it is read. */
    holdReader(hold: (source: Source) => Promise<void>): void {
      beforeRead = hold
    },
    async onRequest(source: Source): Promise<void> {
      await beforeReader?.(source)
      const reader = new HappyReader(source, options)
      await beforeRead?.(source)
      const chunks: Buffer[] = []
      for await (const chunk of reader) chunks.push(chunk as Buffer)
      outcomes.push({ body: Buffer.concat(chunks), code: reader.error?.code })
      wake?.()
    },
    async next(): Promise<Outcome> {
      while (outcomes.length === 0) await new Promise<void>((resolve) => (wake = resolve))
      return outcomes.shift()!
    },
  }
}

const splits = fc.array(fc.integer({ min: 1, max: 70_000 }), { minLength: 1, maxLength: 8 })

async function http1(t: TestContext): Promise<{ server: Server; port: number; bodies: ReturnType<typeof collector<IncomingMessage>> }> {
  const bodies = collector<IncomingMessage>()
  const server = createServer((req, res) => void bodies.onRequest(req).then(() => res.end()))
  return { server, port: await listen(t, server), bodies }
}

test('HTTP/1.1: a body cut by FIN is delivered to its last byte, however it was split', async (t) => {
  const { port, bodies } = await http1(t)
  await fc.assert(
    fc.asyncProperty(splits, fc.boolean(), async (sizes, chunked) => {
      const socket = connect(port, '127.0.0.1').resume()
      socket.on('error', () => {})
      socket.write(`POST / HTTP/1.1\r\nHost: test\r\n${chunked ? 'Transfer-Encoding: chunked' : 'Content-Length: 9000000'}\r\n\r\n`)
      const sent: Buffer[] = []
      for (const size of sizes) {
        const part = pattern(size)
        sent.push(part)
        socket.write(chunked ? Buffer.concat([Buffer.from(`${size.toString(16)}\r\n`), part, Buffer.from('\r\n')]) : part)
      }
      socket.end()
      const { body, code } = await bodies.next()
      assert.deepEqual(body, Buffer.concat(sent))
      assert.equal(code, 'ABORTED')
    }),
    { numRuns: 60 },
  )
})

test('HTTP/1.1: a body cut by RST is delivered as a prefix, and all of it if the server had read it', async (t) => {
  const { port, bodies } = await http1(t)
  await fc.assert(
    fc.asyncProperty(splits, async (sizes) => {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      const sent = Buffer.concat(sizes.map(pattern))
      socket.write('POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9000000\r\n\r\n')
      socket.write(sent, () => socket.resetAndDestroy())
      const { body, code } = await bodies.next()
      assert.deepEqual(body, sent.subarray(0, body.length))
      assert.equal(code, 'ABORTED')
    }),
    { numRuns: 60 },
  )
})

test('HTTP/1.1: what was buffered before a reset is delivered, although the reader came later', async (t) => {
  const { port, bodies } = await http1(t)
  bodies.holdRequest(async (req) => {
    while (req.readableLength < 1000) await new Promise((resolve) => setImmediate(resolve))
    const closed = new Promise((resolve) => req.once('close', resolve))
    socket.resetAndDestroy()
    await closed
  })
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write('POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9000\r\n\r\n')
  socket.write(pattern(1000))
  assert.deepEqual(await bodies.next(), { body: pattern(1000), code: 'ABORTED' })
})

test('HTTP/1.1: an interrupt catches up with what the kernel holds, and the client gets its answer', async (t) => {
  const controller = new AbortController()
  const bodies = collector<IncomingMessage>({ signal: controller.signal })
  const server = createServer((req, res) => void bodies.onRequest(req).then(() => res.writeHead(503).end()))
  const port = await listen(t, server)
  const sent = pattern(300_000) // more than Node buffers of its own accord: lib/NODE.md, fact 5
  bodies.holdRequest(async (req) => {
    req.pause()
    await allWritten
    controller.abort(new Error('shutting down'))
  })
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write('POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9000000\r\n\r\n')
  const allWritten = new Promise<void>((resolve) => socket.write(sent, () => resolve()))
  const [answer] = (await once(socket, 'data')) as [Buffer]
  assert.match(String(answer), /^HTTP\/1\.1 503 /)
  socket.destroy()
  assert.deepEqual(await bodies.next(), { body: sent, code: 'INTERRUPTED' })
})

test('HTTP/1.1: a complete body is complete', async (t) => {
  const { port, bodies } = await http1(t)
  const sent = pattern(1_000_000)
  const response = fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: new Uint8Array(sent) })
  assert.deepEqual(await bodies.next(), { body: sent, code: undefined })
  assert.equal((await response).status, 200)
})

type Http2Cut = 'complete' | 'session destroyed' | 'stream reset'

test('HTTP/2: however a body is cut, a prefix is delivered and its truncation is not masked', async (t) => {
  const bodies = collector<Http2ServerRequest>()
  const server = createHttp2Server((req, res) => void bodies.onRequest(req).then(() => res.stream.destroyed || res.end()))
  const port = await listen(t, server)
  await fc.assert(
    fc.asyncProperty(splits, fc.constantFrom<Http2Cut>('complete', 'session destroyed', 'stream reset'), async (sizes, cut) => {
      const session = connectHttp2(`http://127.0.0.1:${port}`)
      session.on('error', () => {})
      const stream = session.request({ ':method': 'POST', ':path': '/' })
      stream.on('error', () => {})
      const sent = Buffer.concat(sizes.map(pattern))
      await new Promise<void>((resolve) => stream.write(sent, () => resolve()))
      if (cut === 'complete') stream.end()
      else if (cut === 'session destroyed') session.destroy()
      else stream.destroy(Object.assign(new Error('cut'), { code: constants.NGHTTP2_CANCEL }))
      const { body, code } = await bodies.next()
      session.destroy()
      assert.deepEqual(body, sent.subarray(0, body.length))
      assert.equal(code, cut === 'complete' ? undefined : 'ABORTED')
      if (cut === 'complete') assert.equal(body.length, sent.length)
    }),
    { numRuns: 60 },
  )
})

test('HTTP/2: what was buffered before an abort is delivered, although nobody had begun to read', async (t) => {
  const bodies = collector<Http2ServerRequest>()
  const server = createHttp2Server((req) => void bodies.onRequest(req))
  const port = await listen(t, server)
  bodies.holdReader(async (req) => {
    while (req.stream.readableLength < 1000) await new Promise((resolve) => setImmediate(resolve))
    const closed = once(req, 'close')
    session.destroy()
    await closed
  })
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  const stream = session.request({ ':method': 'POST', ':path': '/' })
  stream.on('error', () => {})
  stream.write(pattern(1000))
  assert.deepEqual(await bodies.next(), { body: pattern(1000), code: 'ABORTED' })
})

test('HTTP/2: a request that was aborted before there was a reader ends at once', async (t) => {
  const bodies = collector<Http2ServerRequest>()
  const server = createHttp2Server((req) => void bodies.onRequest(req))
  const port = await listen(t, server)
  bodies.holdRequest(async (req) => {
    const closed = once(req, 'close')
    session.destroy()
    await closed
  })
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  session.request({ ':method': 'POST', ':path': '/' }).on('error', () => {})
  const { code } = await bodies.next()
  assert.equal(code, 'ABORTED')
})
