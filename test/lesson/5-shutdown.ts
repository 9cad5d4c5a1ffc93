// SPDX-License-Identifier: MIT

/** Step 5: stop well. SIGTERM ends bodies, waits until they are saved, and answers 503. @module */

import { createServer } from 'node:http'
import { delayedSignal } from '../../lib/delayed-signal.ts'
import { HappyReader } from '../../lib/happy-reader.ts'
import { requestSignal } from '../../lib/request-signal.ts'
import { ShutdownGroup } from '../../lib/shutdown-group.ts'
import { SlowStore } from './slow-store.ts'

const [, , port = '8080', folder = 'uploads/lesson'] = process.argv
const store = new SlowStore(folder)
const group = new ShutdownGroup()

const server = createServer((req, res) => group.run(async () => {
  if (req.method !== 'PUT') return void res.writeHead(405, { Allow: 'PUT' }).end()
  const name = req.url?.slice(1) ?? ''
  const signal = delayedSignal(requestSignal(req, res), 10_000)
  try {
    const body = new HappyReader(req, { signal: group.signal })
    await store.save(name, body, { signal })
    if (body.error) throw body.error
    await store.complete(name)
    res.writeHead(201).end('complete\n')
  } catch (error) {
    console.log(`${name}: ${error}`)
    res.writeHead(group.signal.aborted ? 503 : 500).end('incomplete\n')
  } finally {
    signal.dispose()
  }
}))
group.add(server).listen()
server.listen(Number(port), '127.0.0.1', () => console.log('process', process.pid, 'listens on', server.address()))
