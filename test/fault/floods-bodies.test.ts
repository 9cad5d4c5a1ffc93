// SPDX-License-Identifier: MIT

/**
 * Bodies that cost a server far more than their bytes, and more bodies than a slow disk can take.
 *
 * @module
 */

import { createHash } from 'node:crypto'
import { request } from '../support/wire.ts'
import { campaign, type Campaign } from './campaign.ts'
import { FloodClient } from './flood-client.ts'
import { judge, measure } from './flood-toll.ts'
import { forAll, makeUpload, MIB, slowDown, startFlooded } from './flood.ts'
import { forEachOf } from './process-client.ts'

const APPEND = ['Tus-Resumable: 1.0.0', 'Content-Type: application/offset+octet-stream']
/** A chunk costs a server an object for its one byte. */
const CHUNKS_PER_PIECE = 10_000
const PIECE = Buffer.from('1\r\nx\r\n'.repeat(CHUNKS_PER_PIECE))
const CONNECTIONS = 10
const SLOW_CALL_MS = 2000
/** How long a flood is watched at most. */
const PATIENCE_MS = { short: 6000, long: 300_000 }

/** What else makes a body expensive, and how the table calls it. */
const TROUBLES = ['', ', with a checksum', ', slow disk'] as const
type Trouble = (typeof TROUBLES)[number]

/** A round is a piece on each of the connections. */
campaign('bodies in chunks of one byte take little memory', { short: 8, long: 100 }, async (campaign) => {
  const picked = campaign.long ? TROUBLES : [campaign.random.pick(TROUBLES)]
  await forAll(picked, (trouble) => floodWithChunks(campaign, trouble))
})

async function floodWithChunks(campaign: Campaign, trouble: Trouble): Promise<void> {
  const { t, rounds, long } = campaign
  const isSlow = trouble === ', slow disk'
  const flooded = await startFlooded(t, { slowDisk: isSlow })
  const length = rounds * CHUNKS_PER_PIECE
  const digest = createHash('sha1').update('x'.repeat(length)).digest('base64')
  const checksum = trouble === ', with a checksum' ? [`Upload-Checksum: sha1 ${digest}`] : []
  const headers = [...APPEND, 'Upload-Offset: 0', 'Transfer-Encoding: chunked', ...checksum]
  const paths = await Promise.all(Array.from({ length: CONNECTIONS }, () => makeUpload(flooded, length, { stored: 0 })))
  const outcome = await measure(flooded, async (others) => {
    if (isSlow) await slowDown(flooded, SLOW_CALL_MS)
    const clients = await Promise.all(paths.map(async (path) => {
      const client = await FloodClient.connect(flooded.port, 'reads')
      await client.send(request(`PATCH ${path}`, headers))
      void client.sendOften(PIECE, rounds).then(() => client.send('0\r\n\r\n'))
      return client
    }))
    const answered = Promise.all(clients.map((client) => client.answers(1)))
    await Promise.race([answered, others.quiet(long ? PATIENCE_MS.long : PATIENCE_MS.short)])
    await others.visits(isSlow ? 1 : 5)
    for (const client of clients) client.destroy()
    if (isSlow) await slowDown(flooded, 0)
  })
  await judge(campaign, flooded, {
    name: `ten bodies in chunks of one byte${trouble}`, rounds: CONNECTIONS * length, outcome,
    limits: { memoryMiB: 200, descriptors: 128, extraAnswerMs: isSlow ? 4 * SLOW_CALL_MS : 0 },
  })
}

const CONCURRENCY = 50
const ENDLESS_BYTES = 1024 * MIB
/**
 * What a client sends of that: more than a server should hold of one upload, and not too much for
 * a disk.
 */
const SENT_MIB = 4
/**
 * What all uploads together may hold in memory, what the rest may take, and what each may take. The rest is mostly
 * buffers that are done with and not freed yet: with the same seed 366 to 557 MiB were seen in all.
 */
const MAX_WAITING_MIB = 256
const MAX_OTHER_MIB = 128
const MAX_MIB_EACH = 0.75
const UPLOADS = { short: 300, long: 1000 }

campaign('uploads on a slow disk wait on their connections, not in memory', UPLOADS, async (campaign) => {
  const { t, rounds } = campaign
  const flooded = await startFlooded(t, { slowDisk: true })
  const piece = Buffer.alloc(MIB)
  const lengths = [`Upload-Length: ${ENDLESS_BYTES}`, `Content-Length: ${ENDLESS_BYTES}`]
  const head = request('POST /files/', [...APPEND, ...lengths])
  const outcome = await measure(flooded, async (others) => {
    await slowDown(flooded, SLOW_CALL_MS)
    const clients: FloodClient[] = []
    await forEachOf(Array.from({ length: rounds }), CONCURRENCY, async () => {
      const client = await FloodClient.connect(flooded.port, 'reads')
      clients.push(client)
      void client.send(head).then(() => client.sendOften(piece, SENT_MIB))
    })
    await others.visits(3)
    for (const client of clients) client.destroy()
    await slowDown(flooded, 0)
  })
  const memoryMiB = MAX_WAITING_MIB + MAX_OTHER_MIB + rounds * MAX_MIB_EACH
  await judge(campaign, flooded, {
    name: 'uploads at full speed, and a disk of 2 s a call', rounds, outcome,
    limits: { memoryMiB, descriptors: 3 * rounds + 64, extraAnswerMs: 4 * SLOW_CALL_MS },
  })
})
