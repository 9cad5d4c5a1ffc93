// SPDX-License-Identifier: MIT

/** Several requests on one connection: behind a refusal, and behind an upload in the same packet. @module */

import assert from 'node:assert/strict'
import { request, type WireClient, type WireResponse } from '../support/wire.ts'
import { chunked, tus, type ConnectionAttack } from './connection-attack.ts'
import { metadataOf } from './connection-uploads.ts'
import { PATH, type Entry } from './ledger.ts'

const UNKNOWN = `${PATH}00000000000000000000000000000000`
const APPEND = 'Content-Type: application/offset+octet-stream'
const CHECKSUM_OF_NOTHING = 'Upload-Checksum: md5 1B2M2Y8AsgTpgAmY7PhCfg=='
const MAX_HEADERS_BYTES = 16 * 1024

/** A request that is refused: status, start line, header lines but those about the body. */
type Refusal = readonly [status: number, startLine: string, headers: readonly string[]]

/** Every refusal that a request can bring about by itself, on an upload with five bytes left. */
function refusals({ scene: { bait, concatenation, broken } }: ConnectionAttack, entry: Entry): readonly Refusal[] {
  const version = 'Tus-Resumable: 1.0.0'
  const offset = `Upload-Offset: ${entry.acknowledged}`
  const path = `PATCH ${entry.path}`
  return [
    [400, path, [version, APPEND, 'Upload-Offset: x']],
    [400, path, [version, APPEND, offset, 'Upload-Length: 1000000']],
    [400, path, [version, APPEND, offset, 'Upload-Checksum: sha1 none']],
    [400, path, [version, APPEND, offset, 'X-HTTP-Method-Override: a, b']],
    [400, `POST ${PATH}`, [version, APPEND]],
    [403, `PATCH ${concatenation}`, [version, APPEND, 'Upload-Offset: 0']],
    [404, `PATCH ${UNKNOWN}`, [version, APPEND, 'Upload-Offset: 0']],
    [404, `DELETE ${UNKNOWN}`, [version]],
    [404, `HEAD ${UNKNOWN}`, [version]],
    [404, `GET ${bait.path}`, []],
    [404, 'POST /elsewhere/', [version, APPEND]],
    [404, `PATCH ${PATH}..%2f..`, [version, APPEND, 'Upload-Offset: 0']],
    [405, `PUT ${entry.path}`, [version, APPEND]],
    [405, `DELETE ${PATH}`, [version]],
    [409, path, [version, APPEND, `Upload-Offset: ${entry.length + 1}`]],
    [410, `HEAD ${broken}`, [version]],
    [412, path, [APPEND, offset]],
    [412, path, ['Tus-Resumable: 2.0.0', APPEND, offset]],
    [412, `DELETE ${entry.path}`, ['Tus-Resumable: 0.2.2']],
    [413, `POST ${PATH}`, [version, APPEND, 'Upload-Length: 99999999999999']],
    [413, `POST ${PATH}`, [version, APPEND, 'Upload-Length: 1']],
    [413, path, [version, APPEND, offset]],
    [415, path, [version, offset]],
    [415, `POST ${PATH}`, [version, 'Content-Type: text/plain', 'Upload-Length: 1000000']],
    [431, path, [version, APPEND, offset, `Upload-Metadata: ${'x'.repeat(MAX_HEADERS_BYTES)}`]],
    [460, `POST ${PATH}`, [version, APPEND, 'Upload-Length: 1000000', CHECKSUM_OF_NOTHING]],
  ]
}

/** What a refused body consists of, if it is not there to be parsed as a request. */
const FRAMINGS = ['none', 'whole', 'whole', 'later', 'chunked', 'chunked later', 'expected', 'part'] as const

/**
 * Is refused, and goes on with the same connection: what is asked next is answered, or the connection
 * closed. The refused body is full of requests, of which none must be heard.
 */
export async function refusal(attack: ConnectionAttack): Promise<void> {
  const entry = await attack.scene.uploads.make(attack.random.integer(0, 5))
  const [status, startLine, headers] = attack.random.pick(refusals(attack, entry))
  const toHead = startLine.startsWith('HEAD')
  const needsBody = status === 415 || status === 460 || (status === 413 && !headers.includes('Upload-Length: 99999999999999'))
  const framing = attack.random.pick(FRAMINGS.filter((framing) => !(framing === 'none' && needsBody)))
  const body = Buffer.from(attack.hiddenRequest.repeat(attack.random.pick([1, 2, 2000])))
  const inChunks = framing.startsWith('chunked')
  const framed = inChunks ? Buffer.concat([chunked(body, attack.random), Buffer.from('0\r\n\r\n')]) : body
  const lines = framing === 'none' ? ['Content-Length: 0'] : inChunks ? ['Transfer-Encoding: chunked'] : [`Content-Length: ${body.length}`]
  const head = request(startLine, [...headers, ...lines, ...(framing === 'expected' ? ['Expect: 100-continue'] : [])])
  const client = await attack.open()
  let answer: WireResponse
  if (framing === 'whole' || framing === 'chunked') {
    await attack.send(client, head, framed)
    answer = await attack.answer(client, { toHead })
  } else {
    const sent = framing === 'part' ? attack.random.integer(0, framed.length - 1) : 0
    await attack.send(client, head, framed.subarray(0, sent))
    // A body that is to match a checksum, or of no announced length, is judged when it is there.
    const early = !((status === 460 || (status === 413 && inChunks)) && framing !== 'none')
    if (early) {
      answer = await attack.answer(client, { toHead })
      if (framing === 'part' || (framing === 'expected' && attack.random.chance(0.5))) return assertEqualStatus(answer, status, startLine)
      if (framing !== 'none') await attack.send(client, framed)
    } else {
      if (framing === 'expected') assert.equal((await attack.answer(client)).status, 100)
      await attack.send(client, framed.subarray(sent))
      answer = await attack.answer(client, { toHead })
    }
  }
  assertEqualStatus(answer, status, startLine)
  await attack.goOn(client, answer)
  const left = await attack.inspect({ entry, alone: true })
  assert.equal(left, 0)
}

function assertEqualStatus({ status, body }: WireResponse, expected: number, startLine: string): void {
  assert.equal(status, expected, `${startLine}: ${body}`)
}

/** Sends an upload and what comes behind it in one packet; each request is answered in its turn. */
export async function pipeline(attack: ConnectionAttack): Promise<void> {
  const { uploads } = attack.scene
  const entry = await uploads.make(attack.random.integer(2, 100_000))
  const { end } = attack.stretch(entry)
  const inChunks = attack.random.chance(0.3)
  const body = inChunks ? Buffer.concat([chunked(entry.take(0, end), attack.random), Buffer.from('0\r\n\r\n')]) : entry.take(0, end)
  const packet: (string | Buffer)[] = [attack.patchHead(entry, 0, inChunks ? 'Transfer-Encoding: chunked' : `Content-Length: ${end}`), body]
  const judges: ((client: WireClient) => Promise<void>)[] = [
    async (client) => attack.judge({ entry, alone: true }, await attack.answer(client), 0, end, 204),
  ]
  let at = end
  for (let count = attack.random.integer(1, 5); count > 0; count--) {
    const next = await follower(attack, entry, at)
    packet.push(next.text)
    judges.push(next.judge)
    at = next.at
  }
  const client = await attack.open()
  await attack.send(client, ...packet)
  for (const judge of judges) await judge(client)
  await attack.inspect({ entry, alone: true }, client)
}

/** Something behind an upload, which is at `at` by then. */
async function follower(
  attack: ConnectionAttack,
  entry: Entry,
  at: number,
): Promise<{ readonly text: string | Buffer; readonly at: number; readonly judge: (client: WireClient) => Promise<void> }> {
  const { uploads, bait } = attack.scene
  const kind = attack.random.pick(['HEAD', 'OPTIONS', 'PATCH', 'DELETE', 'POST', 'unknown', 'other'] as const)
  const expecting = (status: number, toHead = false) => async (client: WireClient): Promise<void> => {
    const answer = await attack.answer(client, { toHead })
    assert.equal(answer.status, status, `${kind} behind an upload: ${answer.body}`)
    if (kind === 'other') assert.equal(answer.headers.get('upload-metadata'), metadataOf(bait.key))
  }
  if (kind === 'HEAD') {
    return { text: tus(`HEAD ${entry.path}`), at, judge: async (client) => {
      const offset = attack.hearHead({ entry, alone: true }, entry.acknowledged, await attack.answer(client, { toHead: true }))
      assert.ok(offset! >= at) // Node hands all of the packet over at once, so that a HEAD may tell of what comes behind it
    } }
  }
  if (kind === 'PATCH') {
    const end = attack.random.integer(at, entry.length)
    const text = Buffer.concat([Buffer.from(attack.patchHead(entry, at, `Content-Length: ${end - at}`)), entry.take(at, end)])
    return { text, at: end, judge: async (client) => attack.judge({ entry, alone: true }, await attack.answer(client), at, end, 204) }
  }
  if (kind === 'DELETE') {
    const other = await uploads.make(10)
    other.terminated = true
    const removed = async (client: WireClient): Promise<void> => {
      await expecting(204)(client)
      uploads.removed.add(other)
    }
    return { text: tus(`DELETE ${other.path}`), at, judge: removed }
  }
  if (kind === 'POST') {
    return {
      text: tus(`POST ${PATH}`, ['Upload-Length: 5', `Upload-Metadata: ${metadataOf(uploads.newKey())}`, 'Content-Length: 0']),
      at,
      judge: expecting(201),
    }
  }
  if (kind === 'OPTIONS') return { text: tus(`OPTIONS ${entry.path}`), at, judge: expecting(204) }
  if (kind === 'unknown') return { text: tus(`HEAD ${UNKNOWN}`), at, judge: expecting(404, true) }
  return { text: tus(`HEAD ${bait.path}`), at, judge: expecting(200, true) }
}

/** Sends a body whose last bytes are a request: a part of the body, and nothing else. */
export async function swallowed(attack: ConnectionAttack): Promise<void> {
  const entry = await attack.scene.uploads.make(attack.random.integer(1000, 100_000))
  const { cut } = attack.stretch(entry)
  const hidden = attack.hiddenRequest
  if (entry.length - cut < hidden.length) return pipeline(attack)
  const client = await attack.open()
  // The checksum of what the client meant to send keeps the rest out of the upload.
  await attack.send(
    client,
    attack.patchHead(entry, 0, `Content-Length: ${cut + hidden.length}`, [CHECKSUM_OF_NOTHING]),
    entry.take(0, cut),
    hidden,
  )
  const answer = await attack.answer(client)
  attack.judge({ entry, alone: true }, answer, 0, cut, 460)
  await attack.goOn(client, answer)
  assert.equal(await attack.inspect({ entry, alone: true }), 0)
}
