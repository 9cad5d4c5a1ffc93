// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request, WireClient } from '../support/wire.ts'
import { startRecipe, startRecipeWithout } from './program.ts'

/** Rows with line ends, commas and quotes within quotes, and characters of several bytes. */
const ROWS = Array.from({ length: 1234 }, (_, row) => `${row},"Zoë ""🦉"" Müller,\nline 2 of\r\nthree",Łódź`)
const DOCUMENT = Buffer.from(ROWS.join('\r\n')) // the last row has no line end

/** Where a row begins. */
const offsetOf = (row: number): number => Buffer.byteLength(ROWS.slice(0, row).join('\r\n')) + (row > 0 ? 2 : 0)
const within = (row: number, text: string): number => DOCUMENT.indexOf(text, offsetOf(row))

/** Places to cut, and how many rows are whole before. */
const CUTS = [
  { at: within(1, 'Z'), wholeRows: 1 },
  { at: within(499, '🦉') + 2, wholeRows: 499 },
  { at: within(500, '\n') + 1, wholeRows: 500 },
  { at: within(600, '""') + 1, wholeRows: 600 },
  { at: offsetOf(1200) - 1, wholeRows: 1199 },
  { at: offsetOf(1201), wholeRows: 1201 },
]

/** Begins to send what follows these rows, and stops at `until`. */
async function send(port: number, rows: number, until: number): Promise<WireClient> {
  const client = await WireClient.connect(port)
  await client.send(request('PATCH /customers', [`Rows: ${rows}`, `Content-Length: ${DOCUMENT.length - offsetOf(rows)}`]))
  await client.send(DOCUMENT.subarray(offsetOf(rows), until))
  return client
}

async function countRows(port: number): Promise<number> {
  return Number((await exchange(port, request('GET /customers'))).headers.get('rows'))
}

function savedRows(folder: string): string[] {
  return readFileSync(join(folder, 'customers.jsonl'), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as string)
}

test('a CSV import goes on with the next row wherever it was cut off: in a character, in quotes, in a line end, between rows', async (t) => {
  const folder = temporaryFolder(t)
  const { port, printed } = await startRecipe(t, 'csv-import', [folder])
  let rows = 0
  for (const { at, wholeRows } of CUTS) {
    const client = await send(port, rows, at)
    client.socket.end()
    await printed(new RegExp(`^customers: ${wholeRows} rows are in; ABORTED$`, 'm'))
    rows = await countRows(port)
    assert.equal(rows, wholeRows)
  }

  const wrong = await send(port, rows - 1, DOCUMENT.length)
  assert.equal((await wrong.response()).status, 409)
  wrong.destroy()
  const last = await send(port, rows, DOCUMENT.length)
  assert.equal((await last.response()).headers.get('rows'), '1234')
  last.destroy()
  assert.deepEqual(savedRows(folder), ROWS)
})

test('a CSV import that the server cuts off by stopping is answered 503 with its rows, and goes on in the next process', async (t) => {
  const folder = temporaryFolder(t)
  const first = await startRecipe(t, 'csv-import', [folder])
  const client = await send(first.port, 0, within(700, '🦉') + 1)
  await client.send('') // all before is with the system
  first.process.kill('SIGTERM')
  const { status, headers } = await client.response()
  assert.deepEqual([status, headers.get('rows')], [503, '700'])
  client.destroy()
  assert.deepEqual(await first.exit, { code: 0, signal: null })

  const second = await startRecipe(t, 'csv-import', [folder])
  assert.equal(await countRows(second.port), 700)
  assert.equal((await (await send(second.port, 700, DOCUMENT.length)).response()).status, 200)
  assert.deepEqual(savedRows(folder), ROWS)
})

test('a CSV import whose client comes back before its loss was noticed is saved first', async (t) => {
  const { port } = await startRecipe(t, 'csv-import', [temporaryFolder(t)])
  const lost = await send(port, 0, within(800, 'Z'))
  assert.equal(await countRows(port), 800)
  assert.equal((await lost.response()).status, 503)
  lost.destroy()
})

test('a CSV document with a quote that is never closed is refused', async (t) => {
  const { port } = await startRecipe(t, 'csv-import', [temporaryFolder(t)])
  const { status, body } = await exchange(port, request('PATCH /customers', ['Rows: 0', 'Content-Length: 5'], '1,"2\n'))
  assert.deepEqual([status, body], [422, 'A quote is not closed\n'])
})

test('without HappyReader a CSV import loses its last batch', async (t) => {
  const naive = [
    ['new HappyReader(req, { signal: group.signal })', 'Object.assign(req, { interrupt() {} }) as unknown as HappyReader'],
  ] as const
  const { port, printed } = await startRecipeWithout(t, 'csv-import', naive, [temporaryFolder(t)])
  const client = await send(port, 0, within(700, 'Z'))
  client.socket.end()
  await printed(/^Error: aborted$/m)
  assert.ok(await countRows(port) <= 500)
})
