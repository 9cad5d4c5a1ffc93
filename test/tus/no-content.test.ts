// SPDX-License-Identifier: MIT

/** Requests that may have a body, by their headers, and have none. got, axios and `node:http2` send such. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, constants, createServer, type ClientHttp2Session, type OutgoingHttpHeaders } from 'node:http2'
import { test, type TestContext } from 'node:test'
import { uploadHandler } from '../../lib/upload-handler.ts'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { addressOf } from '../support/address-of.ts'
import { Gate } from '../support/gate.ts'
import { listen } from '../support/listen.ts'
import { published } from '../support/published.ts'
import { snapshot } from '../support/snapshot.ts'
import { contentOf } from '../support/stored-content.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { request, WireClient } from '../support/wire.ts'
import { makePartial } from './steps.ts'
import { ask, make, OCT, offsetOf, serve, V } from './support.ts'

const CODED = 'Transfer-Encoding: chunked'

/** Every way to send no byte in chunks. */
const empty: readonly (readonly [what: string, headers: readonly string[], body: string])[] = [
  ['no chunk', [], '0\r\n\r\n'],
  ['no chunk and many zeros', [], '000\r\n\r\n'],
  ['no chunk, with an extension', [], '0;a=b\r\n\r\n'],
  ['no chunk, and a trailer that was announced', ['Trailer: X-Sum'], '0\r\nX-Sum: 1\r\n\r\n'],
  [
    'no chunk, and a checksum as a trailer',
    ['Trailer: Upload-Checksum'],
    '0\r\nUpload-Checksum: sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=\r\n\r\n',
  ],
  ['no chunk, and a trailer that was not announced', [], '0\r\nUpload-Length: 99\r\n\r\n'],
]

for (const [what, headers, body] of empty) {
  test(`a creation with ${what} has no body: 201, whatever its content type, and the connection goes on`, async (t) => {
    const site = await serve(t)
    for (const type of [[], ['Content-Type: application/x-www-form-urlencoded'], ['Content-Type: application/json']]) {
      const answer = await ask(site, request('POST /files/', [V, 'Upload-Length: 10', CODED, ...type, ...headers], body))
      assert.deepEqual([answer.status, answer.headers.get('connection'), answer.headers.has('upload-offset')], [201, 'keep-alive', false])
      assert.equal(await offsetOf(site, addressOf(answer)), 0)
    }
  })

  test(`a concatenation with ${what} has no body: 201`, async (t) => {
    const site = await serve(t)
    const parts = [await makePartial(site, 'hello '), await makePartial(site, 'world')]
    for (const type of [[], [OCT]]) {
      const answer = await ask(
        site,
        request('POST /files/', [V, `Upload-Concat: final;${parts.join(' ')}`, CODED, ...type, ...headers], body),
      )
      assert.equal(contentOf(site, addressOf(answer)).toString(), 'hello world')
    }
  })
}

test('a creation, an append and a DELETE of the media type of tus with no chunk are as ones of length 0', async (t) => {
  const site = await serve(t)
  const created = await ask(site, request('POST /files/', [V, OCT, 'Upload-Length: 5', CODED], '0\r\n\r\n'))
  assert.equal(created.headers.get('upload-offset'), '0')
  const upload = addressOf(created)
  for (const [offset, body] of [[0, ''], [0, '5\r\nhello\r\n'], [5, '']] as const) {
    const answer = await ask(site, request(`PATCH ${upload}`, [V, OCT, `Upload-Offset: ${offset}`, CODED], `${body}0\r\n\r\n`))
    assert.equal(answer.status, 204)
  }
  assert.equal((await ask(site, request(`DELETE ${upload}`, [V, CODED], '0\r\n\r\n'))).status, 204)
})

test('a creation whose body comes later than its head is refused when the first byte is there, and leaves nothing behind', async (t) => {
  const site = await serve(t)
  const parts = [await makePartial(site, 'hello')]
  const before = snapshot(site.folder)
  for (const [status, headers] of [
    [415, ['Upload-Length: 10']],
    [415, ['Upload-Length: 10', 'Content-Type: text/plain']],
    [400, [`Upload-Concat: final;${parts}`]],
  ] as const) {
    const client = await WireClient.connect(site.port)
    await client.send(request('POST /files/', [V, CODED, ...headers]))
    await client.send('1\r\nx')
    const answer = await client.response()
    assert.equal(answer.status, status)
    client.destroy()
  }
  await site.settled()
  assert.deepEqual(snapshot(site.folder), before)
})

test('a creation that never says whether it has a body is refused as one with a body after idleTimeoutMs, and leaves nothing behind', async (t) => {
  const site = await serve(t, { idleTimeoutMs: 50 })
  const client = await WireClient.connect(site.port)
  await client.send(request('POST /files/', [V, 'Upload-Length: 10', CODED]))
  const { status, headers } = await client.response()
  assert.deepEqual([status, headers.get('connection')], [415, 'close'])
  assert.equal(snapshot(site.folder).size, 0)
  client.destroy()
})

test('a creation that has not said yet whether it has a body is 503 at a shutdown; the time of the server does not run', async (t) => {
  const shutdown = new AbortController()
  const hook = new Gate()
  const site = await serve(t, {
    signal: shutdown.signal,
    answerTimeoutMs: 50,
    authorize: ({ kind }) => (kind === 'terminate' ? hook.pass() : undefined),
  })
  const client = await WireClient.connect(site.port)
  await client.send(request('POST /files/', [V, 'Upload-Length: 10', CODED]))
  assert.equal((await ask(site, request('DELETE /files/other', [V]))).status, 503) // it began later, and its time is over
  shutdown.abort()
  hook.open()
  assert.deepEqual(await client.response().then(({ status, body }) => [status, body]), [503, 'The server is shutting down\n'])
  client.destroy()
})

test('a client that leaves before it says whether it has a body leaves nothing behind, and nothing is published', async (t) => {
  const errors = published(t, 'longhaul:error')
  const site = await serve(t)
  const client = await WireClient.connect(site.port)
  const begun = once(site.server, 'request')
  await client.send(request('POST /files/', [V, 'Upload-Length: 10', CODED]))
  await begun
  client.destroy()
  await site.settled()
  assert.equal(snapshot(site.folder).size, 0)
  assert.equal(errors.length, 0)
})

test('a creation that holds its body back has one: it is refused without a word to go on', async (t) => {
  const site = await serve(t)
  const client = await WireClient.connect(site.port)
  await client.send(request('POST /files/', [V, 'Upload-Length: 10', CODED, 'Expect: 100-continue']))
  assert.equal((await client.response()).status, 415)
  client.destroy()
})

test('an empty body that a middleware has read to its end was not lost; one of a byte was', async (t) => {
  const site = await serve(t, { before: async (req) => { for await (const _ of req); } })
  for (const type of [[], [OCT]]) {
    assert.equal((await ask(site, request('POST /files/', [V, 'Upload-Length: 10', CODED, ...type], '0\r\n\r\n'))).status, 201)
  }
  const lost = await ask(site, request('POST /files/', [V, OCT, 'Upload-Length: 10', CODED], '1\r\nx\r\n0\r\n\r\n'))
  assert.deepEqual([lost.status, lost.body], [500, 'The request body was already read: mount the upload handler before any body parser\n'])
  assert.equal((await ask(site, request('POST /files/', [V, 'Upload-Length: 10', CODED], '1\r\nx\r\n0\r\n\r\n'))).status, 415)
})

test('a body that a middleware has thrown away is lost, too', async (t) => {
  const site = await serve(t, { before: (req) => once(req.resume(), 'end') })
  const lost = await ask(site, request('POST /files/', [V, OCT, 'Upload-Length: 10', CODED], '1\r\nx\r\n0\r\n\r\n'))
  assert.equal(lost.status, 500)
})

test('the wait for the first byte does not disturb what is pipelined behind', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const client = await WireClient.connect(site.port)
  const creation = request('POST /files/', [V, 'Upload-Length: 0', CODED], '0\r\n\r\n')
  await client.send(creation + request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', 'Content-Length: 5'], 'world') + creation)
  const answers = [await client.response(), await client.response(), await client.response()]
  assert.deepEqual(answers.map(({ status }) => status), [201, 204, 201])
  client.destroy()
})

/** Sends HEADERS without END_STREAM, and then what `body` says; resolves with status and headers. */
async function askHttp2(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body: string | undefined,
): Promise<Record<string, unknown>> {
  const stream = session.request({ ':method': 'POST', ':path': '/files/', ...headers }, { endStream: false })
  if (body !== undefined) stream.end(body)
  const [answer] = (await once(stream, 'response')) as [Record<string, unknown>]
  stream.close(constants.NGHTTP2_NO_ERROR)
  await once(stream.resume(), 'close')
  return answer
}

async function serveHttp2(t: TestContext): Promise<{ readonly session: ClientHttp2Session; readonly folder: string }> {
  const folder = temporaryFolder(t)
  const handler = uploadHandler({ store: new FileStore(folder, { sync: 'none' }) })
  const session = connect(`http://127.0.0.1:${await listen(t, createServer((req, res) => void handler(req, res)))}`)
  t.after(() => session.destroy())
  return { session, folder }
}

test('HTTP/2: HEADERS and an empty DATA frame have no body: a creation is 201 in both protocols; with a byte it is as ever', async (t) => {
  const { session } = await serveHttp2(t)
  const tus = { 'tus-resumable': '1.0.0', 'upload-length': '10' }
  for (let round = 0; round < 20; round++) {
    assert.equal((await askHttp2(session, tus, ''))[':status'], 201)
    assert.equal((await askHttp2(session, { ...tus, 'content-type': 'application/json' }, ''))[':status'], 201)
    assert.equal((await askHttp2(session, { ...tus, 'content-type': 'application/offset+octet-stream' }, ''))['upload-offset'], '0')
    assert.equal((await askHttp2(session, tus, 'x'))[':status'], 415)
    assert.equal((await askHttp2(session, { 'upload-complete': '?0', 'upload-length': '10' }, ''))[':status'], 201)
    assert.equal((await askHttp2(session, { 'upload-complete': '?1' }, ''))[':status'], 200)
  }
})

test('HTTP/2: a creation whose stream is reset before it says whether it has a body leaves nothing behind', async (t) => {
  const { session, folder } = await serveHttp2(t)
  const stream = session.request(
    { ':method': 'POST', ':path': '/files/', 'tus-resumable': '1.0.0', 'upload-length': '10' },
    { endStream: false },
  )
  await new Promise<void>((resolve) => session.ping(() => resolve()))
  stream.close(constants.NGHTTP2_CANCEL)
  await once(stream, 'close')
  assert.equal((await askHttp2(session, { 'tus-resumable': '1.0.0', 'upload-length': '10' }, 'x'))[':status'], 415)
  assert.deepEqual(snapshot(folder).size, 0)
})
