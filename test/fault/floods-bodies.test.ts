// SPDX-License-Identifier: MIT

/**
 * Bodies that cost a server more than their bytes say, and more bodies than a slow disk can take.
 *
 * @module
 */

import { createHash } from 'node:crypto'
import { request } from '../support/wire.ts'
import { campaign, type Campaign } from './campaign.ts'
import { FloodClient } from './flood-client.ts'
import { forAll, judge, makeUpload, measure, MIB, slowDown, startFlooded } from './flood.ts'
import { forEachOf } from './process-client.ts'

const TUS = ['Tus-Resumable: 1.0.0', 'Content-Type: application/offset+octet-stream']
/** What costs a server an object for each byte, in pieces. */
const CHUNK = '1\r\nx\r\n'
const CHUNKS_A_PIECE = 10_000
const PIECE = Buffer.from(CHUNK.repeat(CHUNKS_A_PIECE))
const CONNECTIONS = 10
/** As long as a flood is watched at most. */
const PATIENCE = { short: 6000, long: 300_000 }
const SLOW_CALL_MS = 2000
/** More than a server should take from anybody before the first of it is on the disk; the rest never comes. */
const PIECES = 4
const CONCURRENCY = 50

type Trouble = 'none' | 'checksum' | 'slow disk'
const TROUBLES: readonly Trouble[] = ['none', 'checksum', 'slow disk']

campaign('bodies in chunks of one byte take little more memory than their bytes', { short: 8, long: 100 }, async (campaign) => {
  await forAll(campaign.long ? TROUBLES : [campaign.random.pick(TROUBLES)], (trouble) => floodWithChunks(campaign, trouble))
})

async function floodWithChunks(campaign: Campaign, trouble: Trouble): Promise<void> {
  const { t, rounds, long } = campaign
  const flooded = await startFlooded(t, { slowDisk: trouble === 'slow disk' })
  const length = rounds * CHUNKS_A_PIECE
  const checksum = `Upload-Checksum: sha1 ${createHash('sha1').update('x'.repeat(length)).digest('base64')}`
  const paths = await Promise.all(Array.from({ length: CONNECTIONS }, () => makeUpload(flooded, length, { stored: 0 })))
  const outcome = await measure(flooded, async (others) => {
    if (trouble === 'slow disk') await slowDown(flooded, SLOW_CALL_MS)
    const clients = await Promise.all(paths.map(async (path) => {
      const client = await FloodClient.connect(flooded.port, 'reads')
      await client.send(request(`PATCH ${path}`, [...TUS, 'Upload-Offset: 0', 'Transfer-Encoding: chunked', ...(trouble === 'checksum' ? [checksum] : [])]))
      void client.sendOften(PIECE, rounds).then(() => client.send('0\r\n\r\n'))
      return client
    }))
    const patienceMs = long ? PATIENCE.long : PATIENCE.short
    if (trouble === 'slow disk') await others.quiet(patienceMs)
    else await Promise.race([Promise.all(clients.map((client) => client.answers(1))), others.quiet(patienceMs)])
    await others.visits(trouble === 'slow disk' ? 1 : 5)
    for (const client of clients) client.destroy()
    if (trouble === 'slow disk') await slowDown(flooded, 0)
  })
  await judge(campaign, flooded, {
    name: `ten bodies in chunks of one byte${trouble === 'none' ? '' : `, ${trouble === 'checksum' ? 'with a checksum' : 'slow disk'}`}`,
    rounds: CONNECTIONS * length, outcome, limits: { memoryMiB: 200, descriptors: 128, extraAnswerMs: trouble === 'slow disk' ? 4 * SLOW_CALL_MS : 0 },
  })
}

campaign('uploads that come faster than the disk takes them wait on their connections, not in memory', { short: 300, long: 1000 }, async (campaign) => {
  const { t, rounds } = campaign
  const flooded = await startFlooded(t, { slowDisk: true })
  const bytes = Buffer.alloc(MIB)
  const outcome = await measure(flooded, async (others) => {
    await slowDown(flooded, SLOW_CALL_MS)
    const clients: FloodClient[] = []
    await forEachOf(Array.from({ length: rounds }), CONCURRENCY, async () => {
      const client = await FloodClient.connect(flooded.port, 'reads')
      clients.push(client)
      void client.send(request('POST /files/', [...TUS, `Upload-Length: ${1024 * MIB}`, `Content-Length: ${1024 * MIB}`])).then(() => client.sendOften(bytes, PIECES))
    })
    await others.visits(3)
    for (const client of clients) client.destroy()
    await slowDown(flooded, 0)
  })
  await judge(campaign, flooded, {
    name: 'uploads at full speed on a disk of 2 s a call', rounds, outcome,
    limits: { memoryMiB: 256 + 64 + rounds / 4, descriptors: 3 * rounds + 64, extraAnswerMs: 4 * SLOW_CALL_MS },
  })
})
