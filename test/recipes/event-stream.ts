// SPDX-License-Identifier: MIT

/**
 * Server-sent events that end well when the server is stopped.
 *
 * Without it: a stream of events never ends by itself, so the server waits for it until the deadline and then cuts it off in the
 * middle. Here `group.signal` tells each stream to end: with a `retry`, so that an EventSource is back at once and not in
 * some seconds, and not all of them at the same moment. It is back with Last-Event-ID, and as the events outlive the
 * process it misses none. (Never answer 503 here: to an EventSource any status but 200 means never to come back.)
 *
 *     GET /     the events, from the one after Last-Event-ID on
 *     POST /    a new event, in text
 *
 * @module
 */

import { EventEmitter } from 'node:events'
import { appendFileSync, mkdirSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { dirname } from 'node:path'
import { text } from 'node:stream/consumers'
import { HappyReader } from '../../lib/happy-reader.ts'
import { ShutdownGroup } from '../../lib/shutdown-group.ts'

const [, , port = '8080', path = 'uploads/events'] = process.argv
mkdirSync(dirname(path), { recursive: true })
const events = readFileSync(path, { encoding: 'utf8', flag: 'a+' }).split('\n').slice(0, -1)
const news = new EventEmitter().setMaxListeners(0)
const group = new ShutdownGroup()

const server = createServer((req, res) => (req.method === 'POST' ? publish(req, res) : follow(req, res)))
group.add(server).listen()
server.listen(Number(port), '127.0.0.1', () => console.log('listens on', server.address()))

async function publish(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const body = new HappyReader(req, { maxBytes: 65_536, signal: group.signal })
  const event = JSON.stringify(await text(body))
  if (body.error) return void res.writeHead(group.signal.aborted ? 503 : 400).end()
  appendFileSync(path, `${event}\n`)
  news.emit('event', events.push(event))
  res.writeHead(204).end()
}

function follow(req: IncomingMessage, res: ServerResponse): void {
  let id = Number(/^\d{1,15}$/.exec(String(req.headers['last-event-id'])) ?? 0)
  const send = (): void => {
    while (id < events.length && !res.writableNeedDrain) res.write(`id: ${id + 1}\ndata: ${events[id++]}\n\n`)
  }
  const end = (): void => void res.end(`retry: ${Math.ceil(Math.random() * 1000)}\n\n`)
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' }).flushHeaders()
  news.on('event', send)
  group.signal.addEventListener('abort', end)
  res.on('drain', send).on('close', () => {
    news.off('event', send)
    group.signal.removeEventListener('abort', end)
  })
  send()
  if (group.signal.aborted) end() // it came at the last moment
}
