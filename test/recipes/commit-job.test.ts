// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { listen } from '../support/listen.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request, WireClient } from '../support/wire.ts'
import { startRecipe, startRecipeWithout, type Program } from './program.ts'

const ORDER = request('PUT /17', ['Content-Length: 0'])
const UNTRACKED = [['group.run(async () => {', 'void (async () => {'], ['\n}))\nvoid group', '\n})())\nvoid group']] as const
const UNDELAYED = [['delayedSignal(requestSignal(req, res), 20_000)', 'Object.assign(requestSignal(req, res), { dispose() {} })']] as const

/** A bank that pays when the test has it answer. */
async function startBank(t: TestContext): Promise<{ readonly bank: Server; readonly url: string }> {
  const bank = createServer()
  return { bank, url: `http://127.0.0.1:${await listen(t, bank)}/` }
}

/** Sends an order whose client leaves while the bank is at work. */
async function orderAndLeave({ port }: Program, bank: Server): Promise<ServerResponse> {
  const client = await WireClient.connect(port)
  const atWork = once(bank, 'request') as Promise<[IncomingMessage, ServerResponse]>
  await client.send(ORDER)
  const [req, res] = await atWork
  assert.equal(req.headers['idempotency-key'], '17')
  client.destroy()
  await once(client.socket, 'close')
  assert.equal((await exchange(port, request('GET /'))).status, 404) // the server has seen the client leave by now
  return res
}

test('an order is paid, and committed once, though its client goes and comes again', async (t) => {
  const { bank, url } = await startBank(t)
  const ledger = join(temporaryFolder(t), 'ledger')
  const program = await startRecipe(t, 'commit-job', [ledger, url])
  const res = await orderAndLeave(program, bank)
  const again = exchange(program.port, ORDER) // waits for the first
  res.end('receipt 4711')
  assert.equal((await again).body, 'receipt 4711\n')
  assert.equal(readFileSync(ledger, 'utf8'), '17 receipt 4711\n')

  program.process.kill('SIGTERM')
  assert.equal((await program.exit).code, 0)
  const next = await startRecipe(t, 'commit-job', [ledger, url])
  assert.equal((await exchange(next.port, ORDER)).body, 'receipt 4711\n')
})

test('an order is committed although its client goes and the server is stopped meanwhile', async (t) => {
  const { bank, url } = await startBank(t)
  const ledger = join(temporaryFolder(t), 'ledger')
  const program = await startRecipe(t, 'commit-job', [ledger, url])
  const res = await orderAndLeave(program, bank)
  program.process.kill('SIGTERM')
  await refused(program.port)
  res.end('receipt 4711')
  assert.deepEqual(await program.exit, { code: 0, signal: null })
  assert.equal(readFileSync(ledger, 'utf8'), '17 receipt 4711\n')
})

test('an order that the bank refuses is not committed', async (t) => {
  const { bank, url } = await startBank(t)
  const ledger = join(temporaryFolder(t), 'ledger')
  const { port } = await startRecipe(t, 'commit-job', [ledger, url])
  bank.once('request', (_req, res) => res.writeHead(402).end())
  assert.equal((await exchange(port, ORDER)).status, 502)
  assert.equal(readFileSync(ledger, 'utf8'), '')
})

test('without delayedSignal an order is given up when its client goes, whatever the bank does', async (t) => {
  const { bank, url } = await startBank(t)
  const ledger = join(temporaryFolder(t), 'ledger')
  const program = await startRecipeWithout(t, 'commit-job', UNDELAYED, [ledger, url])
  await orderAndLeave(program, bank)
  await program.printed(/^17: RequestAbortedError/m)
  assert.equal(readFileSync(ledger, 'utf8'), '')
})

test('without group.run the ledger is closed before an order is committed', async (t) => {
  const { bank, url } = await startBank(t)
  const ledger = join(temporaryFolder(t), 'ledger')
  const program = await startRecipeWithout(t, 'commit-job', UNTRACKED, [ledger, url])
  const res = await orderAndLeave(program, bank)
  program.process.kill('SIGTERM')
  await program.printed(/^the ledger is closed$/m)
  res.end('receipt 4711')
  await program.printed(/^17: Error: .*\n/m)
  assert.equal(readFileSync(ledger, 'utf8'), '')
})

/** Waits until a server listens no longer. */
async function refused(port: number): Promise<void> {
  for (;;) {
    const client = await WireClient.connect(port).catch(() => undefined)
    if (!client) return
    client.destroy()
  }
}
