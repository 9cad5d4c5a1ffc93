// SPDX-License-Identifier: MIT

/**
 * Floods over HTTP/2: streams that are not read or reset at once, bodies in frames of one byte,
 * and malformed frames.
 *
 * The last are for Node 24 and later. On 20 and 22 they abort any server of `node:http2`.
 *
 * @module
 */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { campaign, type Campaign } from './campaign.ts'
import { judge, measure } from './flood-toll.ts'
import { forAll, makeUpload, MIB, slowDown, startFlooded } from './flood.ts'
import { openSession } from './http2-client.ts'
import { END_STREAM, frame, headers, RawSession, TYPE } from './http2-frames.ts'
import { NONSENSE, resetStreams } from './http2-nonsense.ts'
import { forEachOf } from './process-client.ts'

const NODE = Number(process.versions.node.split('.')[0])
const LARGE_BYTES = 20 * MIB
/** How long a flood is watched at most. */
const PATIENCE_MS = { short: 5000, long: 60_000 }

// As in `support/listen.ts`: a process of Node 20 that had sessions may spin at its end.
process.once('beforeExit', () => process.on('exit', (code) => process.exit(code)))

campaign('streams that nobody reads cost little', { short: 600, long: 3000 }, async (campaign) => {
  const { t, rounds, long } = campaign
  const flooded = await startFlooded(t, { version: 2 })
  const path = await makeUpload(flooded, LARGE_BYTES)
  const outcome = await measure(flooded, async (others) => {
    const { session, socket } = await openSession(flooded.port, { initialWindowSize: 0 })
    for (let asked = 0; asked < rounds && !session.destroyed; asked++) {
      session.request({ ':method': 'GET', ':path': path }).on('error', () => {})
    }
    await others.quiet(long ? PATIENCE_MS.long : PATIENCE_MS.short)
    await others.visits(5)
    session.destroy()
    socket.destroy()
  })
  await judge(campaign, flooded, {
    name: 'GETs over HTTP/2, window 0', rounds, outcome,
    limits: { memoryMiB: 120, descriptors: 128 },
  })
})

/** Above 1000, Node ends the session by itself, and Node 20 then keeps the socket, whoever serves it. */
const RESETS_PER_SESSION = 900

campaign('streams that are reset at once cost little', { short: 2, long: 24 }, async (campaign) => {
  const { t, random, rounds, long } = campaign
  const flooded = await startFlooded(t, { version: 2 })
  const path = await makeUpload(flooded, LARGE_BYTES)
  const outcome = await measure(flooded, async (others) => {
    const sessions = await Promise.all(Array.from({ length: rounds }, async (_, index) => {
      const session = await RawSession.connect(flooded.port)
      session.socket.write(resetStreams(path, random.fork(index), RESETS_PER_SESSION))
      return session
    }))
    await others.quiet(long ? PATIENCE_MS.long : PATIENCE_MS.short)
    await others.visits(5)
    for (const { socket } of sessions) socket.destroy()
  })
  await judge(campaign, flooded, {
    name: 'streams that are reset at once', rounds: rounds * RESETS_PER_SESSION, outcome,
    limits: { memoryMiB: 200, descriptors: 128 }, // most of it is Node's own objects for the streams
  })
})

const SESSIONS = 10
const SLOW_CALL_MS = 2000
/** What else makes a body expensive, and how the table calls it. */
const TROUBLES = ['', ', with a checksum', ', slow disk'] as const
type Trouble = (typeof TROUBLES)[number]

/** A round is a byte in each of the sessions. */
campaign('bodies in frames of one byte take little memory', { short: 80_000, long: 300_000 }, async (campaign) => {
  const picked = campaign.long ? TROUBLES : [campaign.random.pick(TROUBLES)]
  await forAll(picked, (trouble) => floodWithFrames(campaign, trouble))
})

async function floodWithFrames(campaign: Campaign, trouble: Trouble): Promise<void> {
  const { t, rounds: length, long } = campaign
  const isSlow = trouble === ', slow disk'
  const flooded = await startFlooded(t, { version: 2, slowDisk: isSlow })
  const digest = createHash('sha1').update('x'.repeat(length)).digest('base64')
  const append = {
    'content-type': 'application/offset+octet-stream', 'upload-offset': 0,
    ...(trouble === ', with a checksum' ? { 'upload-checksum': `sha1 ${digest}` } : {}),
  }
  const paths = await Promise.all(Array.from({ length: SESSIONS }, () => makeUpload(flooded, length, { stored: 0 })))
  const outcome = await measure(flooded, async (others) => {
    if (isSlow) await slowDown(flooded, SLOW_CALL_MS)
    const sessions = await Promise.all(paths.map(async (path) => {
      const session = await RawSession.connect(flooded.port)
      session.socket.write(headers(1, 'PATCH', path, append))
      void session.sendSingly(1, length).then(() => {
        if (session.socket.writable) session.socket.write(frame(TYPE.DATA, END_STREAM, 1))
      })
      return session
    }))
    await others.quiet(long ? PATIENCE_MS.long : PATIENCE_MS.short)
    await others.visits(isSlow ? 1 : 5)
    for (const { socket } of sessions) socket.destroy()
    if (isSlow) await slowDown(flooded, 0)
  })
  await judge(campaign, flooded, {
    name: `ten bodies in DATA of one byte${trouble}`, rounds: SESSIONS * length, outcome,
    limits: { memoryMiB: 200, descriptors: 128, extraAnswerMs: isSlow ? 4 * SLOW_CALL_MS : 0 },
  })
}

const CONCURRENCY = 24
/** How long a client stays that the server does not disconnect. */
const STAY_MS = 200
const ROUNDS = { short: 20 * NONSENSE.length, long: 1000 * NONSENSE.length }

if (NODE >= 24) {
  campaign('malformed frames end their own session and nothing else', ROUNDS, async (campaign) => {
    const { t, random, rounds } = campaign
    const flooded = await startFlooded(t, { version: 2 })
    const finished = await makeUpload(flooded, LARGE_BYTES)
    const unfinished = await makeUpload(flooded, LARGE_BYTES, { stored: 0 })
    const outcome = await measure(flooded, async (others) => {
      await forEachOf(Array.from({ length: rounds }), CONCURRENCY, async (_, round) => {
        const chance = random.fork(round)
        const [, make] = NONSENSE[round % NONSENSE.length]!
        const { socket } = await RawSession.connect(flooded.port)
        socket.write(make(chance.pick([finished, unfinished]), chance))
        await leave(socket)
      })
      await others.visits(5)
    })
    await judge(campaign, flooded, {
      name: 'malformed frames of HTTP/2', rounds, outcome,
      limits: { memoryMiB: 200, descriptors: 8 * CONCURRENCY + 64 },
    })
  })
}

/** Leaves when the server has closed the connection, or after a while. */
async function leave(socket: Socket): Promise<void> {
  if (!socket.destroyed) await Promise.race([once(socket, 'close'), delay(STAY_MS)])
  socket.destroy()
}
