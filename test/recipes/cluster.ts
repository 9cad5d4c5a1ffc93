// SPDX-License-Identifier: MIT

/**
 * Several processes at one port and one directory of uploads, restarted one after the other on SIGHUP.
 *
 * Without it: a worker that is killed loses what it was receiving; `worker.disconnect()` waits for endless uploads for ever; and
 * two workers that write to one upload spoil it. Here each worker has a `ShutdownGroup`, so it saves what came and answers
 * 503 with Retry-After; `LockFiles` hand an upload over from worker to worker; and the new worker listens before the old
 * one is stopped. A worker that crashes is not replaced here.
 *
 * @module
 */

import cluster from 'node:cluster'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { FileStore } from '../../lib/file-store/file-store.ts'
import { uploadHandler } from '../../lib/upload-handler.ts'
import { LockFiles } from '../../lib/lock-files/lock-files.ts'
import { ShutdownGroup } from '../../lib/shutdown-group.ts'

const [, , port = '8080', folder = 'uploads/cluster', workers = '2'] = process.argv
let isStopping = false

if (cluster.isPrimary) await lead()
else await serve()

async function lead(): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      isStopping = true
      // after Ctrl-C they have had it already; within half a second it does not force them
      for (const worker of running()) worker.process.kill(signal)
    })
  }
  let restarted = Promise.resolve()
  process.on('SIGHUP', () => (restarted = restarted.then(restart)))
  for (let worker = 0; worker < Number(workers); worker++) await once(cluster.fork(), 'listening')
  console.log('workers', running().map(({ process }) => process.pid).join(' '))
}

async function restart(): Promise<void> {
  for (const worker of running()) {
    if (isStopping) return
    await once(cluster.fork(), 'listening')
    if (!isStopping) worker.process.kill('SIGTERM')
    if (!worker.isDead()) await once(worker, 'exit')
  }
  console.log('restarted', running().map(({ process }) => process.pid).join(' '))
}

function running(): cluster.Worker[] {
  return Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined)
}

async function serve(): Promise<void> {
  const locks = await LockFiles.open(join(folder, '.locks'))
  const group = new ShutdownGroup()
  const store = new FileStore(folder, { shared: true })
  const uploads = uploadHandler({ store, locker: locks, signal: group.signal })
  const server = createServer({ requestTimeout: 0, headersTimeout: 60_000 }, (req, res) => group.run(uploads(req, res)))
  server.on('checkContinue', (req, res) => group.run(uploads.checkContinue(req, res)))
  void group.closed.then(async () => {
    await locks.close()
    cluster.worker?.disconnect() // the channel to the primary would keep this process
  })
  group.add(server).listen()
  server.listen(Number(port), '127.0.0.1', () => console.log('listens on', server.address()))
}
