// SPDX-License-Identifier: MIT

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request } from '../support/wire.ts'
import { startRecipe, startRecipeWithout } from './program.ts'

/** Opens a stream of events, after the one that was seen last. */
async function follow(port: number, lastEventId?: string): Promise<IncomingMessage> {
  const headers = lastEventId === undefined ? {} : { 'Last-Event-ID': lastEventId }
  const [stream] = (await once(get({ port, host: '127.0.0.1', headers }), 'response')) as [IncomingMessage]
  assert.deepEqual([stream.statusCode, stream.headers['content-type']], [200, 'text/event-stream'])
  return stream.setEncoding('utf8')
}

async function publish(port: number, event: string): Promise<void> {
  assert.equal((await exchange(port, request('POST /', [`Content-Length: ${event.length}`], event))).status, 204)
}

const RETRY = /^retry: \d{1,4}\n\n$/m

test('streams of events end with a retry when the server stops, which is at once, and go on in the next process without a gap', async (t) => {
  const events = join(temporaryFolder(t), 'events')
  const first = await startRecipe(t, 'event-stream', [events])
  await publish(first.port, 'one')
  const streams = await Promise.all(Array.from({ length: 20 }, () => follow(first.port)))
  await publish(first.port, 'two\nlines')
  const received = streams.map((stream) => text(stream)) // rejects where the stream is cut off
  const startedAtMs = performance.now()
  first.process.kill('SIGTERM')
  for (const stream of await Promise.all(received)) {
    assert.equal(stream.replace(RETRY, ''), 'id: 1\ndata: "one"\n\nid: 2\ndata: "two\\nlines"\n\n')
    assert.match(stream, RETRY)
  }
  assert.deepEqual(await first.exit, { code: 0, signal: null })
  assert.ok(performance.now() - startedAtMs < 5000, 'the deadline is 10 seconds')

  const second = await startRecipe(t, 'event-stream', [events])
  await publish(second.port, 'three')
  const stream = await follow(second.port, '2')
  const received2 = text(stream)
  await publish(second.port, 'four')
  second.process.kill('SIGTERM')
  assert.equal((await received2).replace(RETRY, ''), 'id: 3\ndata: "three"\n\nid: 4\ndata: "four"\n\n')
  assert.equal((await second.exit).code, 0)
})

test('a client that reads its stream of events slowly gets all of them', async (t) => {
  const { port } = await startRecipe(t, 'event-stream', [join(temporaryFolder(t), 'events')])
  const slow = await follow(port)
  for (let id = 0; id < 200; id++) await publish(port, 'x'.repeat(65_000)) // more than the system holds for a connection
  await publish(port, 'last')
  let ids = ''
  for await (const chunk of slow) {
    ids += (chunk as string).replace(/x+/g, '')
    if (ids.endsWith('"last"\n\n')) break
  }
  assert.deepEqual(ids.match(/(?<=^id: )\d+/gm)?.map(Number), Array.from({ length: 201 }, (_, index) => index + 1))
})

test('without an end by group.signal a stream of events is cut off at the deadline', async (t) => {
  const naive = [
    ["group.signal.addEventListener('abort', end)", ''],
    ['new ShutdownGroup()', 'new ShutdownGroup({ deadlineMs: 200 })'],
  ] as const
  const { port, process, exit } = await startRecipeWithout(t, 'event-stream', naive, [join(temporaryFolder(t), 'events')])
  const received = text(await follow(port))
  process.kill('SIGTERM')
  await assert.rejects(received, { code: 'ECONNRESET' })
  assert.equal((await exit).code, 0)
})
