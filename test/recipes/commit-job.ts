// SPDX-License-Identifier: MIT

/**
 * A payment that is committed although its client has gone, or the server is being stopped.
 *
 * Without it: the client's leaving aborts the call to the bank, when the money may have moved already; or the shutdown, which
 * waits for connections only, closes the ledger before the bank has answered. `delayedSignal` gives the payment 20 more
 * seconds; `group.run` has the shutdown wait for it, and the ledger is closed behind that. The client cannot know how it went
 * and asks again: `KeyedLock` has the second request wait for the first one, whose receipt it gets. A kill or a power failure
 * can still come between bank and ledger, so the bank is given the number of the order as well.
 *
 *     PUT /NUMBER    pays an order once, however often it is sent; the answer is the receipt
 *
 * @module
 */

import { mkdirSync, readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer } from 'node:http'
import { dirname } from 'node:path'
import { delayedSignal } from '../../lib/delayed-signal.ts'
import { KeyedLock } from '../../lib/keyed-lock.ts'
import { requestSignal } from '../../lib/request-signal.ts'
import { ShutdownGroup } from '../../lib/shutdown-group.ts'

const [, , port = '8080', path = 'uploads/ledger', bank = 'http://127.0.0.1:8081/'] = process.argv
mkdirSync(dirname(path), { recursive: true })
const ledger = await open(path, 'a')
const receipts = new Map(
  Array.from(readFileSync(path, 'utf8').matchAll(/^(\d+) (.*)\n/gm), ([, order = '', receipt = '']) => [order, receipt]),
)
const locks = new KeyedLock()
const group = new ShutdownGroup({ deadlineMs: 30_000 })

const server = createServer((req, res) => group.run(async () => {
  const [, order] = /^\/(\d{1,15})$/.exec(req.url ?? '') ?? []
  if (!order || req.method !== 'PUT') return void res.writeHead(404).end()
  const signal = delayedSignal(requestSignal(req, res), 20_000)
  const hold = await locks.acquire(order)
  try {
    const receipt = receipts.get(order) ?? (await pay(order, signal))
    res.end(`${receipt}\n`)
  } catch (error) {
    console.log(`${order}: ${error}`)
    res.writeHead(502).end()
  } finally {
    hold.release()
    signal.dispose()
  }
}))
void group.closed.then(() => ledger.close()).then(() => console.log('the ledger is closed'))
group.add(server).listen()
server.listen(Number(port), '127.0.0.1', () => console.log('listens on', server.address()))

async function pay(order: string, signal: AbortSignal): Promise<string> {
  const answer = await fetch(bank, { method: 'POST', headers: { 'Idempotency-Key': order }, body: order, signal })
  if (!answer.ok) throw new Error(`The bank answered ${answer.status}`)
  const receipt = (await answer.text()).replace(/\s+/g, ' ')
  await ledger.appendFile(`${order} ${receipt}\n`)
  await ledger.sync()
  receipts.set(order, receipt)
  return receipt
}
