// SPDX-License-Identifier: MIT

/** All attacks on sessions and streams of HTTP/2, by name. @module */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { spoil } from './attack.ts'
import type { Fault } from './connection-siege.ts'
import { metadataOf, type Target } from './connection-uploads.ts'
import { contentOf } from './content.ts'
import type { Http2Attack } from './http2-attack.ts'
import { begin, type Exchange, type Session } from './http2-client.ts'
import { PATH } from './ledger.ts'

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
const UNKNOWN = `${PATH}00000000000000000000000000000000`
const APPEND = { 'content-type': 'application/offset+octet-stream' }
/** A session that fails because of a frame that is none stays open on Node 20 when the client has gone, whatever the server. */
const KEEPS_FAILED_SESSIONS = process.version.startsWith('v20.')
/**
 * What a refused stream sends at most. A client on Node 20 corrupts its memory if it leaves while more waits than the window of the session
 * lets through.
 */
const MAX_UNWANTED_BYTES = process.version.startsWith('v20.') ? 5000 : 300_000
const MAX_STREAMS = 12
const MAX_HASTE = 40

export const HTTP2_ATTACKS: readonly Fault<Http2Attack>[] = [
  ['a stream that is reset', resetInBody],
  ['a stream that is reset', resetInBody],
  ['a stream that is reset', resetInBody],
  ['a session that is cut', cutInBody],
  ['a session that is cut', cutInBody],
  ['GOAWAY of a client', goAway],
  ['silence in a stream', silence],
  ['a body without an end', noEnd],
  ['a length that is a lie', wrongLength],
  ['many streams in a session', manyStreams],
  ['a download that is not read', readNothing],
  ['a checksum of a stream', checksum],
  ['a trailer of a stream', trailer],
  ['a trailer of a stream', trailer],
  ['refusals in a session', refusals],
  ['streams that are reset at once', haste],
  ['a take-over between streams', takeOver],
  ['a removal between streams', removal],
  ['a creation in a stream', creation],
  ['a creation in a stream', creation],
  ['100-continue in a stream', expectation],
  ['frames that are none', garbage],
]

async function resetInBody(attack: Http2Attack): Promise<void> {
  const { target, start, end, cut, exchange, session } = await beginInBody(attack)
  if (attack.random.chance(0.3)) await delay(attack.random.integer(0, 20))
  exchange.stream.close(attack.anyCode())
  await exchange.answer
  const offset = await attack.inspect(target, attack.random.chance(0.5) ? session : undefined)
  if (target.alone) assert.ok(offset! >= start && offset! <= (start === end ? end : cut))
}

async function cutInBody(attack: Http2Attack): Promise<void> {
  const { target, start, end, cut, session } = await beginInBody(attack)
  if (attack.random.chance(0.3)) await delay(attack.random.integer(0, 20))
  await attack.cut(session)
  const offset = await attack.inspect(target)
  if (target.alone) assert.ok(offset! >= start && offset! <= (start === end ? end : cut))
}

/** Says that it is about to go, and finishes what it has begun, or says that something is wrong, which ends it all. */
async function goAway(attack: Http2Attack): Promise<void> {
  const { target, start, end, cut, session, exchange } = await beginInBody(attack)
  const code = attack.random.pick([0, attack.anyCode()])
  await arrived(session) // one packet with an error in GOAWAY, and a request and its body behind it, aborts any server on Node 22
  session.session.goaway(code)
  await attack.send(exchange, target.entry.take(cut, end))
  exchange.stream.end()
  const heard = await attack.answer(exchange)
  if (heard) attack.judge(target, heard, start, end, 204)
  await attack.inspect(target)
}

async function silence(attack: Http2Attack): Promise<void> {
  const { target, start, end, cut, exchange, session } = await beginInBody(attack)
  const heard = await attack.answer(exchange)
  assert.ok(heard)
  attack.judge(target, heard, start, end, start < end ? 423 : 204)
  if (target.alone && start < end) await attack.holds(target.entry, cut)
  await attack.inspect(target, session) // the session is none the worse for it
}

/** All bytes are there, and no word that they are all. */
async function noEnd(attack: Http2Attack): Promise<void> {
  const target = await attack.target()
  const { start, end } = attack.stretch(target.entry)
  const session = await attack.open()
  const exchange = attack.append(session, target.entry, start, end)
  await attack.send(exchange, target.entry.take(start, end))
  if (target.alone) await attack.holds(target.entry, end)
  if (attack.random.chance(0.5)) return attack.cut(session)
  const heard = await attack.answer(exchange)
  assert.ok(heard)
  attack.judge({ ...target, alone: false }, heard, start, end, 423)
}

/** Sends more or less than it has announced. */
async function wrongLength(attack: Http2Attack): Promise<void> {
  const target = await attack.target()
  const { start, end, cut } = attack.stretch(target.entry)
  if (cut === end) return resetInBody(attack)
  const announced = attack.random.pick([cut, target.entry.length + 1, end]) - start
  const sent = announced === end - start ? cut : end
  const session = await attack.open()
  const exchange = attack.append(session, target.entry, start, end, { 'content-length': announced })
  await attack.send(exchange, target.entry.take(start, sent))
  exchange.stream.end()
  const heard = await attack.answer(exchange)
  assert.ok(heard?.status !== 204, 'a body was taken that was not what was announced')
  const offset = await attack.inspect(target)
  if (target.alone) assert.ok(offset! >= start && offset! <= sent)
}

/** Uploads side by side in one session, each with a fate of its own: one's end must not be another's. */
async function manyStreams(attack: Http2Attack): Promise<void> {
  const { random, scene: { uploads } } = attack
  const session = await attack.open()
  const streams = Array.from({ length: random.integer(2, MAX_STREAMS) }, async (_, index) => {
    const chance = random.fork(index)
    const entry = await uploads.make(chance.integer(1, 200_000))
    const cut = chance.integer(0, entry.length - 1)
    const fate = chance.pick(['whole', 'whole', 'reset', 'silent'] as const)
    const exchange = attack.append(session, entry, 0, entry.length)
    await attack.send(exchange, entry.take(0, fate === 'whole' ? entry.length : cut))
    if (fate === 'whole') exchange.stream.end()
    if (fate === 'reset') exchange.stream.close(attack.anyCode())
    const heard = await attack.answer(exchange)
    if (fate !== 'reset') attack.judge({ entry, alone: true }, heard!, 0, entry.length, fate === 'whole' ? 204 : 423)
    if (fate === 'silent') await attack.holds(entry, cut)
  })
  await Promise.all(streams)
}

/** Gives the server no room to send, and reads nothing. */
async function readNothing(attack: Http2Attack): Promise<void> {
  const session = await attack.open(attack.random.chance(0.5) ? { initialWindowSize: 0 } : {})
  const stream = session.session.request({ ':method': 'GET', ':path': attack.scene.large })
  stream.on('error', () => {})
  if (attack.random.chance(0.5)) await once(stream, 'close') // the server gives up
  else await delay(attack.random.integer(0, attack.scene.idleTimeoutMs))
  await attack.cut(session)
}

async function checksum(attack: Http2Attack): Promise<void> {
  const target = await attack.target()
  const { entry, alone } = target
  const { start, end, cut } = attack.stretch(entry)
  if (start === end) return
  const fate = attack.random.pick(['right', 'wrong', 'reset', 'cut'] as const)
  const right = entry.take(start, end)
  const body = fate === 'right' ? right : spoil(right)
  const session = await attack.open()
  const exchange = attack.append(session, entry, start, end, { 'upload-checksum': sha256(right) })
  if (fate === 'reset' || fate === 'cut') {
    await attack.send(exchange, body.subarray(0, cut - start))
    if (fate === 'cut') await attack.cut(session)
    else exchange.stream.close(attack.anyCode())
  } else {
    await attack.send(exchange, body)
    exchange.stream.end()
    attack.judge(target, (await attack.answer(exchange))!, start, end, fate === 'right' ? 204 : 460)
  }
  const offset = await attack.inspect(target)
  if (alone) assert.equal(offset, fate === 'right' ? end : start)
}

async function trailer(attack: Http2Attack): Promise<void> {
  const target = await attack.target()
  const { entry, alone } = target
  const { start, end } = attack.stretch(entry)
  if (start === end) return
  const fate = attack.random.pick(['right', 'wrong', 'missing', 'malformed', 'reset', 'cut'] as const)
  const right = entry.take(start, end)
  const session = await attack.open()
  const exchange = attack.append(session, entry, start, end, { trailer: 'Upload-Checksum' }, { waitForTrailers: true })
  const { stream } = exchange
  const asked = Promise.race([once(stream, 'wantTrailers').then(() => true), exchange.answer.then(() => false)])
  await attack.send(exchange, fate === 'right' ? right : spoil(right))
  stream.end()
  const wanted = await asked
  if (fate === 'reset') stream.close(attack.anyCode())
  else if (fate === 'cut') await attack.cut(session)
  else {
    const digest = sha256(right)
    if (wanted) stream.sendTrailers(fate === 'missing' ? {} : { 'upload-checksum': fate === 'malformed' ? digest.slice(0, -4) : digest })
    attack.judge(target, (await attack.answer(exchange))!, start, end, { right: 204, wrong: 460, missing: 400, malformed: 400 }[fate])
  }
  const offset = await attack.inspect(target)
  if (alone) assert.equal(offset, fate === 'right' ? end : start)
}

/** Is refused again and again while it sends, and then asks for something that is right. */
async function refusals(attack: Http2Attack): Promise<void> {
  const { random, scene: { uploads, bait, concatenation, broken } } = attack
  const entry = await uploads.make(5)
  const session = await attack.open()
  const all: readonly (readonly [status: number, headers: Record<string, string | number>])[] = [
    [400, { ':method': 'PATCH', ':path': entry.path, ...APPEND, 'upload-offset': 'x' }],
    [400, { ':method': 'POST', ':path': PATH, ...APPEND }],
    [403, { ':method': 'PATCH', ':path': concatenation, ...APPEND, 'upload-offset': 0 }],
    [404, { ':method': 'PATCH', ':path': UNKNOWN, ...APPEND, 'upload-offset': 0 }],
    [404, { ':method': 'DELETE', ':path': UNKNOWN }],
    [405, { ':method': 'PUT', ':path': entry.path }],
    [409, { ':method': 'PATCH', ':path': entry.path, ...APPEND, 'upload-offset': 4 }],
    [410, { ':method': 'HEAD', ':path': broken }],
    [412, { ':method': 'PATCH', ':path': entry.path, ...APPEND, 'upload-offset': 0, 'tus-resumable': '0.1' }],
    [413, { ':method': 'PATCH', ':path': entry.path, ...APPEND, 'upload-offset': 0 }],
    [415, { ':method': 'PATCH', ':path': entry.path, 'content-type': 'text/plain', 'upload-offset': 0 }],
  ]
  const exchanges = Array.from({ length: random.integer(1, MAX_STREAMS) }, async () => {
    const [status, headers] = random.pick(all)
    const exchange = begin(session, headers)
    void attack.send(exchange, Buffer.alloc(random.pick([10, 1000, MAX_UNWANTED_BYTES])))
    const heard = await attack.answer(exchange)
    const expected = status === 413 && heard?.status === 409 ? 409 : status // another of the streams was too large for the same upload
    assert.equal(heard?.status, expected, `${headers[':method']} ${headers[':path']}: ${heard?.body}`)
  })
  await Promise.all(exchanges)
  await attack.inspect({ entry: bait, alone: true }, session)
  assert.equal(await attack.inspect({ entry, alone: true }, session), 0)
}

/** Asks and gives up, and asks again. */
async function haste(attack: Http2Attack): Promise<void> {
  const { random, scene: { large } } = attack
  const target = await attack.target()
  const { start, end, cut } = attack.stretch(target.entry)
  const session = await attack.open()
  for (let count = random.integer(1, MAX_HASTE); count > 0; count--) {
    const exchange = random.pick([
      () => begin(session, { ':method': 'HEAD', ':path': target.entry.path }, { endStream: true }),
      () => begin(session, { ':method': 'GET', ':path': large }, { endStream: true }),
      () => attack.append(session, target.entry, start, end),
    ])()
    if (random.chance(0.3)) exchange.stream.write(target.entry.take(start, cut), () => {})
    if (random.chance(0.3)) await new Promise(setImmediate)
    exchange.stream.close(attack.anyCode())
  }
  await attack.inspect(target)
}

async function takeOver(attack: Http2Attack): Promise<void> {
  const { target, start, end, exchange, session } = await beginInBody(attack)
  const offset = await attack.inspect(target, session)
  if (offset === undefined) return
  const first = await attack.answer(exchange)
  if (first) attack.judge({ ...target, alone: false }, first, start, end, start === end ? 204 : 409)
  const second = attack.append(session, target.entry, offset, target.entry.length)
  await attack.send(second, target.entry.take(offset, target.entry.length))
  second.stream.end()
  const heard = await attack.answer(second)
  assert.ok(heard)
  attack.judge({ ...target, alone: false }, heard, offset, target.entry.length, 204)
  await attack.inspect(target)
}

async function removal(attack: Http2Attack): Promise<void> {
  const { target, start, end, exchange, session } = await beginInBody(attack)
  const { entry } = target
  entry.terminated = true
  const remover = begin(session, { ':method': 'DELETE', ':path': entry.path }, { endStream: true })
  if (attack.random.chance(0.3)) return remover.stream.close(attack.anyCode())
  const heard = await attack.answer(remover)
  assert.ok(
    heard && (heard.status === 204 || (!target.alone && [404, 423].includes(heard.status))),
    `DELETE ${entry.path}: ${heard?.status}`,
  )
  if (heard.status === 204) attack.scene.uploads.removed.add(entry)
  const last = await attack.answer(exchange)
  if (last) attack.judge({ ...target, alone: false }, last, start, end, start === end ? 204 : 409)
  if (heard.status === 423) return
  assert.equal((await attack.answer(begin(session, { ':method': 'HEAD', ':path': entry.path }, { endStream: true })))?.status, 404)
}

async function creation(attack: Http2Attack): Promise<void> {
  const { random, scene: { uploads } } = attack
  const fate = random.pick(['whole', 'reset', 'cut', 'silent', 'mismatch'] as const)
  const key = uploads.newKey()
  const length = random.integer(1, 200_000)
  const cut = random.integer(0, length - 1)
  const deferred = random.chance(0.3)
  const right = contentOf(key, 0, length)
  const session = await attack.open()
  const exchange = begin(session, {
    ':method': 'POST', ':path': PATH, ...APPEND, 'upload-metadata': metadataOf(key),
    ...(deferred ? { 'upload-defer-length': 1 } : { 'upload-length': length }),
    ...(fate === 'mismatch' ? { 'upload-checksum': sha256(right) } : {}),
  })
  if (fate === 'mismatch') uploads.refusedKeys.add(key)
  await attack.send(exchange, fate === 'whole' ? right : fate === 'mismatch' ? spoil(right) : right.subarray(0, cut))
  if (fate === 'cut') return attack.cut(session)
  if (fate === 'reset') return exchange.stream.close(attack.anyCode())
  if (fate !== 'silent') exchange.stream.end()
  const heard = await attack.answer(exchange)
  assert.equal(heard?.status, fate === 'mismatch' ? 460 : 201)
  if (fate === 'mismatch') return
  const entry = uploads.ledger.created(heard!.headers.get('location')!, length, key)
  if (deferred) uploads.deferred.add(entry)
  entry.sent = fate === 'silent' ? cut : length
  entry.acknowledge(Number(heard!.headers.get('upload-offset')))
  assert.equal(entry.acknowledged, entry.sent)
}

async function expectation(attack: Http2Attack): Promise<void> {
  const target = await attack.target()
  const { entry } = target
  const { start, end, cut } = attack.stretch(entry)
  const fate = attack.random.pick(['obeyed', 'refused', 'reset', 'cut', 'silent'] as const)
  const session = await attack.open()
  const exchange = attack.append(session, entry, fate === 'refused' ? entry.length + 1 : start, end, { expect: '100-continue' })
  const asked = await Promise.race([once(exchange.stream, 'continue').then(() => true), exchange.answer.then(() => false)])
  assert.ok(!(asked && fate === 'refused'), 'a body was asked for that is refused')
  if (asked && fate !== 'silent') await attack.send(exchange, entry.take(start, fate === 'obeyed' ? end : cut))
  if (asked && fate === 'obeyed') exchange.stream.end()
  if (asked && fate === 'reset') exchange.stream.close(attack.anyCode())
  if (asked && fate === 'cut') await attack.cut(session)
  const heard = await attack.answer(exchange)
  if (heard && fate !== 'reset' && fate !== 'cut') {
    attack.judge(target, heard, start, end, { obeyed: 204, refused: 409, silent: start < end ? 423 : 204 }[fate])
  }
  await attack.inspect(target)
}

/** Speaks HTTP/2, and then nonsense, or is silent. */
async function garbage(attack: Http2Attack): Promise<void> {
  const { random } = attack
  const socket = connect(attack.port, '127.0.0.1').on('error', () => {}).resume()
  try {
    await once(socket, 'connect')
    const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])
    const noise = contentOf(`noise ${random.next()}`, 0, random.integer(0, 500))
    const frame = Buffer.from([0, 0, random.integer(0, 255), random.integer(0, 12), random.integer(0, 255), 0, 0, 0, random.integer(0, 3)])
    const words = random.pick([
      [PREFACE.slice(0, random.integer(0, PREFACE.length - 1))],
      [PREFACE, settings, settings.subarray(0, random.integer(0, 8))],
      [noise],
      ['GET / HTTP/1.1\r\nHost: test\r\n\r\n'],
      ...(KEEPS_FAILED_SESSIONS ? [] : [[PREFACE, settings, noise], [PREFACE, settings, frame, noise]]),
    ])
    socket.write(Buffer.concat(words.map((word) => Buffer.from(word as Buffer))))
    await delay(random.integer(0, 100)) // it says no more, unless the server has gone meanwhile
  } finally {
    socket.resetAndDestroy()
  }
  await attack.inspect({ entry: attack.scene.bait, alone: true })
}

/** Begins an upload and sends less than all of it. */
async function beginInBody(attack: Http2Attack) {
  const target: Target = await attack.target()
  const stretch = attack.stretch(target.entry)
  const session = await attack.open()
  const exchange: Exchange = attack.append(session, target.entry, stretch.start, stretch.end)
  await attack.send(exchange, target.entry.take(stretch.start, stretch.cut))
  return { target, session, exchange, ...stretch }
}

/** Waits until the server has read what was sent. */
async function arrived({ session }: Session): Promise<void> {
  if (session.destroyed) return
  await new Promise<unknown>((resolve) => session.ping(resolve))
}

function sha256(bytes: Buffer): string {
  return `sha256 ${createHash('sha256').update(bytes).digest('base64')}`
}
