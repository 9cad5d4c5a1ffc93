// SPDX-License-Identifier: MIT

/**
 * A CSV import that goes on where it was cut off.
 *
 * Without it: a client that is cut off makes the loop over its rows throw, the last batch is thrown away, and nobody can say
 * where to go on. `HappyReader` lets the loop end, so the last batch is saved like the others. Only whole rows count: rows are
 * found in bytes, so that a cut within a character harms nothing, and a line end within quotes does not end one (RFC 4180).
 * `ShutdownGroup` does the same for a server that is stopped; `KeyedLock` ends the old request when its client is back.
 *
 *     GET /NAME      how many rows are in
 *     PATCH /NAME    more rows; the field Rows says how many are in already
 *
 * @module
 */

import { mkdirSync } from 'node:fs'
import { appendFile, readFile } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { respondEarly, type EarlyResponse } from '../../lib/early-response.ts'
import { HappyReader } from '../../lib/happy-reader.ts'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import { ShutdownGroup } from '../../lib/shutdown-group.ts'

const BATCH_ROWS = 500
const MAX_ROW_BYTES = 1024 * 1024 // a quote that is never closed would make one row of all that follows

const [, , port = '8080', folder = 'uploads/csv'] = process.argv
const group = new ShutdownGroup()
const locks = new KeyedLock()
mkdirSync(folder, { recursive: true })

const server = createServer((req, res) => group.run(async () => {
  const [, name] = /^\/([a-z]+)$/.exec(req.url ?? '') ?? []
  if (!name) return respondEarly(req, res, { status: 404 })
  const body = new HappyReader(req, { signal: group.signal })
  const hold = await locks.acquire(name, { onReleaseRequest: () => body.interrupt() })
  const answer = await answerTo(req, name, body).catch(toAnswer).finally(hold.release)
  await respondEarly(req, res, answer) // a client that is gone may take its time, and must not keep the lock
}))
group.add(server).listen()
server.listen(Number(port), '127.0.0.1', () => console.log('listens on', server.address()))

async function answerTo(req: IncomingMessage, name: string, body: HappyReader): Promise<EarlyResponse> {
  const path = join(folder, `${name}.jsonl`)
  let rows = await countRows(path)
  if (req.method !== 'PATCH') return { status: 200, headers: { Rows: rows } }
  if (req.headers['rows'] !== String(rows)) return { status: 409, headers: { Rows: rows } }
  for await (const batch of batchesOf(body)) {
    await saveRows(path, batch)
    rows += batch.length
  }
  console.log(`${name}: ${rows} rows are in; ${body.error?.code ?? 'complete'}`)
  return { status: body.error ? 503 : 200, headers: { Rows: rows } }
}

/** The whole rows of a body. Its last one may lack a line end (RFC 4180 section 2), but only if nothing cut it off. */
async function* batchesOf(body: HappyReader): AsyncGenerator<string[]> {
  let batch: string[] = []
  let rest = Buffer.alloc(0)
  let isQuoted = false
  for await (const chunk of body) {
    const bytes = Buffer.concat([rest, chunk])
    let start = 0
    for (let at = rest.length; at < bytes.length; at++) {
      if (bytes[at] === 0x22) isQuoted = !isQuoted
      if (bytes[at] !== 0x0a || isQuoted) continue
      batch.push(bytes.toString('utf8', start, at).replace(/\r$/, ''))
      start = at + 1
      if (batch.length < BATCH_ROWS) continue
      yield batch
      batch = []
    }
    rest = bytes.subarray(start)
    if (rest.length > MAX_ROW_BYTES) throw malformed(`A row has more than ${MAX_ROW_BYTES} bytes`)
  }
  if (!body.error && isQuoted) throw malformed('A quote is not closed')
  if (!body.error && rest.length > 0) batch.push(rest.toString())
  yield batch
}

/** A database would take a batch in one transaction. Here a row is a line of JSON. */
function saveRows(path: string, rows: readonly string[]): Promise<void> {
  return appendFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''))
}

async function countRows(path: string): Promise<number> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return text.split('\n').length - 1
}

function malformed(message: string): Error {
  return Object.assign(new Error(message), { answer: { status: 422, body: `${message}\n` } })
}

function toAnswer(error: Error & { readonly answer?: EarlyResponse }): EarlyResponse {
  console.log(`${error}`)
  return error.answer ?? { status: 500 }
}
