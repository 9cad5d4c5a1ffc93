// SPDX-License-Identifier: MIT

/** Bodies in chunks, with checksums, and bodies that are held back until the server asks for them. @module */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { spoil } from './attack.ts'
import { chunked, type ConnectionAttack, type Leave } from './connection-attack.ts'

const ALGORITHMS = ['sha1', 'sha256', 'sha512', 'md5'] as const
const LEAVES: readonly Leave[] = ['FIN', 'RST']

/** What is no chunk; `HIDDEN` stands for a request, `BYTES` for the next five of the upload, so that only the framing is wrong. */
const GARBAGE: readonly string[] = [
  'zz\r\n', '\r\nHIDDEN', '-5\r\nHIDDEN', '0x5\r\nBYTES\r\n', 'fffffffffffffffff\r\n', '5\r\nBYTESHIDDEN', '5\r\nBYTES!\r\n',
  ' \r\nHIDDEN', '5 5\r\nBYTES\r\n', '\0\0\0', '5\rX', '5;\x7f\x01\r\nBYTES\r\n', 'HIDDEN', '5,5\r\nBYTES\r\n',
  '0\r\nHIDDEN\r\nno field\r\n\r\n',
]

/** A body in chunks that is whole, or cut at any point, in a chunk's size as well. */
export async function chunks(attack: ConnectionAttack): Promise<void> {
  const target = await attack.target()
  const { start, end } = attack.stretch(target.entry)
  const body = Buffer.concat([chunked(target.entry.take(start, end), attack.random), Buffer.from('0\r\n\r\n')])
  const client = await attack.open()
  const cut = attack.random.chance(0.5) ? attack.random.integer(0, body.length - 1) : body.length
  await attack.send(client, attack.patchHead(target.entry, start, 'Transfer-Encoding: chunked'), body.subarray(0, cut))
  if (cut < body.length) {
    await attack.leave(client, attack.random.pick(LEAVES))
    await attack.inspect(target)
  } else {
    const answer = await attack.answer(client)
    attack.judge(target, answer, start, end, 204)
    await attack.goOn(client, answer)
  }
}

/** Chunks, and then something that is none, with a request hidden in it. What came before it counts; the rest is nothing. */
export async function garbageChunks(attack: ConnectionAttack): Promise<void> {
  const target = await attack.target()
  const { entry, alone } = target
  const start = entry.acknowledged
  const cut = Math.max(start, entry.length - attack.random.integer(5, 100_000))
  if (entry.length - cut < 5) return checksum(attack)
  const [ahead = '', behind] = attack.random.pick(GARBAGE).replace('HIDDEN', attack.hiddenRequest).split('BYTES')
  const garbage = [ahead, ...(behind === undefined ? [] : [entry.take(cut, cut + 5), behind])]
  const client = await attack.open()
  await attack.send(
    client,
    attack.patchHead(entry, start, 'Transfer-Encoding: chunked'),
    chunked(entry.take(start, cut), attack.random),
    ...garbage,
  )
  const answer = await attack.answerOrCut(client)
  if (alone || answer) attack.judge(target, answer!, start, entry.length, 400)
  assert.equal(answer ? await client.closed() : '', '')
  const offset = await attack.inspect(target)
  if (alone) assert.ok(offset === cut || offset === cut + 5, `${offset} instead of ${cut}`)
}

/** A checksum ahead of the body: right, wrong, or with a body that is cut. */
export async function checksum(attack: ConnectionAttack): Promise<void> {
  const target = await attack.target()
  const { entry, alone } = target
  const { start, end, cut } = attack.stretch(entry)
  const fate = attack.random.pick(['right', 'wrong', 'cut'] as const)
  const right = entry.take(start, end)
  const body = fate === 'right' ? right : spoil(right)
  const header = `Upload-Checksum: ${digest(attack, fate === 'wrong' ? right : body)}`
  const client = await attack.open()
  if (fate === 'cut' && start < end) {
    await attack.send(client, attack.patchHead(entry, start, `Content-Length: ${end - start}`, [header]), body.subarray(0, cut - start))
    await attack.leave(client, attack.random.pick(LEAVES))
  } else {
    await attack.send(client, attack.patchHead(entry, start, `Content-Length: ${end - start}`, [header]), body)
    const answer = await attack.answer(client)
    attack.judge(target, answer, start, end, fate === 'wrong' && start < end ? 460 : 204)
    await attack.goOn(client, answer)
  }
  const offset = await attack.inspect(target)
  if (alone) assert.equal(offset, fate === 'right' ? end : start)
}

/** A checksum behind the body: right, wrong, missing, malformed, or cut. */
export async function trailer(attack: ConnectionAttack): Promise<void> {
  const target = await attack.target()
  const { entry, alone } = target
  const { start, end } = attack.stretch(entry)
  if (start === end) return
  const fate = attack.random.pick(['right', 'wrong', 'missing', 'malformed', 'cut', 'cut'] as const)
  const right = entry.take(start, end)
  const body = chunked(fate === 'right' ? right : spoil(right), attack.random)
  const field = `Upload-Checksum: ${digest(attack, right)}\r\n`
  const fields = {
    right: field,
    wrong: field,
    missing: '',
    malformed: `${field.slice(0, attack.random.integer(20, field.length - 4))}\r\n`,
    cut: field,
  }[fate]
  const end0 = `0\r\n${fields}\r\n`
  const client = await attack.open()
  const head = attack.patchHead(entry, start, 'Transfer-Encoding: chunked', ['Trailer: Upload-Checksum'])
  if (fate === 'cut') {
    await attack.send(client, head, body, end0.slice(0, attack.random.integer(0, end0.length - 2)))
    await attack.leave(client, attack.random.pick(LEAVES))
  } else {
    await attack.send(client, head, body, end0)
    const answer = await attack.answer(client)
    attack.judge(target, answer, start, end, { right: 204, wrong: 460, missing: 400, malformed: 400 }[fate])
    await attack.goOn(client, answer)
  }
  const offset = await attack.inspect(target)
  if (alone) assert.equal(offset, fate === 'right' ? end : start)
}

/** `Expect: 100-continue`, obeyed, not waited for, given up on, and refused. */
export async function expectation(attack: ConnectionAttack): Promise<void> {
  const target = await attack.target()
  const { entry, alone } = target
  const { start, end, cut } = attack.stretch(entry)
  const fate = attack.random.pick(['obeyed', 'ignored', 'abandoned', 'silent', 'refused', 'refused and sent'] as const)
  const refused = fate.startsWith('refused')
  const client = await attack.open()
  const head = attack.patchHead(entry, refused ? entry.length + 1 : start, `Content-Length: ${end - start}`, ['Expect: 100-continue'])
  if (refused) {
    await attack.send(client, head)
    const body = Buffer.from(attack.hiddenRequest.repeat(Math.ceil((end - start) / attack.hiddenRequest.length))).subarray(0, end - start)
    if (fate === 'refused and sent') await attack.send(client, body)
    const answer = await attack.answer(client)
    attack.judge(target, answer, start, end, 409)
    return attack.goOn(client, answer)
  }
  await attack.send(client, head, fate === 'ignored' ? entry.take(start, end) : '')
  const first = await attack.answer(client)
  if (first.status !== 100) {
    attack.judge(target, first, start, end, start === end ? 204 : 100) // another was faster
    return attack.goOn(client, first)
  }
  if (fate === 'abandoned') {
    await attack.send(client, entry.take(start, cut))
    const how = attack.random.pick(LEAVES)
    await attack.leave(client, how)
    if (alone && how === 'FIN' && start < end) await attack.holds(entry, cut)
    else await attack.inspect(target)
    return
  }
  if (fate === 'obeyed') await attack.send(client, entry.take(start, end))
  const answer = await attack.answer(client)
  attack.judge(target, answer, start, end, fate === 'silent' && start < end ? 423 : 204)
  if (fate !== 'silent') await attack.goOn(client, answer)
}

function digest(attack: ConnectionAttack, bytes: Buffer): string {
  const algorithm = attack.random.pick(ALGORITHMS)
  return `${algorithm} ${createHash(algorithm).update(bytes).digest('base64')}`
}
