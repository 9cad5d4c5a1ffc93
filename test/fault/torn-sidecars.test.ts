// SPDX-License-Identifier: MIT

/**
 * Sidecars that were cut off, at every byte: by a disk that failed, a copy that was interrupted, a hand
 * that slipped. The data beside them are whole.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder } from '../support/temporary.ts'
import { campaign } from './campaign.ts'
import { patch, send, type Message } from './disk-client.ts'
import { Ledger, PATH, type Entry } from './ledger.ts'
import { finish } from './process-client.ts'
import { assertSettles, holdingsAtRest } from './process-holdings.ts'
import { compileLibrary, Subject } from './subject.ts'

const LENGTH = 20_000
const DAMAGED = 'The stored upload is damaged\n'

campaign(
  'a sidecar that is torn at any byte is said to be damaged, harms no other upload, and loses nothing when it is mended',
  { short: 1, long: 40 },
  async ({ t, random, rounds, report }) => {
    const dist = await compileLibrary()
    let [torn, acknowledgedBytes, lostBytes] = [0, 0, 0]
    for (let round = 0; round < rounds; round++) {
      const directory = temporaryFolder(t)
      const program = await Subject.program(t, dist, directory, [
        '--download',
        '--expires',
        '24h',
        '--sync',
        round % 2 === 0 ? 'append' : 'none',
      ])
      const { port } = program
      await program.start()
      const ledger = new Ledger()
      const create = async (headers: Record<string, string> = {}): Promise<Entry> => {
        const answer = await send(port, { method: 'POST', path: PATH, headers: { 'Upload-Length': LENGTH, ...headers } })
        return ledger.created(answer!.headers.location!, LENGTH, String(ledger.entries.length))
      }
      const append = async (entry: Entry, end: number, headers: Record<string, string> = {}): Promise<void> => {
        const { headers: usual, ...message } = patch(entry, entry.acknowledged, end)
        const answer = await send(port, { ...message, headers: { ...usual, ...headers } })
        entry.acknowledge(Number(answer!.headers['upload-offset']))
      }

      // One that has got some bytes, one that has got verified ones, one that is finished, and a neighbour.
      const [partial, verified, finished, neighbour] = [
        await create({ 'Upload-Metadata': 'filename d29ybGQ=' }),
        await create(),
        await create(),
        await create(),
      ]
      await append(partial, random.integer(1, LENGTH - 1))
      const bytes = verified.take(0, random.integer(1, LENGTH - 1))
      await append(verified, bytes.length, { 'Upload-Checksum': `sha1 ${createHash('sha1').update(bytes).digest('base64')}` })
      await finish(port, finished)
      await append(neighbour, 1)
      const before = await holdingsAtRest(program)

      for (const entry of [partial, verified, finished]) {
        const path = join(directory, `${entry.id}.info`)
        const whole = readFileSync(path)
        for (let length = 0; length < whole.length; length += rounds > 1 ? 1 : random.integer(1, 9)) {
          torn++
          writeFileSync(path, whole.subarray(0, length))
          const requests: readonly Message[] = [
            { method: 'HEAD', path: entry.path },
            patch(entry, entry.acknowledged, entry.length),
            { method: 'GET', path: entry.path },
            { method: 'DELETE', path: entry.path },
          ]
          for (const request of requests) {
            const answer = await send(port, request)
            assert.equal(answer?.status, 500, `${request.method} of ${length} bytes of a sidecar`)
            assert.equal(answer.body.toString(), request.method === 'HEAD' ? '' : DAMAGED)
          }
          assert.equal(readFileSync(path).length, length)
        }
        assert.equal((await send(port, { method: 'HEAD', path: neighbour.path }))?.headers['upload-offset'], '1')
        if (entry === partial) { // a program that starts, and sweeps, leaves it as it is
          assert.deepEqual(await program.stop(), { code: 0, signal: null })
          await program.start()
        }
        writeFileSync(path, whole)
      }

      // What a crash leaves of a sidecar that was being written is never read.
      for (const entry of ledger.entries) writeFileSync(join(directory, `${entry.id}.info.0123456789ab.tmp`), '{"ID":"elsewhere"')
      for (const entry of ledger.entries) await finish(port, entry)
      await assertSettles(program, before)
      assert.deepEqual(await program.stop(), { code: 0, signal: null })
      assert.deepEqual(program.alarms, [])
      assert.equal(readdirSync(directory).filter((name) => name.endsWith('.info')).length, ledger.entries.length)
      const audit = ledger.audit(directory)
      acknowledgedBytes += audit.acknowledgedBytes
      lostBytes += audit.lostBytes
    }
    report({ fault: 'torn sidecars', rounds: torn, acknowledgedBytes, lostBytes })
  },
)
