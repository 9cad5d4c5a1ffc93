// SPDX-License-Identifier: MIT

/**
 * What a `HappyReader` in front of a body costs: CPU time of the server for reading a request through
 * it, against reading the request directly.
 *
 * The two take turns in one process (A B A B …), so that whatever else the machine does meets both
 * alike. The client is a process of its own; only the server's CPU is counted.
 *
 * @module
 */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer, request, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { HappyReader } from '../lib/happy-reader.ts'

const BODY_BYTES = 512 * 1024 * 1024
const ROUNDS = 20
const TARGET_RATIO = 1.1

const [, , role, port] = process.argv
if (role === 'client') await send(Number(port))
else await measure()

async function measure(): Promise<void> {
  const ways = {
    direct: (req: IncomingMessage): Readable => req,
    happyReader: (req: IncomingMessage): Readable => new HappyReader(req, { maxBytes: BODY_BYTES, idleTimeoutMs: 60_000 }),
  }
  let way: (req: IncomingMessage) => Readable = ways.direct
  let cpuMs = 0
  const server = createServer((req, res) => {
    const before = process.cpuUsage()
    let bytes = 0
    way(req)
      .on('data', (chunk: Buffer) => (bytes += chunk.length))
      .on('end', () => {
        const { user, system } = process.cpuUsage(before)
        if (bytes !== BODY_BYTES) throw new Error(`${bytes} bytes came where ${BODY_BYTES} were sent`)
        cpuMs = (user + system) / 1000
        res.end()
      })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')

  const round = async (next: typeof way): Promise<number> => {
    way = next
    const client = fork(fileURLToPath(import.meta.url), ['client', String((server.address() as AddressInfo).port)])
    await once(client, 'exit')
    return cpuMs
  }
  await round(ways.direct) // warms up
  await round(ways.happyReader)

  const ratios: number[] = []
  for (let i = 0; i < ROUNDS; i++) {
    const direct = await round(ways.direct)
    const happyReader = await round(ways.happyReader)
    ratios.push(happyReader / direct)
    console.log(`round ${i + 1}: direct ${direct.toFixed(0)} ms, HappyReader ${happyReader.toFixed(0)} ms of CPU for 512 MiB`)
  }
  server.close()
  ratios.sort((a, b) => a - b)
  const quantile = (q: number): string => ratios[Math.floor(q * (ratios.length - 1))]!.toFixed(3)
  const met = Number(quantile(0.5)) <= TARGET_RATIO
  console.log(`ratio: median ${quantile(0.5)}, quartiles ${quantile(0.25)} to ${quantile(0.75)}; at most ${TARGET_RATIO}: ${met ? 'met' : 'missed'}`)
  if (!met) process.exitCode = 1
}

async function send(toPort: number): Promise<void> {
  const req = request({ port: toPort, host: '127.0.0.1', method: 'POST', headers: { 'Content-Length': BODY_BYTES } })
  const chunk = Buffer.alloc(1024 * 1024)
  for (let sent = 0; sent < BODY_BYTES; sent += chunk.length) {
    if (!req.write(chunk)) await once(req, 'drain')
  }
  req.end()
  const [res] = (await once(req, 'response')) as [IncomingMessage]
  res.resume()
}
