// SPDX-License-Identifier: MIT

/**
 * Floods over HTTP/2: streams that are not read, frames of one byte, and frames that are nonsense.
 *
 * The last are for Node 24 and later. On 20 and 22 they abort any server of `node:http2`.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { campaign, type Campaign } from './campaign.ts'
import { forAll, judge, makeUpload, measure, MIB, slowDown, startFlooded } from './flood.ts'
import { openSession } from './http2-client.ts'
import { END_STREAM, frame, headers, RawSession, TYPE } from './http2-frames.ts'
import { NONSENSE } from './http2-nonsense.ts'
import { forEachOf } from './process-client.ts'

const NODE = Number(process.versions.node.split('.')[0])
const LARGE_BYTES = 20 * MIB
const PATIENCE = { short: 5000, long: 60_000 }
const SESSIONS = 10
const SLOW_CALL_MS = 2000
const CONCURRENCY = 24
/** How long somebody who sends nonsense stays, if it is not shown the door. */
const STAY_MS = 200

/** As in `support/listen.ts`: a process of Node 20 that had sessions may spin at its end. */
process.once('beforeExit', () => process.on('exit', (code) => process.exit(code)))

campaign('streams of HTTP/2 whose answers nobody reads cost little more than one', { short: 600, long: 3000 }, async (campaign) => {
  const { t, rounds, long } = campaign
  const flooded = await startFlooded(t, { version: 2 })
  const path = await makeUpload(flooded, LARGE_BYTES)
  const outcome = await measure(flooded, async (others) => {
    const { session, socket } = await openSession(flooded.port, { initialWindowSize: 0 })
    for (let asked = 0; asked < rounds && !session.destroyed; asked++) session.request({ ':method': 'GET', ':path': path }).on('error', () => {})
    await others.quiet(long ? PATIENCE.long : PATIENCE.short)
    await others.visits(5)
    session.destroy()
    socket.destroy()
  })
  await judge(campaign, flooded, { name: 'GETs over HTTP/2, window 0', rounds, outcome, limits: { memoryMiB: 120, descriptors: 128 } })
})

type Trouble = 'none' | 'checksum' | 'slow disk'
const TROUBLES: readonly Trouble[] = ['none', 'checksum', 'slow disk']

campaign('bodies in frames of one byte take little more memory than their bytes', { short: 80_000, long: 1_000_000 }, async (campaign) => {
  await forAll(campaign.long ? TROUBLES : [campaign.random.pick(TROUBLES)], (trouble) => floodWithFrames(campaign, trouble))
})

async function floodWithFrames(campaign: Campaign, trouble: Trouble): Promise<void> {
  const { t, rounds, long } = campaign
  const flooded = await startFlooded(t, { version: 2, slowDisk: trouble === 'slow disk' })
  const checksum = trouble === 'checksum' ? { 'upload-checksum': `sha1 ${createHash('sha1').update('x'.repeat(rounds)).digest('base64')}` } : {}
  const paths = await Promise.all(Array.from({ length: SESSIONS }, () => makeUpload(flooded, rounds, { stored: 0 })))
  const outcome = await measure(flooded, async (others) => {
    if (trouble === 'slow disk') await slowDown(flooded, SLOW_CALL_MS)
    const sessions = await Promise.all(paths.map(async (path) => {
      const session = await RawSession.connect(flooded.port)
      session.socket.write(headers(1, 'PATCH', path, { 'content-type': 'application/offset+octet-stream', 'upload-offset': 0, ...checksum }))
      void session.sendSingly(1, rounds).then(() => session.socket.writable && session.socket.write(frame(TYPE.DATA, END_STREAM, 1)))
      return session
    }))
    await others.quiet(long ? PATIENCE.long : PATIENCE.short)
    await others.visits(trouble === 'slow disk' ? 1 : 5)
    for (const { socket } of sessions) socket.destroy()
    if (trouble === 'slow disk') await slowDown(flooded, 0)
  })
  const name = `ten bodies in DATA of one byte${trouble === 'none' ? '' : trouble === 'checksum' ? ', with a checksum' : ', slow disk'}`
  await judge(campaign, flooded, { name, rounds: SESSIONS * rounds, outcome, limits: { memoryMiB: 200, descriptors: 128, extraAnswerMs: 4 * SLOW_CALL_MS } })
}

if (NODE >= 24) {
  campaign('frames of HTTP/2 that make no sense end their session and nothing else', { short: 20 * NONSENSE.length, long: 1000 * NONSENSE.length }, async (campaign) => {
    const { t, random, rounds } = campaign
    const flooded = await startFlooded(t, { version: 2 })
    const finished = await makeUpload(flooded, LARGE_BYTES)
    const uploads = await Promise.all(Array.from({ length: CONCURRENCY }, () => makeUpload(flooded, LARGE_BYTES, { stored: 0 })))
    const outcome = await measure(flooded, async (others) => {
      await forEachOf(Array.from({ length: rounds }), CONCURRENCY, async (_, round) => {
        const chance = random.fork(round)
        const [, make] = NONSENSE[round % NONSENSE.length]!
        const { socket } = await RawSession.connect(flooded.port)
        socket.write(make(chance.pick([finished, uploads[round % CONCURRENCY]!]), chance))
        await leaves(socket, STAY_MS)
        assert.equal(flooded.server.process.exitCode, null)
      })
      await others.visits(5)
    })
    await judge(campaign, flooded, { name: 'frames of HTTP/2 that make no sense', rounds, outcome, limits: { memoryMiB: 200, descriptors: 8 * CONCURRENCY + 64 } })
  })
}

/** Leaves when the server has closed the connection, or after a while. */
async function leaves(socket: Socket, stayMs: number): Promise<void> {
  await Promise.race([socket.destroyed ? undefined : once(socket, 'close'), delay(stayMs)])
  socket.destroy()
}
