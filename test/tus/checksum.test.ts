// SPDX-License-Identifier: MIT

/** Checklist T.7: checksums in headers and trailers. A body with a checksum counts as a whole or not at all. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type OutgoingHttpHeaders } from 'node:http2'
import { Readable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { FileStore, FileStoreError } from '../../lib/file-store/file-store.ts'
import { CHECKSUM_ALGORITHMS } from '../../lib/tus/checksum.ts'
import { tusHandler } from '../../lib/tus/handler.ts'
import type { Upload, VerifiedAppendOptions } from '../../lib/upload/types.ts'
import { locationOf } from '../support/address-of.ts'
import { listen } from '../support/listen.ts'
import { pattern } from '../support/pattern.ts'
import { startProgram } from '../support/program.ts'
import { snapshot } from '../support/snapshot.ts'
import { StoreBehind } from '../support/store-behind.ts'
import { contentOf, stored } from '../support/stored-content.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { chunked, exchange, request, WireClient, withBody } from '../support/wire.ts'
import { ask, assertPlainRefusal, make, OCT, offsetOf, serve, V, type Site } from './support.ts'

const CODED = 'Transfer-Encoding: chunked'
const TRAILER = 'Trailer: Upload-Checksum'

/** The field that goes with a body. */
function checksum(body: string | Uint8Array, algorithm = 'sha1'): string {
  return `Upload-Checksum: ${algorithm} ${createHash(algorithm).update(body).digest('base64')}`
}

/** A PATCH with a length. */
function patch(upload: string, offset: number, body: string | Uint8Array, headers: readonly string[] = []): Buffer {
  const framing = [`Upload-Offset: ${offset}`, `Content-Length: ${Buffer.byteLength(body)}`]
  return withBody(request(`PATCH ${upload}`, [V, OCT, ...framing, ...headers]), Buffer.from(body))
}

/** A body in chunked coding with trailer lines behind it. */
function trailed(body: string | Uint8Array, lines: readonly string[], size?: number): Buffer {
  return Buffer.concat([chunked(body, size).subarray(0, -2), Buffer.from([...lines, '', ''].join('\r\n'), 'latin1')])
}

/** A PATCH in chunked coding, with trailer lines. */
function codedPatch(
  upload: string,
  offset: number,
  body: string | Uint8Array,
  headers: readonly string[],
  lines: readonly string[],
  size?: number,
): Buffer {
  return withBody(request(`PATCH ${upload}`, [V, OCT, `Upload-Offset: ${offset}`, CODED, ...headers]), trailed(body, lines, size))
}

/** The offset that HEAD tells is also what is in the file: nothing that was discarded lies behind it. */
async function assertStored(site: Site, upload: string, content: string | Uint8Array): Promise<void> {
  await site.settled()
  assert.equal(await offsetOf(site, upload), Buffer.byteLength(content))
  assert.ok(contentOf(site, upload).equals(Buffer.from(content)), 'the file holds what counts, and no more')
}

test('T99 · the checksum of the specification is right: 204', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 11)
  const answer = await ask(site, patch(upload, 0, 'hello world', ['Upload-Checksum: sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=']))
  assert.equal(answer.status, 204)
  assert.equal(answer.headers.get('upload-offset'), '11')
  await assertStored(site, upload, 'hello world')
})

for (const algorithm of CHECKSUM_ALGORITHMS) {
  test(`T99, T100 · with ${algorithm} a body that matches is stored; one that does not is 460, and not`, async (t) => {
    const site = await serve(t)
    const upload = await make(site, 10)
    const right = await ask(site, patch(upload, 0, 'hello', [checksum('hello', algorithm)]))
    assert.deepEqual([right.status, right.headers.get('upload-offset')], [204, '5'])
    const wrong = await ask(site, patch(upload, 5, 'world', [checksum('hello', algorithm)]))
    assert.equal(wrong.status, 460)
    assert.equal(wrong.headers.has('upload-offset'), false)
    assertPlainRefusal(wrong, site)
    await assertStored(site, upload, 'hello')
  })

  test(`T99, T100 · with ${algorithm} a large body that matches is stored; one bit of it turned is 460`, async (t) => {
    const site = await serve(t)
    const source = pattern(3 * 1024 * 1024 + 7)
    const upload = await make(site, source.length)
    const turned = Buffer.from(source)
    turned[source.length - 1]! ^= 1
    assert.equal((await ask(site, patch(upload, 0, turned, [checksum(source, algorithm)]))).status, 460)
    await assertStored(site, upload, '')
    assert.equal((await ask(site, patch(upload, 0, source, [checksum(source, algorithm)]))).status, 204)
    await assertStored(site, upload, source)
  })
}

test('T100 · the reason phrase of 460 is "Checksum Mismatch"', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10)
  const client = await WireClient.connect(site.port)
  await client.send(patch(upload, 0, 'hello', [checksum('other'), 'Connection: close']))
  const answer = await client.closed()
  assert.equal(answer.split('\r\n', 1)[0], 'HTTP/1.1 460 Checksum Mismatch')
})

test('T101 · after a 460 the offset is what it was, and what was discarded is not in the result', async (t) => {
  const finished: Buffer[] = []
  const site = await serve(t, { onFinish: (upload) => void finished.push(contentOf(site, `/files/${upload.id}`)) })
  const upload = await make(site, 10, 'hello')
  for (let round = 0; round < 3; round++) {
    assert.equal((await ask(site, patch(upload, 5, 'WRONG', [checksum('world')]))).status, 460)
    await assertStored(site, upload, 'hello')
    assert.deepEqual(finished, [], 'an upload is not complete because of bytes that do not count')
  }
  assert.equal((await ask(site, patch(upload, 5, 'world', [checksum('world')]))).status, 204)
  await assertStored(site, upload, 'helloworld')
  assert.deepEqual(finished.map(String), ['helloworld'])
})

test('T101 · after a 460 a new server on the same store goes on from the old offset', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  assert.equal((await ask(site, patch(upload, 5, 'WRONG', [checksum('world')]))).status, 460)
  const later = await serve(t, { folder: site.folder })
  assert.equal(await offsetOf(later, upload), 5)
  assert.equal((await ask(later, patch(upload, 5, 'world'))).status, 204)
  await assertStored(later, upload, 'helloworld')
})

const SHA1 = createHash('sha1').update('world').digest()
const malformed: readonly (readonly [row: string, values: readonly string[]])[] = [
  ['T102', ['crc99 AAAA']],
  ['T102', [`ripemd160 ${SHA1.toString('base64')}`]],
  ['T103', ['']],
  ['T103', ['sha1']],
  ['T103', ['sha1 ']],
  ['T103', [' AAAA']],
  ['T103', ['sha1 ###']],
  ['T103', ['sha1 AAAA']],
  ['T103', [`SHA1 ${SHA1.toString('base64')}`]],
  ['T103', [`sha1  ${SHA1.toString('base64')}`]],
  ['T103', [`sha1 ${SHA1.toString('base64')}`, `sha1 ${SHA1.toString('base64')}`]],
  ['T103', [`sha1 ${Buffer.from(SHA1.toString('hex')).toString('base64')}`]],
  ['T103', [`sha1 ${SHA1.toString('hex')}`]],
  ['T103', [`sha1 ${SHA1.toString('base64').slice(0, -1)}`]],
  ['T103', [`sha1 ${Buffer.alloc(20, 0xff).toString('base64url')}=`]],
  ['T103', [`sha256 ${SHA1.toString('base64')}`]],
  ['T103', [`__proto__ ${SHA1.toString('base64')}`]],
  ['T103', ['\xff']],
]

for (const [row, values] of malformed) {
  const title = values.map((value) => JSON.stringify(value.slice(0, 40))).join(' and ')
  test(`${row} · an Upload-Checksum of ${title} is 400, in a header and in a trailer, and changes nothing`, async (t) => {
    const site = await serve(t)
    const upload = await make(site, 10, 'hello')
    const lines = values.map((value) => `Upload-Checksum: ${value}`)
    const inHeader = patch(upload, 5, 'world', lines)
    const inTrailer = codedPatch(upload, 5, 'world', [TRAILER], lines)
    for (const text of [inHeader, inTrailer]) {
      const answer = await ask(site, text)
      assert.equal(answer.status, 400)
      assertPlainRefusal(answer, site)
      assert.match(answer.body, /Upload-Checksum/)
      await assertStored(site, upload, 'hello')
    }
  })
}

test('T103 · a checksum that is malformed is refused before the body is asked for', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const begin = async (line: string): Promise<WireClient> => {
    const client = await WireClient.connect(site.port)
    const headers = [V, OCT, 'Upload-Offset: 5', line, 'Content-Length: 5', 'Expect: 100-continue']
    await client.send(request(`PATCH ${upload}`, headers))
    return client
  }
  const refused = await begin('Upload-Checksum: crc99 AAAA')
  assert.equal((await refused.response()).status, 400)
  assert.equal(await refused.closed(), '')

  const accepted = await begin(checksum('world'))
  assert.equal((await accepted.response()).status, 100)
  await accepted.send('world')
  assert.equal((await accepted.response()).status, 204)
  accepted.destroy()
})

/** A PATCH with a checksum of which the first half was sent, and has reached the file. */
async function beginHalf(site: Site, upload: string, source: Buffer, offset: number): Promise<WireClient> {
  const half = offset + Math.floor((source.length - offset) / 2)
  const client = await WireClient.connect(site.port)
  const headers = [V, OCT, `Upload-Offset: ${offset}`, checksum(source.subarray(offset)), `Content-Length: ${source.length - offset}`]
  await client.send(request(`PATCH ${upload}`, headers))
  await client.send(source.subarray(offset, half))
  await stored(site, upload, half)
  return client
}

for (const [cut, how] of [['end', 'FIN'], ['resetAndDestroy', 'RST']] as const) {
  test(`T104 · of a body with a checksum that is cut after half of it (${how}) nothing counts, and the rest uploads rightly`, async (t) => {
    const site = await serve(t)
    const source = pattern(1024 * 1024)
    const upload = await make(site, source.length)
    assert.equal((await ask(site, patch(upload, 0, source.subarray(0, 1000)))).status, 204)
    const client = await beginHalf(site, upload, source, 1000)
    client.socket[cut]()
    await assertStored(site, upload, source.subarray(0, 1000))
    const rest = source.subarray(1000)
    assert.equal((await ask(site, patch(upload, 1000, rest, [checksum(rest)]))).status, 204)
    await assertStored(site, upload, source)
    client.destroy()
  })
}

test('T104 · a body with a checksum that falls silent is 423, and nothing of it counts', async (t) => {
  const site = await serve(t, { idleTimeoutMs: 50 })
  const upload = await make(site, 10, 'hello')
  const client = await WireClient.connect(site.port)
  await client.send(patch(upload, 5, 'world', [checksum('world')]).subarray(0, -2))
  const answer = await client.response()
  assert.equal(answer.status, 423)
  assertPlainRefusal(answer, site)
  client.destroy()
  await assertStored(site, upload, 'hello')
})

test('T104 · a body with a checksum that a shutdown ends is 503, and nothing of it counts', async (t) => {
  const shutdown = new AbortController()
  const site = await serve(t, { signal: shutdown.signal })
  const source = pattern(100_000)
  const upload = await make(site, source.length)
  const client = await beginHalf(site, upload, source, 0)
  shutdown.abort()
  const answer = await client.response()
  assert.equal(answer.status, 503)
  assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/)
  client.destroy()
  const later = await serve(t, { folder: site.folder })
  await site.settled()
  await assertStored(later, upload, '')
})

test('T104 · while a body with a checksum is being received nobody sees any of it; a HEAD makes it let go and tells the old offset', async (t) => {
  const site = await serve(t)
  const source = pattern(200_000)
  const upload = await make(site, source.length)
  assert.equal((await ask(site, patch(upload, 0, source.subarray(0, 1000)))).status, 204)
  const client = await beginHalf(site, upload, source, 1000)

  assert.ok(contentOf(site, upload).length > 1000, 'the bytes are on the disk')
  const found = await new FileStore(site.folder).find(upload.slice('/files/'.length))
  assert.equal(found?.offset, 1000)
  assert.equal(await offsetOf(site, upload), 1000)
  const overtaken = await client.response()
  assert.equal(overtaken.status, 409)
  assertPlainRefusal(overtaken, site)

  await client.send(source.subarray(100_500)) // comes too late to count
  client.socket.end()
  assert.equal(await client.closed(), '')
  await assertStored(site, upload, source.subarray(0, 1000))
  const rest = source.subarray(1000)
  assert.equal((await ask(site, patch(upload, 1000, rest, [checksum(rest)]))).status, 204)
  await assertStored(site, upload, source)
})

test('T104 · a PATCH, with a checksum or without, takes over from one that is stalled, at the old offset', async (t) => {
  const site = await serve(t)
  const source = pattern(200_000)
  for (const headers of [[], [checksum(source)]]) {
    const upload = await make(site, source.length)
    const client = await beginHalf(site, upload, source, 0)
    assert.equal((await ask(site, patch(upload, 0, source, headers))).status, 204)
    assert.equal((await client.response()).status, 409)
    client.destroy()
    await assertStored(site, upload, source)
  }
})

test('T104 · a DELETE ends a body with a checksum, and leaves nothing behind', async (t) => {
  const site = await serve(t)
  const source = pattern(200_000)
  const upload = await make(site, source.length)
  const client = await beginHalf(site, upload, source, 0)
  assert.equal((await ask(site, request(`DELETE ${upload}`, [V]))).status, 204)
  assert.equal((await client.response()).status, 409)
  client.destroy()
  await site.settled()
  assert.equal(snapshot(site.folder).size, 0)
})

test('T48 · of two PATCHes with checksums at once one is stored whole, or none, and never a mix', async (t) => {
  const site = await serve(t)
  for (let round = 0; round < 10; round++) {
    const upload = await make(site, 4000)
    const bodies = ['a', 'b'].map((letter) => letter.repeat(4000))
    const answers = await Promise.all(bodies.map((body) => exchange(site.port, patch(upload, 0, body, [checksum(body)]))))
    const winners = bodies.filter((_, index) => answers[index]?.status === 204)
    assert.deepEqual(answers.map(({ status }) => status).filter((status) => status !== 204 && status !== 409), [])
    assert.ok(winners.length <= 1)
    await assertStored(site, upload, winners[0] ?? '')
  }
})

test('T105 · the checksum of an empty body is verified: right is 204, wrong is 460', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  for (const algorithm of CHECKSUM_ALGORITHMS) {
    assert.equal((await ask(site, patch(upload, 5, '', [checksum('', algorithm)]))).status, 204)
    assert.equal((await ask(site, patch(upload, 5, '', [checksum('hello', algorithm)]))).status, 460)
    assert.equal((await ask(site, codedPatch(upload, 5, '', [TRAILER], [checksum('', algorithm)]))).status, 204)
    assert.equal((await ask(site, codedPatch(upload, 5, '', [TRAILER], [checksum('hello', algorithm)]))).status, 460)
  }
  await assertStored(site, upload, 'hello')
})

test('T105 · the checksum of a chunked body is that of what the chunks hold', async (t) => {
  const site = await serve(t)
  const source = pattern(100_000)
  const upload = await make(site, source.length)
  assert.equal((await ask(site, codedPatch(upload, 0, source, [checksum(chunked(source, 999))], [], 999))).status, 460)
  assert.equal((await ask(site, codedPatch(upload, 0, source, [checksum(source)], [], 999))).status, 204)
  await assertStored(site, upload, source)
})

test('T105 · the checksum is that of the body, not of the upload', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  assert.equal((await ask(site, patch(upload, 5, 'world', [checksum('helloworld')]))).status, 460)
  assert.equal((await ask(site, patch(upload, 5, 'world', [checksum('world')]))).status, 204)
  await assertStored(site, upload, 'helloworld')
})

test('T105 · bodies with checksums and without make up one upload, in any order', async (t) => {
  const site = await serve(t)
  const source = pattern(64 * 1024)
  const upload = await make(site, source.length)
  const kinds = [
    'checked', 'plain', 'wrong', 'plain', 'trailed', 'wrong', 'checked', 'checked', 'cut', 'plain', 'wrong', 'trailed', 'cut', 'checked',
    'plain', 'trailed',
  ]
  let offset = 0
  for (const [index, kind] of kinds.entries()) {
    const body = source.subarray(offset, offset + 1000 + index)
    if (kind === 'wrong') {
      assert.equal((await ask(site, patch(upload, offset, body, [checksum('other')]))).status, 460)
    } else if (kind === 'cut') {
      const client = await WireClient.connect(site.port)
      await client.send(patch(upload, offset, body, [checksum(body)]).subarray(0, -1))
      client.socket.end()
      await client.closed()
    } else {
      const plain = kind === 'plain' ? [] : [checksum(body)]
      const text =
        kind === 'trailed' ? codedPatch(upload, offset, body, [TRAILER], [checksum(body)], 99) : patch(upload, offset, body, plain)
      assert.equal((await ask(site, text)).status, 204, `${kind} at ${offset}`)
      offset += body.length
    }
    await assertStored(site, upload, source.subarray(0, offset))
  }
  const rest = source.subarray(offset)
  assert.equal((await ask(site, patch(upload, offset, rest, [checksum(rest, 'sha512')]))).status, 204)
  await assertStored(site, upload, source)
})

test('T43, T44 · a body with a checksum that is larger than what is left is 413, announced or not, and nothing of it counts', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const texts = [
    patch(upload, 5, 'worlds', [checksum('worlds')]),
    codedPatch(upload, 5, 'worlds', [checksum('worlds')], [], 2),
    codedPatch(upload, 5, 'worlds', [checksum('world')], [], 5),
    codedPatch(upload, 5, 'worlds', [TRAILER], [checksum('world')], 5),
  ]
  for (const text of texts) {
    const answer = await ask(site, text)
    assert.equal(answer.status, 413)
    assertPlainRefusal(answer, site)
    await assertStored(site, upload, 'hello')
  }
})

for (const algorithm of CHECKSUM_ALGORITHMS) {
  test(`T106, T107 · with ${algorithm} in a trailer a body that matches is stored; one that does not is 460, and not`, async (t) => {
    const site = await serve(t)
    const source = pattern(300_000)
    const upload = await make(site, source.length)
    const wrong = await ask(site, codedPatch(upload, 0, source, [TRAILER], [checksum('other', algorithm)], 4096))
    assert.equal(wrong.status, 460)
    assertPlainRefusal(wrong, site)
    await assertStored(site, upload, '')
    const right = await ask(site, codedPatch(upload, 0, source, [TRAILER], [checksum(source, algorithm)], 4096))
    assert.deepEqual([right.status, right.headers.get('upload-offset')], [204, '300000'])
    await assertStored(site, upload, source)
  })
}

test('T107 · a trailer that was announced and is missing, or is another one, is 400, and nothing of the body counts', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  for (const lines of [[], ['X-Other: 1'], [checksum('world').replace('Upload-', 'X-')]]) {
    const answer = await ask(site, codedPatch(upload, 5, 'world', [TRAILER], lines))
    assert.equal(answer.status, 400)
    assertPlainRefusal(answer, site)
    await assertStored(site, upload, 'hello')
  }
})

test('T107 · a checksum that is a header and announced as a trailer is 400, whether it comes or not', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  for (const lines of [[], [checksum('world')], [checksum('other')]]) {
    const answer = await ask(site, codedPatch(upload, 5, 'world', [TRAILER, checksum('world')], lines))
    assert.equal(answer.status, 400)
    assertPlainRefusal(answer, site)
    assert.match(answer.body, /both/)
    await assertStored(site, upload, 'hello')
  }
})

test('T107 · Trailer may name the field in any case, among others, and in several lines', async (t) => {
  const site = await serve(t)
  const announcements = [
    ['Trailer: upload-checksum'], ['trailer: UPLOAD-CHECKSUM'], ['Trailer: X-Other, Upload-Checksum'], ['Trailer:Upload-Checksum ,X-Other'],
    ['Trailer: X-Other', 'Trailer: Upload-Checksum'],
  ]
  for (const announcement of announcements) {
    const upload = await make(site, 5)
    assert.equal((await ask(site, codedPatch(upload, 0, 'hello', announcement, ['X-Other: 1', checksum('other')]))).status, 460)
    await assertStored(site, upload, '')
    const right = checksum('hello').replace('Upload-Checksum', 'upload-CHECKSUM')
    assert.equal((await ask(site, codedPatch(upload, 0, 'hello', announcement, [right, 'X-Other: 1']))).status, 204)
    await assertStored(site, upload, 'hello')
  }
})

test('T107 · a trailer that was not announced, or is of another name, does not count: the body is stored as it came', async (t) => {
  const site = await serve(t)
  for (const announcement of [[], ['Trailer: X-Other']]) {
    const upload = await make(site, 5)
    assert.equal((await ask(site, codedPatch(upload, 0, 'hello', announcement, [checksum('other')]))).status, 204)
    await assertStored(site, upload, 'hello')
  }
})

test('T107 · a trailer that is announced for a body with a Content-Length is 400: there it cannot come', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  for (const body of ['world', '']) {
    const answer = await ask(site, patch(upload, 5, body, [TRAILER]))
    assert.equal(answer.status, 400)
    assertPlainRefusal(answer, site)
    assert.match(answer.body, /chunked/)
    await assertStored(site, upload, 'hello')
  }
})

const endings: readonly (readonly [what: string, ending: string])[] = [
  ['before its last chunk', ''],
  ['inside its last chunk', '0\r'],
  ['before its trailer', '0\r\n'],
  ['inside its trailer', `0\r\n${checksum('world').slice(0, 30)}`],
  ['at the end of a trailer that would match', `0\r\n${checksum('world')}\r\n`],
]

for (const [what, ending] of endings) {
  for (const [cut, how] of [['end', 'FIN'], ['resetAndDestroy', 'RST']] as const) {
    test(`T107 · of a body that is cut ${what} (${how}) nothing counts`, async (t) => {
      const site = await serve(t)
      const upload = await make(site, 10, 'hello')
      const client = await WireClient.connect(site.port)
      await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', CODED, TRAILER], `5\r\nworld\r\n${ending}`))
      await stored(site, upload, 10)
      client.socket[cut]()
      await client.closed()
      await assertStored(site, upload, 'hello')
      assert.equal((await ask(site, codedPatch(upload, 5, 'world', [TRAILER], [checksum('world')]))).status, 204)
      await assertStored(site, upload, 'helloworld')
    })
  }
}

test('T107 · a trailer that never comes is 423, and nothing of the body counts', async (t) => {
  const site = await serve(t, { idleTimeoutMs: 50 })
  const upload = await make(site, 10, 'hello')
  const client = await WireClient.connect(site.port)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', CODED, TRAILER], '5\r\nworld\r\n0\r\n'))
  assert.equal((await client.response()).status, 423)
  client.destroy()
  await assertStored(site, upload, 'hello')
})

test('T107 · a trailer that is no header ends the connection with 400, and nothing of the body counts', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  for (const line of ['no colon', 'Upload-Checksum : x', `${checksum('world')}\0`, `X: ${'x'.repeat(100_000)}`]) {
    const client = await WireClient.connect(site.port)
    await client.send(codedPatch(upload, 5, 'world', [TRAILER], [line]))
    const { status } = await client.response()
    assert.ok(status === 400 || status === 431, String(status))
    assert.equal(await client.closed(), '')
    await assertStored(site, upload, 'hello')
  }
})

test('T107 · the trailer may come long after the body, and split anywhere; until it is there nothing counts', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10, 'hello')
  const client = await WireClient.connect(site.port)
  client.socket.setNoDelay(true)
  await client.send(request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 5', CODED, TRAILER], '5\r\nworld\r\n0\r\n'))
  await stored(site, upload, 10)
  assert.equal((await new FileStore(site.folder).find(upload.slice('/files/'.length)))?.offset, 5)
  for (const character of `${checksum('world')}\r\n\r\n`) await client.send(character)
  assert.equal((await client.response()).status, 204)
  client.destroy()
  await assertStored(site, upload, 'helloworld')
})

test('T87 · a creation with a checksum that matches is 201, in a header and in a trailer', async (t) => {
  const site = await serve(t)
  const headers = [V, OCT, 'Upload-Length: 10']
  const texts = [
    request('POST /files/', [...headers, checksum('hello', 'sha256'), 'Content-Length: 5'], 'hello'),
    withBody(request('POST /files/', [...headers, checksum('hello'), CODED]), chunked('hello', 2)),
    withBody(request('POST /files/', [...headers, TRAILER, CODED]), trailed('hello', [checksum('hello', 'md5')])),
  ]
  for (const text of texts) {
    const answer = await ask(site, text)
    assert.deepEqual([answer.status, answer.headers.get('upload-offset')], [201, '5'])
    await assertStored(site, answer.headers.get('location') ?? '', 'hello')
  }
})

test('T87 · a creation whose checksum does not match is 460, one that is malformed 400; no upload is left of it', async (t) => {
  const finished: unknown[] = []
  const site = await serve(t, { onFinish: (upload) => void finished.push(upload) })
  const headers = [V, OCT, 'Upload-Length: 5']
  const rows: readonly (readonly [status: number, text: string | Buffer])[] = [
    [460, request('POST /files/', [...headers, checksum('other'), 'Content-Length: 5'], 'hello')],
    [460, request('POST /files/', [...headers, checksum('other'), 'Content-Length: 0'])],
    [460, withBody(request('POST /files/', [...headers, TRAILER, CODED]), trailed('hello', [checksum('other')]))],
    [400, request('POST /files/', [...headers, 'Upload-Checksum: crc99 AAAA', 'Content-Length: 5'], 'hello')],
    [400, withBody(request('POST /files/', [...headers, TRAILER, CODED]), trailed('hello', []))],
    [400, withBody(request('POST /files/', [...headers, TRAILER, CODED]), trailed('hello', ['Upload-Checksum: sha1']))],
    [400, withBody(request('POST /files/', [...headers, TRAILER, checksum('hello'), CODED]), trailed('hello', [checksum('hello')]))],
  ]
  for (const [status, text] of rows) {
    const answer = await ask(site, text)
    assert.equal(answer.status, status)
    assert.equal(answer.headers.has('location'), false)
    assertPlainRefusal(answer, site)
    await site.settled()
    assert.equal(snapshot(site.folder).size, 0)
  }
  assert.deepEqual(finished, [])
})

test('T83, T87 · a creation with a checksum that is cut exists, without a byte', async (t) => {
  const created: string[] = []
  const site = await serve(t, {
    store: (files) => new (class extends StoreBehind {
      override async create(...upload: Parameters<StoreBehind['create']>): ReturnType<StoreBehind['create']> {
        const made = await super.create(...upload)
        created.push(`/files/${made.id}`)
        return made
      }
    })(files),
  })
  const client = await WireClient.connect(site.port)
  await client.send(request('POST /files/', [V, OCT, 'Upload-Length: 10', checksum('helloworld'), 'Content-Length: 10'], 'hello'))
  client.socket.end()
  await client.closed()
  await site.settled()
  assert.equal(created.length, 1)
  await assertStored(site, created[0] ?? '', '')
  assert.equal((await ask(site, patch(created[0] ?? '', 0, 'helloworld', [checksum('helloworld')]))).status, 204)
})

test('T101 · a server that is killed in the middle of a body with a checksum tells the old offset after its restart', async (t) => {
  const folder = temporaryFolder(t)
  const source = pattern(1024 * 1024)
  const first = await startProgram(t, ['--dir', folder, '--lock', 'memory'])
  const created = await exchange(first.port, request('POST /files/', [V, `Upload-Length: ${source.length}`, 'Content-Length: 0']))
  const upload = locationOf(created)
  assert.equal((await exchange(first.port, patch(upload, 0, source.subarray(0, 1000)))).status, 204)
  const rest = source.subarray(1000)
  const client = await WireClient.connect(first.port)
  await client.send(patch(upload, 1000, rest, [checksum(rest)]).subarray(0, -1))
  await stored({ folder }, upload, 300_000)
  first.process.kill('SIGKILL')
  assert.deepEqual(await first.exit, { code: null, signal: 'SIGKILL' })
  client.destroy()
  assert.ok(contentOf({ folder }, upload).length >= 300_000, 'the bytes that do not count are on the disk')

  const second = await startProgram(t, ['--dir', folder, '--lock', 'memory'])
  assert.equal(await offsetOf(second, upload), 1000)
  const wrong = Buffer.alloc(5000, 'x')
  assert.equal((await exchange(second.port, patch(upload, 1000, wrong, [checksum('other')]))).status, 460)
  assert.equal(await offsetOf(second, upload), 1000)
  assert.equal(contentOf({ folder }, upload).length, 1000)
  const plain = rest.subarray(0, 5000)
  assert.equal((await exchange(second.port, patch(upload, 1000, plain))).status, 204)
  const last = rest.subarray(5000)
  assert.equal((await exchange(second.port, patch(upload, 6000, last, [checksum(last)]))).status, 204)
  assert.equal(await offsetOf(second, upload), source.length)
  assert.ok(contentOf({ folder }, upload).equals(source))
})

test('T101 · after a kill in the middle of a body with a checksum an append without one begins at the old offset as well', async (t) => {
  const folder = temporaryFolder(t)
  const source = pattern(400_000)
  const first = await startProgram(t, ['--dir', folder, '--lock', 'memory'])
  const created = await exchange(first.port, request('POST /files/', [V, `Upload-Length: ${source.length}`, 'Content-Length: 0']))
  const upload = locationOf(created)
  const client = await WireClient.connect(first.port)
  const wrong = Buffer.alloc(source.length, 'x')
  await client.send(codedPatch(upload, 0, wrong, [TRAILER], [], 65_536).subarray(0, -2)) // all of it, but for the trailer
  await stored({ folder }, upload, source.length)
  first.process.kill('SIGKILL')
  await first.exit
  client.destroy()

  const second = await startProgram(t, ['--dir', folder, '--lock', 'memory'])
  assert.equal(await offsetOf(second, upload), 0)
  assert.equal((await exchange(second.port, patch(upload, 0, source.subarray(0, 10)))).status, 204)
  assert.equal(await offsetOf(second, upload), 10)
  assert.equal((await exchange(second.port, patch(upload, 10, source.subarray(10)))).status, 204)
  assert.ok(contentOf({ folder }, upload).equals(source))
})

for (const [thrown, status] of [
  [new FileStoreError('STORE_FULL', 'No space at /srv/secret'), 507], [new Error('EIO: /srv/secret'), 500],
] as const) {
  test(`T53 · a store that fails with ${status} in the middle of a body with a checksum counts none of it`, async (t) => {
    class FaultyStore extends StoreBehind {
      fails = false

      override appendVerified(upload: Upload, body: Readable, options: VerifiedAppendOptions): Promise<number> {
        return super.appendVerified(upload, this.fails ? Readable.from(failing(body), { objectMode: false }) : body, options)
      }
    }
    async function* failing(body: Readable): AsyncGenerator<Buffer> {
      for await (const chunk of body as AsyncIterable<Buffer>) {
        yield chunk.subarray(0, 3)
        throw thrown
      }
    }
    const site = await serve(t, { store: (files) => new FaultyStore(files) })
    for (const resume of [[], [checksum('world')]]) {
      const upload = await make(site, 10, 'hello')
      site.store.fails = true
      const answer = await ask(site, patch(upload, 5, 'world', [checksum('world')]))
      assert.equal(answer.status, status)
      assertPlainRefusal(answer, site)
      await site.settled()
      assert.equal(await offsetOf(site, upload), 5)
      site.store.fails = false
      assert.equal((await ask(site, patch(upload, 5, 'world', resume))).status, 204)
      await assertStored(site, upload, 'helloworld')
    }
  })
}

async function http2Patch(
  t: TestContext,
  trailers: OutgoingHttpHeaders,
  headers: OutgoingHttpHeaders = {},
): Promise<readonly [status: unknown, offset: number]> {
  const folder = temporaryFolder(t)
  const store = new FileStore(folder, { sync: 'none' })
  const { id } = await store.create({ length: 10 })
  const tus = tusHandler({ store })
  const served: Promise<void>[] = []
  const server = createServer((req, res) => void served.push(tus(req, res)))
  const session = connect(`http://127.0.0.1:${await listen(t, server)}`)
  t.after(() => session.destroy())
  const common = {
    'tus-resumable': '1.0.0',
    'content-type': 'application/offset+octet-stream',
    'upload-offset': '0',
    trailer: 'upload-checksum',
  }
  const stream = session.request({ ':method': 'PATCH', ':path': `/files/${id}`, ...common, ...headers }, { waitForTrailers: true })
  stream.on('wantTrailers', () => stream.sendTrailers(trailers))
  stream.end('hello')
  const [answer] = (await once(stream, 'response')) as [{ readonly ':status'?: number }]
  stream.resume()
  await Promise.all(served)
  return [answer[':status'], (await store.find(id))?.offset ?? NaN]
}

test('T107 · HTTP/2: a trailer that matches is 204; with a Content-Length as well, which allows trailers there', async (t) => {
  const [name = '', value] = checksum('hello').split(': ')
  assert.deepEqual(await http2Patch(t, { [name.toLowerCase()]: value }), [204, 5])
  assert.deepEqual(await http2Patch(t, { [name.toLowerCase()]: value }, { 'content-length': '5' }), [204, 5])
})

test('T107 · HTTP/2: a trailer that does not match is 460, one that is malformed or missing 400; nothing counts', async (t) => {
  const [name = '', value] = checksum('other').split(': ')
  assert.deepEqual(await http2Patch(t, { [name.toLowerCase()]: value }), [460, 0])
  assert.deepEqual(await http2Patch(t, { [name.toLowerCase()]: 'sha1' }), [400, 0])
  assert.deepEqual(await http2Patch(t, { 'x-other': '1' }), [400, 0])
  assert.deepEqual(await http2Patch(t, {}), [400, 0])
})
