// SPDX-License-Identifier: MIT

/**
 * Clients that take all descriptors a process may have: others are told to come back, and nobody is reset.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { request } from '../support/wire.ts'
import { campaign } from './campaign.ts'
import { FloodClient } from './flood-client.ts'
import { judge, makeUpload, measure, startFlooded } from './flood.ts'

const TUS = 'Tus-Resumable: 1.0.0'
const CONTENT_TYPE = 'Content-Type: application/offset+octet-stream'
const DESCRIPTORS = { short: 256, long: 1024 }
const PATIENCE = { short: 6000, long: 120_000 }
/** What a server may say of it that has no descriptors left. */
const MAX_LINES = 100
/** To be told to come back is as good as an answer of success. */
const STATUSES = ['200', '201', '204', '503']

campaign('idle uploads cannot take the last descriptor: whoever comes then is told to come back', { short: 300, long: 1200 }, async (campaign) => {
  const { t, rounds, long } = campaign
  const maxDescriptors = long ? DESCRIPTORS.long : DESCRIPTORS.short
  const flooded = await startFlooded(t, { maxDescriptors })
  const paths: string[] = []
  for (let made = 0; made < rounds; made++) paths.push(await makeUpload(flooded, 2, { stored: 0 }))
  const clients: FloodClient[] = []
  const outcome = await measure(flooded, async (others) => {
    for (const path of paths) {
      const client = await FloodClient.connect(flooded.port, 'reads')
      clients.push(client)
      await client.send(request(`PATCH ${path}`, [TUS, CONTENT_TYPE, 'Upload-Offset: 0', 'Content-Length: 2'], 'x'))
      void client.answers(1).then(() => client.destroy()) // as a client does that was told to come back
    }
    await others.visits(20)
    for (const client of clients) client.destroy()
  })
  const told = clients.flatMap(({ statuses }) => [...statuses.keys()])
  t.diagnostic(`${told.length} of ${rounds} were told to come back`)
  await judge(campaign, flooded, {
    name: `idle uploads, ${maxDescriptors} descriptors`, rounds, outcome,
    limits: { memoryMiB: 120, descriptors: maxDescriptors, statuses: STATUSES, errorLines: MAX_LINES },
  })
  assert.deepEqual(told.filter((status) => status !== 503), [])
})

campaign('pipelined POSTs cannot take the last descriptor: each is answered, none with a failure', { short: 1000, long: 20_000 }, async (campaign) => {
  const { t, rounds, long } = campaign
  const maxDescriptors = long ? DESCRIPTORS.long : DESCRIPTORS.short
  const flooded = await startFlooded(t, { maxDescriptors, args: ['--sync', 'none'] })
  let statuses: ReadonlyMap<number, number> = new Map()
  const outcome = await measure(flooded, async (others) => {
    const client = await FloodClient.connect(flooded.port, 'reads')
    void client.send(request('POST /files/', [TUS, 'Upload-Length: 1', 'Content-Length: 0']).repeat(rounds))
    await Promise.race([client.answers(rounds), others.quiet(long ? PATIENCE.long : PATIENCE.short)])
    await others.visits(5)
    ;({ statuses } = client)
    client.destroy()
  })
  t.diagnostic(`answers: ${JSON.stringify(Object.fromEntries(statuses))}; ${flooded.server.errors.split('\n').length - 1} lines of failures`)
  await judge(campaign, flooded, {
    name: `pipelined POSTs, ${maxDescriptors} descriptors`, rounds, outcome,
    limits: { memoryMiB: 120, descriptors: 64, statuses: STATUSES, errorLines: MAX_LINES },
  })
  assert.deepEqual([...statuses.keys()].filter((status) => status !== 201 && status !== 503), [])
})
