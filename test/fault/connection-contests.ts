// SPDX-License-Identifier: MIT

/** Uploads that come into being, change hands, and are removed while somebody is at work on them. @module */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { spoil } from './attack.ts'
import { chunked, tus, type ConnectionAttack, type Leave } from './connection-attack.ts'
import { metadataOf } from './connection-uploads.ts'
import { contentOf } from './content.ts'
import { PATH } from './ledger.ts'

const LEAVES: readonly Leave[] = ['FIN', 'RST']
const MAX_BYTES = 400_000

/** Creates an upload with its first bytes: all of them, some, of another checksum, silent in the middle, of a length that is not known. */
export async function creation(attack: ConnectionAttack): Promise<void> {
  const { random, scene: { uploads } } = attack
  const fate = random.pick(['whole', 'left', 'left', 'silent', 'mismatch', 'left unverified'] as const)
  const key = uploads.newKey()
  const length = random.integer(1, random.pick([1000, MAX_BYTES]))
  const end = random.chance(0.5) ? length : random.integer(1, length)
  const cut = random.integer(0, end - 1)
  const deferred = random.chance(0.3)
  const verified = fate === 'mismatch' || fate === 'left unverified'
  const right = contentOf(key, 0, end)
  const inChunks = random.chance(0.3)
  const frame = (bytes: Buffer): Buffer => (inChunks ? chunked(bytes, random) : bytes)
  const body = verified ? spoil(right) : right
  const head = tus(`POST ${PATH}`, [
    'Content-Type: application/offset+octet-stream', `Upload-Metadata: ${metadataOf(key)}`,
    deferred ? 'Upload-Defer-Length: 1' : `Upload-Length: ${length}`,
    inChunks ? 'Transfer-Encoding: chunked' : `Content-Length: ${end}`,
    ...(verified ? [`Upload-Checksum: sha256 ${createHash('sha256').update(right).digest('base64')}`] : []),
  ])
  const client = await attack.open()
  if (fate === 'left' || fate === 'left unverified') {
    const bytes = Buffer.concat([Buffer.from(head), frame(body.subarray(0, cut))])
    await attack.send(client, bytes.subarray(0, random.chance(0.3) ? random.integer(0, head.length) : bytes.length))
    return attack.leave(client, random.pick(LEAVES)) // nobody was told its address
  }
  if (fate === 'mismatch') uploads.refusedKeys.add(key)
  if (fate === 'silent') await attack.send(client, head, frame(body.subarray(0, cut)))
  else await attack.send(client, head, frame(body), inChunks ? '0\r\n\r\n' : '')
  const answer = await attack.answer(client)
  assert.equal(answer.status, fate === 'mismatch' ? 460 : 201, answer.body)
  if (fate === 'mismatch') return attack.goOn(client, answer)
  const entry = uploads.ledger.created(answer.headers.get('location')!, length, key)
  if (deferred) uploads.deferred.add(entry)
  entry.sent = fate === 'silent' ? cut : end
  entry.acknowledge(Number(answer.headers.get('upload-offset')))
  assert.equal(entry.acknowledged, entry.sent)
  if (fate === 'whole') await attack.goOn(client, answer)
}

/** Says the length of an upload late, and then another one. */
export async function deferredLength(attack: ConnectionAttack): Promise<void> {
  const { random, scene: { uploads } } = attack
  const entry = await uploads.makeDeferred(random.integer(10, MAX_BYTES))
  const { end, cut } = attack.stretch(entry)
  const first = await attack.open()
  const silentOfLength = random.chance(0.5)
  const head = tus(`PATCH ${entry.path}`, [
    'Content-Type: application/offset+octet-stream',
    'Upload-Offset: 0',
    'Transfer-Encoding: chunked',
    ...(silentOfLength ? [] : [`Upload-Length: ${entry.length}`]),
  ])
  await attack.send(first, head, chunked(entry.take(0, cut), random))
  await attack.leave(first, 'FIN')
  await attack.holds(entry, cut)

  const second = await attack.open()
  await attack.send(second, attack.patchHead(entry, cut, `Content-Length: ${end - cut}`), entry.take(cut, end))
  const answer = await attack.answer(second)
  attack.judge({ entry, alone: true }, answer, cut, end, 204)
  await attack.goOn(second, answer)

  const third = await attack.open()
  await attack.send(
    third,
    tus(`PATCH ${entry.path}`, [
      'Content-Type: application/offset+octet-stream',
      `Upload-Offset: ${end}`,
      `Upload-Length: ${entry.length + 1}`,
      'Content-Length: 0',
    ]),
  )
  const refusal = await attack.answer(third)
  assert.equal(refusal.status, 400)
  await attack.goOn(third, refusal)
}

/** Asks where an upload is while its body comes: the other is told to let go, and what it sent is there. */
export async function takeOver(attack: ConnectionAttack): Promise<void> {
  const target = await attack.target()
  const { entry } = target
  const { start, end, cut } = attack.stretch(entry)
  const holder = await attack.open()
  await attack.send(holder, attack.patchHead(entry, start, `Content-Length: ${end - start}`), entry.take(start, cut))
  const offset = await attack.inspect(target)
  if (offset === undefined) return
  const taker = await attack.open()
  const rest = attack.random.integer(offset, entry.length)
  await attack.send(taker, attack.patchHead(entry, offset, `Content-Length: ${rest - offset}`), entry.take(offset, rest))
  const answer = await attack.answer(taker)
  // The other's request may have been on its way to the lock when it was asked who holds it.
  attack.judge(answer.status === 409 ? { entry, alone: false } : target, answer, offset, rest, 204)
  const first = await attack.answerOrCut(holder)
  if (first) attack.judge({ entry, alone: false }, first, start, end, start === end ? 204 : 409)
  await attack.inspect(target)
}

/** Removes an upload while its body comes. */
export async function removal(attack: ConnectionAttack): Promise<void> {
  const target = await attack.target()
  const { entry } = target
  const { uploads } = attack.scene
  const { start, end, cut } = attack.stretch(entry)
  const holder = await attack.open()
  await attack.send(holder, attack.patchHead(entry, start, `Content-Length: ${end - start}`), entry.take(start, cut))
  const remover = await attack.open()
  entry.terminated = true
  await attack.send(remover, tus(`DELETE ${entry.path}`))
  if (attack.random.chance(0.3)) return attack.leave(remover, attack.random.pick(LEAVES)) // it may be removed, or not
  const answer = await attack.answer(remover)
  if (target.alone) assert.equal(answer.status, 204)
  else assert.ok([204, 404, 423].includes(answer.status), `DELETE ${entry.path}: ${answer.status}`)
  if (answer.status === 204) uploads.removed.add(entry)
  await attack.goOn(remover, answer)
  const last = await attack.answerOrCut(holder)
  if (last) attack.judge({ entry, alone: false }, last, start, end, start === end ? 204 : 409)
  if (answer.status === 423) return
  const witness = await attack.open()
  await attack.send(witness, tus(`HEAD ${entry.path}`))
  assert.equal((await attack.answer(witness, { toHead: true })).status, 404)
}
