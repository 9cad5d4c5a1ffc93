// SPDX-License-Identifier: MIT

/** Checklist T51: a request whose end is in doubt is not served, and no request hides in a body. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { published } from '../support/published.ts'
import { snapshot } from '../support/snapshot.ts'
import { chunked, request, WireClient } from '../support/wire.ts'
import { ask, assertPlainRefusal, make, OCT, serve, V, type Site } from './support.ts'

/** What a smuggler wants to be executed. */
const hidden = (victim: string): string => request(`DELETE ${victim}`, [V])

/** The last request on a connection: its 404 shows that the server read that far. */
const LAST = request('GET /last', ['Connection: close'])

/** Sends all of it and {@link LAST}; returns the status of every answer until the connection closes. */
async function statuses(site: Site, text: string): Promise<number[]> {
  const client = await WireClient.connect(site.port)
  await client.send(text + LAST)
  const wire = await client.closed()
  return [...wire.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map(([, status]) => Number(status))
}

const framings: readonly (readonly [what: string, headers: readonly string[]])[] = [
  ['both Content-Length and Transfer-Encoding', ['Content-Length: 5', 'Transfer-Encoding: chunked']],
  ['both Transfer-Encoding and Content-Length', ['Transfer-Encoding: chunked', 'Content-Length: 5']],
  ['two different Content-Lengths', ['Content-Length: 5', 'Content-Length: 6']],
  ['two equal Content-Lengths', ['Content-Length: 5', 'Content-Length: 5']],
  ['a list of Content-Lengths', ['Content-Length: 5, 5']],
  ['a negative Content-Length', ['Content-Length: -1']],
  ['a Content-Length with a sign', ['Content-Length: +5']],
  ['a hexadecimal Content-Length', ['Content-Length: 0x5']],
  ['a Content-Length with an exponent', ['Content-Length: 5e0']],
  ['an empty Content-Length', ['Content-Length: ']],
  ['a Content-Length beyond 64 bits', ['Content-Length: 99999999999999999999999']],
  ['an unknown transfer coding at the end', ['Transfer-Encoding: chunked, x']],
  ['a folded Transfer-Encoding', ['Content-Length: 5', 'Transfer-Encoding:\r\n chunked']],
  ['a space before the colon', ['Content-Length : 5']],
  ['a NUL in a header', ['Content-Length: 5', 'X-Nul: a\0b']],
  ['a bare CR in a header', ['Content-Length: 5', 'X-Cr: a\rb']],
]

for (const [what, headers] of framings) {
  test(`T51 · a PATCH with ${what} is 400, closes the connection and stores nothing`, async (t) => {
    const site = await serve(t)
    const upload = await make(site, 100)
    const before = snapshot(site.folder)
    const body = `0\r\n\r\n${hidden(upload)}`
    assert.deepEqual(await statuses(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', ...headers], body)), [400])
    assert.deepEqual(snapshot(site.folder), before)
  })
}

const CODINGS = [
  ['Transfer-Encoding: gzip, chunked'], ['Transfer-Encoding: gzip', 'Transfer-Encoding: chunked'], ['Transfer-Encoding: GZIP,chunked'],
  ['Transfer-Encoding: identity, chunked'], ['Transfer-Encoding: ,chunked'],
]

for (const codings of CODINGS) {
  test(`T51 · ${codings.join(' and ')} is 501, published nowhere, and its bytes are stored nowhere`, async (t) => {
    const errors = published(t, 'longhaul:error')
    const site = await serve(t)
    const upload = await make(site, 100)
    const before = snapshot(site.folder)
    for (const expect of [[], ['Expect: 100-continue']]) {
      const body = chunked('hello').toString()
      for (const target of [`PATCH ${upload}`, 'POST /files/']) {
        const fields = target.startsWith('POST') ? 'Upload-Length: 5' : 'Upload-Offset: 0'
        const answer = await ask(site, request(target, [V, OCT, fields, ...codings, ...expect], body))
        assert.equal(answer.status, 501)
        assertPlainRefusal(answer, site)
      }
    }
    await site.settled()
    assert.deepEqual(snapshot(site.folder), before)
    assert.equal(errors.length, 0)
  })
}

test('T51 · chunked is chunked in any case of letters', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 5)
  const text = request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'TRANSFER-ENCODING: Chunked '], chunked('hello').toString())
  assert.equal((await ask(site, text)).status, 204)
})

test('T51 · two Host lines, equal or not, are 400 whatever is asked, and nothing is done', async (t) => {
  const site = await serve(t, { cors: { origins: '*' }, download: {}, authorize: () => assert.fail('a hook was asked') })
  const before = snapshot(site.folder)
  for (const host of ['Host: test', 'Host: other', 'HOST: test', 'host:']) {
    for (const [target = '', ...fields] of [
      ['POST /files/', 'Upload-Length: 0'],
      ['OPTIONS /files/'],
      ['HEAD /files/a'],
      ['GET /files/a'],
      ['DELETE /elsewhere'],
    ]) {
      const answer = await ask(site, request(target, [V, host, ...fields]), { toHead: target.startsWith('HEAD') })
      assert.equal(answer.status, 400, target)
      if (answer.body !== '') assertPlainRefusal(answer, site)
    }
  }
  assert.deepEqual(snapshot(site.folder), before)
})

const badChunks = [
  'x\r\nhello\r\n0\r\n\r\n', '-5\r\nhello\r\n0\r\n\r\n', ' 5\r\nhello\r\n0\r\n\r\n', '5hello\r\n0\r\n\r\n', '5\r\nhelloXX0\r\n\r\n',
  'fffffffffffffffff\r\nhello\r\n',
]

for (const chunk of badChunks) {
  test(`T51 · a PATCH with the bad chunk ${JSON.stringify(chunk)} ends there; no request behind it is executed`, async (t) => {
    const site = await serve(t)
    const upload = await make(site, 100)
    const text = request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Transfer-Encoding: chunked'], chunk + hidden(upload))
    assert.deepEqual(await statuses(site, text), [400])
    await site.settled()
    const content = [...snapshot(site.folder).values()].join()
    assert.ok(snapshot(site.folder).size === 2, 'the upload was not deleted')
    assert.doesNotMatch(content, /DELETE|0\r\n/)
  })
}

test('T51 · a request that hides in the body of a refused PATCH is not executed', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 1000)
  const before = snapshot(site.folder)
  const body = hidden(upload)
  const rows: readonly (readonly [status: number, headers: readonly string[]])[] = [
    [409, [V, OCT, 'Upload-Offset: 7']],
    [400, [V, OCT, 'Upload-Offset: -7']],
    [415, [V, 'Content-Type: message/http', 'Upload-Offset: 0']],
    [412, [OCT, 'Upload-Offset: 0']],
  ]
  for (const [status, headers] of rows) {
    const texts = [
      request(`PATCH ${upload}`, [...headers, `Content-Length: ${body.length}`], body),
      request(`PATCH ${upload}`, [...headers, 'Transfer-Encoding: chunked'], chunked(body, 7).toString()),
    ]
    for (const text of texts) {
      const answers = await statuses(site, text)
      assert.ok(answers.join() === `${status},404` || answers.join() === `${status}`, answers.join())
    }
  }
  assert.deepEqual(snapshot(site.folder), before)
})

test('T51 · a request that hides in the body of an accepted PATCH is stored, not executed', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 1000)
  const body = hidden(upload)
  const patch = request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', `Content-Length: ${body.length}`], body)
  assert.deepEqual(await statuses(site, patch), [204, 404])
  assert.ok([...snapshot(site.folder).values()].includes(`${body.length} bytes: ${body}`))
})

test('what follows a body that is longer than declared is no part of it', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 100)
  const answers = await statuses(site, request(`PATCH ${upload}`, [V, OCT, 'Upload-Offset: 0', 'Content-Length: 5'], 'helloworld'))
  assert.deepEqual(answers.at(-1), 400)
  await site.settled()
  assert.ok([...snapshot(site.folder).values()].includes('5 bytes: hello'))
})

test('a request line with a NUL is 400 and changes nothing', async (t) => {
  const site = await serve(t)
  const upload = await make(site, 10)
  const before = snapshot(site.folder)
  assert.deepEqual(await statuses(site, request(`DELETE ${upload}\0`, [V])), [400])
  assert.deepEqual(snapshot(site.folder), before)
})
