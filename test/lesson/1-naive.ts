// SPDX-License-Identifier: MIT

/** Step 1: naive. The first failure ends everything. @module */

import { createServer } from 'node:http'
import { requestSignal } from '../../lib/request-signal.ts'
import { SlowStore } from './slow-store.ts'

const [, , port = '8080', folder = 'uploads/lesson'] = process.argv
const store = new SlowStore(folder)

const server = createServer(async (req, res) => {
  if (req.method !== 'PUT') return void res.writeHead(405, { Allow: 'PUT' }).end()
  const name = req.url?.slice(1) ?? ''
  const signal = requestSignal(req, res)
  try {
    await store.save(name, req, { signal })
    await store.complete(name)
    res.writeHead(201).end('complete\n')
  } catch (error) {
    console.log(`${name}: ${error}`)
    res.writeHead(500).end('incomplete\n')
  }
})
server.listen(Number(port), '127.0.0.1', () => console.log('process', process.pid, 'listens on', server.address()))
