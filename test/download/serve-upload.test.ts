// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, createServer as createHttp2Server, type OutgoingHttpHeaders } from 'node:http2'
import { Readable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { INLINE_MEDIA_TYPES } from '../../lib/download/media-type.ts'
import type { DownloadRequest, DownloadResponse } from '../../lib/download/send-body.ts'
import { serveUpload, type FinishedUpload, type ServeUploadOptions } from '../../lib/download/serve-upload.ts'
import { listen } from '../support/listen.ts'
import { request, WireClient, type WireResponse } from '../support/wire.ts'

const ETAG = '"a1-loyw3v28"'
const MODIFIED = 'Tue, 14 Nov 2023 22:13:20 GMT'

/** What every answer has, and what every answer with the content has. */
const POLICY = {
  'accept-ranges': 'bytes',
  'cache-control': 'private, no-cache, no-transform',
  'content-security-policy': "default-src 'none'; sandbox",
  'cross-origin-resource-policy': 'same-origin',
  'etag': ETAG,
  'last-modified': MODIFIED,
  'x-content-type-options': 'nosniff',
}
const FILE = { ...POLICY, 'content-type': 'application/octet-stream', 'content-disposition': 'attachment; filename="hello.bin"' }

type Site = ReturnType<typeof site>

/** A handler for one upload, and what became of it. */
function site(content: string, metadata: Readonly<Record<string, string>>, options: Partial<ServeUploadOptions> = {}) {
  const upload: FinishedUpload = {
    id: 'a1',
    length: content.length,
    metadata: new Map(Object.entries(metadata)),
    createdAt: new Date(1_700_000_000_000),
    updatedAt: new Date(1_700_000_000_999),
  }
  const reads: string[] = []
  const errors: unknown[] = []
  const read: ServeUploadOptions['read'] = ({ start, end }) => {
    reads.push(`${start} up to ${end}`)
    return Readable.from([Buffer.from(content.slice(start, end))])
  }
  const handle = async (req: DownloadRequest, res: DownloadResponse): Promise<void> => {
    try {
      await serveUpload({ req, res }, upload, { read, inline: INLINE_MEDIA_TYPES, ...options })
    } catch (error) {
      errors.push(error)
      if (res.headersSent) return
      res.statusCode = 500
      res.end()
    }
  }
  return { upload, reads, errors, handle }
}

interface Asked extends WireResponse {
  /** The headers without those that Node adds. */
  readonly own: Readonly<Record<string, string>>
}

/** Sends one request and one more, to make sure that the connection is in step. */
async function ask(t: TestContext, { handle }: Pick<Site, 'handle'>, method: string, headers: readonly string[] = []): Promise<Asked> {
  const server = createServer((req, res) => void (req.url === '/next' ? res.end('next') : handle(req, res)))
  const client = await WireClient.connect(await listen(t, server))
  t.after(() => client.destroy())
  await client.send(request(`${method} /upload`, headers))
  const answer = await client.response({ toHead: method === 'HEAD' })
  await client.send(request('GET /next'))
  assert.equal((await client.response()).body, 'next', 'the connection is in step')
  const own = Object.fromEntries(Array.from(answer.headers).filter(([name]) => !['date', 'connection', 'keep-alive'].includes(name)))
  return { ...answer, own }
}

const HELLO = ['hello world', { filename: 'hello.bin' }] as const

test('GET is answered with the content, as a file to be saved', async (t) => {
  const hello = site(...HELLO)
  const { status, own, body } = await ask(t, hello, 'GET')
  assert.deepEqual([status, own, body], [200, { ...FILE, 'content-length': '11' }, 'hello world'])
  assert.deepEqual(hello.reads, ['0 up to 11'])
})

test('HEAD is answered with the headers of GET, and nothing is read', async (t) => {
  const hello = site(...HELLO)
  const { status, own } = await ask(t, hello, 'HEAD')
  assert.deepEqual([status, own], [200, { ...FILE, 'content-length': '11' }])
  assert.deepEqual(hello.reads, [])
})

test('HEAD ignores Range', async (t) => {
  for (const range of ['bytes=0-4', 'bytes=99-']) {
    const { status, own } = await ask(t, site(...HELLO), 'HEAD', [`Range: ${range}`])
    assert.deepEqual([status, own], [200, { ...FILE, 'content-length': '11' }])
  }
})

const ranges: readonly (readonly [range: string, contentRange: string, body: string])[] = [
  ['bytes=0-4', 'bytes 0-4/11', 'hello'],
  ['bytes=6-', 'bytes 6-10/11', 'world'],
  ['bytes=-3', 'bytes 8-10/11', 'rld'],
  ['bytes=10-99999999999999999999', 'bytes 10-10/11', 'd'],
  ['bytes=0-', 'bytes 0-10/11', 'hello world'],
]

for (const [range, contentRange, body] of ranges) {
  test(`Range: ${range} is answered with 206 and ${JSON.stringify(body)}, of which nothing else is read`, async (t) => {
    const hello = site(...HELLO)
    const answer = await ask(t, hello, 'GET', [`Range: ${range}`])
    const headers = { ...FILE, 'content-range': contentRange, 'content-length': String(body.length) }
    assert.deepEqual([answer.status, answer.own, answer.body], [206, headers, body])
    assert.equal(hello.reads.length, 1)
  })
}

test('a range behind the end is answered with 416 and the length', async (t) => {
  for (const range of ['bytes=11-', 'bytes=-0']) {
    const hello = site(...HELLO)
    const { status, own } = await ask(t, hello, 'GET', [`Range: ${range}`])
    assert.deepEqual([status, own], [416, { ...POLICY, 'content-range': 'bytes */11', 'content-length': '0' }])
    assert.deepEqual(hello.reads, [])
  }
})

test('several ranges, in one header or in two, are answered with the whole', async (t) => {
  for (const headers of [['Range: bytes=0-0,2-2'], ['Range: bytes=0-0', 'Range: bytes=2-2'], ['Range: items=0-4'], ['Range: bytes=4-0']]) {
    const { status, own, body } = await ask(t, site(...HELLO), 'GET', headers)
    assert.deepEqual([status, own, body], [200, { ...FILE, 'content-length': '11' }, 'hello world'])
  }
})

test('a download is continued if it is the same upload, and starts over if it is another one', async (t) => {
  for (const same of [ETAG, MODIFIED]) {
    const { status, body } = await ask(t, site(...HELLO), 'GET', ['Range: bytes=6-', `If-Range: ${same}`])
    assert.deepEqual([status, body], [206, 'world'])
  }
  for (const other of ['"a1-0"', `W/${ETAG}`, 'Tue, 14 Nov 2023 22:13:19 GMT', 'x']) {
    const { status, body } = await ask(t, site(...HELLO), 'GET', ['Range: bytes=99-', `If-Range: ${other}`])
    assert.deepEqual([status, body], [200, 'hello world'])
  }
})

const conditions: readonly (readonly [status: number, header: string])[] = [
  [304, `If-None-Match: ${ETAG}`],
  [304, `If-None-Match: "x", W/${ETAG}`],
  [304, `If-Modified-Since: ${MODIFIED}`],
  [412, 'If-Match: "x"'],
  [412, 'If-Unmodified-Since: Tue, 14 Nov 2023 22:13:19 GMT'],
]

for (const [expected, header] of conditions) {
  test(`${header} is answered with ${expected}, whatever the range, and nothing is read`, async (t) => {
    for (const method of ['GET', 'HEAD']) {
      const hello = site(...HELLO)
      const { status, own } = await ask(t, hello, method, [header, 'Range: bytes=99-'])
      assert.deepEqual([status, own], [expected, expected === 304 ? POLICY : { ...POLICY, 'content-length': '0' }])
      assert.deepEqual(hello.reads, [])
    }
  })
}

test('a client that sends back its validators is answered 304', async (t) => {
  const { headers } = await ask(t, site(...HELLO), 'GET')
  for (const [condition, validator] of [['If-None-Match', 'etag'], ['If-Modified-Since', 'last-modified']] as const) {
    assert.equal((await ask(t, site(...HELLO), 'GET', [`${condition}: ${headers.get(validator)}`])).status, 304)
  }
})

test('an id that is used again has another tag', async (t) => {
  const hello = site(...HELLO)
  const again = { ...hello.upload, createdAt: new Date(hello.upload.createdAt.getTime() + 1) }
  const handle: Site['handle'] = (req, res) =>
    serveUpload({ req, res }, again, { read: () => Readable.from([Buffer.from('HELLO WORLD')]), inline: [] })
  const { status, body } = await ask(t, { handle }, 'GET', [`If-None-Match: ${ETAG}`])
  assert.deepEqual([status, body], [200, 'HELLO WORLD'])
})

test('an empty upload is answered with nothing, and is not read', async (t) => {
  for (const [method, ...headers] of [['GET'], ['HEAD'], ['GET', 'Range: bytes=-5']] as const) {
    const empty = site('', { filename: 'hello.bin' })
    const { status, own } = await ask(t, empty, method, headers)
    assert.deepEqual([status, own], [200, { ...FILE, 'content-length': '0' }])
    assert.deepEqual(empty.reads, [])
  }
  const { status, own } = await ask(t, site('', {}), 'GET', ['Range: bytes=0-'])
  assert.deepEqual([status, own['content-range']], [416, 'bytes */0'])
})

const types: readonly (readonly [metadata: Readonly<Record<string, string>>, contentType: string, disposition: string])[] = [
  [{}, 'application/octet-stream', 'attachment'],
  [{ filetype: 'image/png' }, 'image/png', 'inline'],
  [{ filetype: 'IMAGE/PNG; x=y', filename: 'a.png' }, 'image/png', 'inline; filename="a.png"'],
  [{ type: 'video/mp4', name: 'a.mp4' }, 'video/mp4', 'inline; filename="a.mp4"'],
  [{ contentType: 'audio/ogg' }, 'audio/ogg', 'inline'],
  [{ filetype: 'text/html', type: 'image/png' }, 'application/octet-stream', 'attachment'],
  [{ filetype: '', type: 'image/png' }, 'application/octet-stream', 'attachment'],
  [{ filetype: 'text/html', filename: 'a.html' }, 'application/octet-stream', 'attachment; filename="a.html"'],
  [{ filetype: 'image/svg+xml', filename: 'a.svg' }, 'application/octet-stream', 'attachment; filename="a.svg"'],
  [{ filetype: 'application/xhtml+xml' }, 'application/octet-stream', 'attachment'],
  [{ filetype: 'image/png, text/html' }, 'application/octet-stream', 'attachment'],
  [{ filetype: 'image/*' }, 'application/octet-stream', 'attachment'],
  [{ filetype: 'image/png\r\nSet-Cookie: a=1' }, 'application/octet-stream', 'attachment'],
  [{ filename: '', name: 'a' }, 'application/octet-stream', 'attachment'],
  [{ filename: '../a\r\nSet-Cookie: a=1' }, 'application/octet-stream', 'attachment; filename="aSet-Cookie: a=1"'],
  [{ filename: 'é"\ud800' }, 'application/octet-stream', `attachment; filename="___"; filename*=UTF-8''%C3%A9%22%EF%BF%BD`],
]

for (const [metadata, contentType, disposition] of types) {
  test(`metadata ${JSON.stringify(metadata)} make it ${contentType}, ${disposition}`, async (t) => {
    const { status, own } = await ask(t, site('x', metadata), 'GET')
    const expected = { ...POLICY, 'content-type': contentType, 'content-disposition': disposition, 'content-length': '1' }
    assert.deepEqual([status, own], [200, expected])
  })
}

test('no list, no type: everything is a file to be saved', async (t) => {
  const { own } = await ask(t, site('x', { filetype: 'image/png' }, { inline: [] }), 'GET')
  assert.deepEqual([own['content-type'], own['content-disposition']], ['application/octet-stream', 'attachment'])
})

test("the caller's headers are in every answer; they replace a policy and describe no content", async (t) => {
  const headers = {
    'Access-Control-Allow-Origin': '*',
    'cross-origin-resource-policy': 'cross-origin',
    'content-type': 'text/html',
    etag: '"x"',
  }
  for (const [status, header] of [
    [200, 'X: y'],
    [206, 'Range: bytes=0-0'],
    [304, 'If-None-Match: *'],
    [412, 'If-Match: ""'],
    [416, 'Range: bytes=99-'],
  ] as const) {
    const answer = await ask(t, site(...HELLO, { headers }), 'GET', [header])
    assert.equal(answer.status, status)
    assert.equal(answer.own['access-control-allow-origin'], '*')
    assert.equal(answer.own['cross-origin-resource-policy'], 'cross-origin')
    assert.equal(answer.own['etag'], ETAG)
    if (status < 300) assert.equal(answer.own['content-type'], 'application/octet-stream')
  }
})

test('what cannot be read leaves an answer to the caller on which nothing was set', async (t) => {
  const error = new Error('no such file')
  const reads: readonly ServeUploadOptions['read'][] = [
    () => { throw error },
    () => new Readable({ read() { this.destroy(error) } }),
  ]
  for (const read of reads) {
    const hello = site(...HELLO, { read })
    const { status, own } = await ask(t, hello, 'GET', ['Range: bytes=0-4'])
    assert.deepEqual([status, own, hello.errors], [500, { 'content-length': '0' }, [error]])
  }
})

test('an upload that is shorter than it says ends its connection, and none of its bytes is awaited', async (t) => {
  const hello = site(...HELLO, { read: () => Readable.from([Buffer.from('hello')]) })
  const client = await WireClient.connect(await listen(t, createServer((req, res) => void hello.handle(req, res))))
  await client.send(request('GET /upload'))
  assert.match(await client.closed(), /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\n(?:hello)?$/)
  assert.equal(hello.errors.length, 1)
})

test('a signal that has aborted leaves the answer to the caller', async (t) => {
  const reason = new Error('shutting down')
  const hello = site(...HELLO, { signal: AbortSignal.abort(reason) })
  assert.equal((await ask(t, hello, 'GET')).status, 500)
  assert.deepEqual([hello.errors, hello.reads], [[reason], []])
})

test('for a client that has left, nothing is read', async (t) => {
  const hello = site(...HELLO)
  const server = createServer()
  const client = await WireClient.connect(await listen(t, server))
  await client.send(request('GET /upload'))
  const [req, res] = (await once(server, 'request')) as [DownloadRequest, DownloadResponse]
  client.destroy()
  await once(res, 'close')
  await hello.handle(req, res)
  assert.deepEqual([hello.errors, hello.reads], [[], []])
})

test('HTTP/2 · the answers are the same', async (t) => {
  const hello = site(...HELLO)
  const session = connect(`http://127.0.0.1:${await listen(t, createHttp2Server((req, res) => void hello.handle(req, res)))}`)
  t.after(() => session.destroy())
  const fetch = async (method: string, headers: OutgoingHttpHeaders = {}): Promise<unknown[]> => {
    const stream = session.request({ ':method': method, ':path': '/', ...headers })
    let body = ''
    stream.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
    const [answer] = await once(stream, 'response')
    const { ':status': status, date, ...own } = answer as Record<string, string>
    assert.ok(date)
    if (!stream.closed) await once(stream, 'close')
    assert.equal(stream.rstCode, 0)
    return [status, Object.fromEntries(Object.entries(own)), body] // without the symbol that Node adds
  }
  assert.deepEqual(await fetch('GET'), [200, { ...FILE, 'content-length': '11' }, 'hello world'])
  assert.deepEqual(await fetch('HEAD'), [200, { ...FILE, 'content-length': '11' }, ''])
  assert.deepEqual(await fetch('GET', { range: 'bytes=-5' }), [
    206,
    { ...FILE, 'content-range': 'bytes 6-10/11', 'content-length': '5' },
    'world',
  ])
  assert.deepEqual(await fetch('GET', { range: 'bytes=11-' }), [
    416,
    { ...POLICY, 'content-range': 'bytes */11', 'content-length': '0' },
    '',
  ])
  assert.deepEqual(await fetch('GET', { 'if-none-match': ETAG }), [304, POLICY, ''])
  assert.deepEqual(await fetch('GET', { 'if-match': '"x"' }), [412, { ...POLICY, 'content-length': '0' }, ''])
  assert.deepEqual([hello.reads, hello.errors], [['0 up to 11', '6 up to 11'], []])
})
