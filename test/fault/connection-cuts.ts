// SPDX-License-Identifier: MIT

/** Clients that leave, fall silent, are slow, or do not listen. @module */

import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import type { WireClient } from '../support/wire.ts'
import { tus, type ConnectionAttack, type Leave } from './connection-attack.ts'

/** The longest silence of a client that goes on, in parts of what the server allows. */
const SHORT_SILENCE = 0.4
const MAX_SLOW_BYTES = 200
const MAX_UNREAD = 400

/** Leaves in the middle of a body. What a FIN follows has arrived; a reset destroys what is on its way. */
export async function leaveInBody(attack: ConnectionAttack, how: Leave): Promise<void> {
  const { target, start, end, cut } = await begin(attack)
  const client = await attack.open()
  await attack.send(client, attack.patchHead(target.entry, start, `Content-Length: ${end - start}`), target.entry.take(start, cut))
  if (how === 'RST' && attack.random.chance(0.3)) await delay(attack.random.integer(0, 30))
  await attack.leave(client, how)
  if (how === 'FIN' && target.alone && start < end) await attack.holds(target.entry, cut)
  else await attack.inspect(target)
}

/** Leaves in the middle of a head. */
export async function leaveInHead(attack: ConnectionAttack): Promise<void> {
  const { target, start, end } = await begin(attack)
  const head = attack.patchHead(target.entry, start, `Content-Length: ${end - start}`)
  const client = await attack.open()
  await attack.send(client, head.slice(0, attack.random.integer(0, head.length - 1)))
  if (attack.random.chance(0.5)) await delay(attack.random.integer(0, 300)) // it is there, and does nothing
  await attack.leave(client, attack.random.pick(['FIN', 'RST']))
  const offset = await attack.inspect(target)
  if (target.alone) assert.equal(offset, start)
}

/** Is silent in the middle of a body, and still there. */
export async function silence(attack: ConnectionAttack): Promise<void> {
  const { target, start, end, cut } = await begin(attack)
  const client = await attack.open()
  await attack.send(client, attack.patchHead(target.entry, start, `Content-Length: ${end - start}`), target.entry.take(start, cut))
  const answer = await attack.answer(client)
  attack.judge(target, answer, start, end, start < end ? 423 : 204)
  if (target.alone && start < end) await attack.holds(target.entry, cut)
  if (attack.random.chance(0.15)) await attack.goOn(client, answer)
}

/** Pauses in the middle of a body, for less than what counts as silence. */
export async function stall(attack: ConnectionAttack): Promise<void> {
  const { target, start, end, cut } = await begin(attack)
  const client = await attack.open()
  await attack.send(client, attack.patchHead(target.entry, start, `Content-Length: ${end - start}`), target.entry.take(start, cut))
  await delay(attack.random.integer(1, attack.scene.idleTimeoutMs * SHORT_SILENCE))
  await attack.send(client, target.entry.take(cut, end))
  await hearAll(attack, client, target, start, end)
}

/** Closes its side in the middle of a body, or behind a whole request, and goes on reading. */
export async function halfClose(attack: ConnectionAttack): Promise<void> {
  const { target, start, end, cut } = await begin(attack)
  const whole = attack.random.chance(0.3) || start === end
  const client = await attack.open()
  await attack.send(
    client,
    attack.patchHead(target.entry, start, `Content-Length: ${end - start}`),
    target.entry.take(start, whole ? end : cut),
  )
  client.socket.end()
  const answer = await attack.answerOrCut(client)
  // Node ends its side as well if nothing has been answered by then.
  if (answer || (target.alone && !whole)) attack.judge(target, answer!, start, end, whole ? 204 : 400)
  assert.equal(answer ? await client.closed() : '', '')
  if (target.alone) await attack.holds(target.entry, whole ? end : cut)
}

/** Sends a head and a body one byte at a time. */
export async function byteByByte(attack: ConnectionAttack): Promise<void> {
  const target = await attack.target()
  const start = target.entry.acknowledged
  const end = Math.min(target.entry.length, start + attack.random.integer(0, MAX_SLOW_BYTES))
  const client = await attack.open()
  for (const byte of attack.patchHead(target.entry, start, `Content-Length: ${end - start}`)) await client.send(byte)
  for (const byte of target.entry.take(start, end)) await client.send(Buffer.of(byte))
  await hearAll(attack, client, target, start, end)
}

/** Asks for more than the system's buffers hold, and reads none of it, or not for a while. */
export async function readNothing(attack: ConnectionAttack): Promise<void> {
  const client = await attack.open()
  client.socket.pause()
  await client.send(tus(`GET ${attack.scene.large}`))
  await delay(attack.random.integer(0, attack.scene.idleTimeoutMs * 2))
  await attack.leave(client, attack.random.pick(['FIN', 'RST']))
}

/** Asks again and again, and reads no answer. */
export async function readNoAnswers(attack: ConnectionAttack): Promise<void> {
  const client = await attack.open()
  client.socket.pause()
  const { bait, large } = attack.scene
  const requests = Array.from({ length: attack.random.integer(1, MAX_UNREAD) }, () =>
    attack.random.pick([`HEAD ${large}`, 'OPTIONS /files/', `HEAD ${bait.path}`]),
  )
  await attack.send(client, requests.map((line) => tus(line)).join(''))
  if (attack.random.chance(0.5)) await delay(attack.random.integer(0, 200))
  await attack.leave(client, attack.random.pick(['FIN', 'RST']))
}

/** Uploads, and leaves without having read the answer. */
export async function readNoReceipt(attack: ConnectionAttack): Promise<void> {
  const { target, start, end } = await begin(attack)
  const client = await attack.open()
  client.socket.pause()
  await attack.send(client, attack.patchHead(target.entry, start, `Content-Length: ${end - start}`), target.entry.take(start, end))
  if (target.alone) await attack.holds(target.entry, end)
  await attack.leave(client, attack.random.pick(['FIN', 'RST']))
  await attack.inspect(target)
}

/** Asks where an upload is, and leaves before it hears. */
export async function abandonedHead(attack: ConnectionAttack): Promise<void> {
  const { target, start, end, cut } = await begin(attack)
  const holder = attack.random.chance(0.5) ? await attack.open() : undefined
  if (holder) {
    await attack.send(holder, attack.patchHead(target.entry, start, `Content-Length: ${end - start}`), target.entry.take(start, cut))
  }
  const client = await attack.open()
  const head = tus(`HEAD ${target.entry.path}`)
  await client.send(head)
  if (attack.random.chance(0.5)) await new Promise(setImmediate)
  await attack.leave(client, attack.random.pick(['FIN', 'RST']))
  await attack.inspect(target)
}

async function begin(attack: ConnectionAttack) {
  const target = await attack.target()
  return { target, ...attack.stretch(target.entry) }
}

async function hearAll(
  attack: ConnectionAttack,
  client: WireClient,
  target: Awaited<ReturnType<ConnectionAttack['target']>>,
  start: number,
  end: number,
): Promise<void> {
  const answer = target.alone ? await attack.answer(client) : await attack.answerOrCut(client)
  if (!answer) return
  attack.judge(target, answer, start, end, 204)
  await attack.goOn(client, answer)
}
