// SPDX-License-Identifier: MIT

/**
 * Clients that take all descriptors a process may have. Others are answered, if only with 503, and
 * never reset.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { request } from '../support/wire.ts'
import { campaign } from './campaign.ts'
import { FloodClient } from './flood-client.ts'
import { judge, measure } from './flood-toll.ts'
import { makeUpload, startFlooded } from './flood.ts'
import { forEachOf } from './process-client.ts'

const TUS = 'Tus-Resumable: 1.0.0'
const CONTENT_TYPE = 'Content-Type: application/offset+octet-stream'
const CONCURRENCY = 10
const DESCRIPTORS = { short: 256, long: 1024 }
const PATIENCE_MS = { short: 6000, long: 120_000 }
/** What a server may write about having no descriptors left. */
const MAX_LINES = 100
/** 503 asks a client to come back. */
const STATUSES = ['200', '201', '204', '503']

campaign('idle uploads cannot take the last descriptor', { short: 300, long: 1200 }, async (campaign) => {
  const { t, rounds, long } = campaign
  const maxDescriptors = long ? DESCRIPTORS.long : DESCRIPTORS.short
  const flooded = await startFlooded(t, { maxDescriptors })
  const paths: string[] = []
  await forEachOf(Array.from({ length: rounds }), CONCURRENCY, async () => {
    paths.push(await makeUpload(flooded, 2, { stored: 0 }))
  })
  const clients: FloodClient[] = []
  let cut = 0
  const outcome = await measure(flooded, async (others) => {
    for (const path of paths) {
      const client = await FloodClient.connect(flooded.port, 'reads')
      clients.push(client)
      await client.send(request(`PATCH ${path}`, [TUS, CONTENT_TYPE, 'Upload-Offset: 0', 'Content-Length: 2'], 'x'))
      void client.answers(1).then(() => client.destroy()) // it was asked to come back
    }
    await others.visits(20)
    cut = clients.filter(({ socket, statuses }) => socket.destroyed && statuses.size === 0).length
    for (const client of clients) client.destroy()
  })
  const statuses = clients.flatMap((client) => [...client.statuses.keys()])
  t.diagnostic(`of ${rounds} idle clients, ${statuses.length} were answered and ${cut} cut`)
  await judge(campaign, flooded, {
    name: `idle uploads, ${maxDescriptors} descriptors`, rounds, outcome,
    limits: { memoryMiB: 120, descriptors: maxDescriptors, statuses: STATUSES, errorLines: MAX_LINES },
  })
  assert.deepEqual(statuses.filter((status) => status !== 503), [])
})

campaign('pipelined POSTs cannot take the last descriptor', { short: 1000, long: 20_000 }, async (campaign) => {
  const { t, rounds, long } = campaign
  const maxDescriptors = long ? DESCRIPTORS.long : DESCRIPTORS.short
  const flooded = await startFlooded(t, { maxDescriptors, args: ['--sync', 'none'] })
  const post = request('POST /files/', [TUS, 'Upload-Length: 1', 'Content-Length: 0'])
  let statuses: ReadonlyMap<number, number> = new Map()
  const outcome = await measure(flooded, async (others) => {
    const client = await FloodClient.connect(flooded.port, 'reads')
    void client.send(post.repeat(rounds))
    await Promise.race([client.answers(rounds), others.quiet(long ? PATIENCE_MS.long : PATIENCE_MS.short)])
    await others.visits(5)
    statuses = client.statuses
    client.destroy()
  })
  const lines = flooded.server.errors.split('\n').length - 1
  t.diagnostic(`answers: ${JSON.stringify(Object.fromEntries(statuses))}; ${lines} lines about failures`)
  await judge(campaign, flooded, {
    name: `pipelined POSTs, ${maxDescriptors} descriptors`, rounds, outcome,
    limits: { memoryMiB: 120, descriptors: 64, statuses: STATUSES, errorLines: MAX_LINES },
  })
  assert.deepEqual([...statuses.keys()].filter((status) => status !== 201 && status !== 503), [])
})
