// SPDX-License-Identifier: MIT

/**
 * A proxy that finishes its write to the upstream server when its client goes away.
 *
 * Without it: when the client is gone its request fails, the proxy drops the upstream request, and what the client had sent is
 * lost on the way, though all of it had arrived. With `HappyReader` all that came is passed on; if it was not the whole
 * body, the upstream connection ends before the body does, which is how HTTP says so (RFC 9112 section 8). With
 * `delayedSignal` a request that was sent whole has ten more seconds to be answered, instead of being cut off.
 *
 * @module
 */

import { once } from 'node:events'
import { createServer, request, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { delayedSignal } from '../../lib/delayed-signal.ts'
import { respondEarly } from '../../lib/early-response.ts'
import { HappyReader } from '../../lib/happy-reader.ts'
import { requestSignal } from '../../lib/request-signal.ts'
import { ShutdownGroup } from '../../lib/shutdown-group.ts'

/** What concerns one connection only (RFC 9110 section 7.6.1), and an expectation that has been met here. */
const NOT_PASSED_ON = ['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'expect']

const [, , port = '8080', origin = 'http://127.0.0.1:8081'] = process.argv
const group = new ShutdownGroup()

const server = createServer((req, res) => group.run(async () => {
  const signal = delayedSignal(requestSignal(req, res), 10_000)
  const body = new HappyReader(req, { signal: group.signal })
  try {
    const upstream = request(origin + req.url, { method: req.method, headers: passedOn(req.headers), signal })
    const answer = once(upstream, 'response') as Promise<[IncomingMessage]>
    answer.catch(() => {}) // it is looked at when all is written
    await write(body, upstream.on('error', () => {}))
    const [response] = await answer
    if (body.error) throw body.error
    res.writeHead(response.statusCode ?? 502, passedOn(response.headers))
    await pipeline(response, res)
    upstream.destroy() // one that answered before it had all
  } catch (error) {
    console.log(`${req.method} ${req.url}: ${body.error ?? error}`)
    await respondEarly(req, res, { status: group.signal.aborted ? 503 : 502 })
  } finally {
    signal.dispose()
  }
}))
group.add(server).listen()
server.listen(Number(port), '127.0.0.1', () => console.log('listens on', server.address()))

/** Returns when the body is over. Once the upstream server answers it wants no more; Node says no 'drain' then. */
async function write(body: HappyReader, upstream: ClientRequest): Promise<void> {
  let isOver = false
  const stop = (): void => {
    isOver = true
    upstream.emit('drain')
  }
  upstream.on('response', stop).on('close', stop)
  for await (const chunk of body) {
    if (!isOver && !upstream.write(chunk)) await new Promise((resolve) => upstream.once('drain', resolve))
  }
  if (body.error) upstream.socket?.end()
  else if (!isOver) upstream.end()
}

function passedOn(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !NOT_PASSED_ON.includes(name)))
}
