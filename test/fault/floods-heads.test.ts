// SPDX-License-Identifier: MIT

/**
 * Request lines and heads as nobody should send them: each is answered, or its connection closed.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { campaign } from './campaign.ts'
import { FloodClient } from './flood-client.ts'
import { assertEnds, judge, makeUpload, measure, startFlooded } from './flood.ts'
import { forEachOf } from './process-client.ts'
import type { Random } from './random.ts'

const CONCURRENCY = 24
const HALF_HEADS = 100
const MAX_STAY_MS = 400
const WAIT_MS = 20_000
/** Node reads no more of a head. */
const MAX_HEAD_BYTES = 16 * 1024
const VERSIONS = ['HTTP/2.0', 'HTTP/0.9', 'HTTP/3.0', 'HTTP/1.0', 'HTTP/1.1', 'HTTP/9.9', 'HTTP/', 'http/1.1', 'RTSP/1.0', '']
const METHODS = ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE', 'OPTIONS', 'PUT', 'TRACE', 'CONNECT', 'PRI', 'QUERY', 'M-SEARCH', 'SOURCE', 'PROPFIND', 'get', 'G\u0000T', '']

/** Makes a head, for an upload at a path. */
type Nonsense = (path: string, random: Random) => string

const HEADS: readonly (readonly [name: string, make: Nonsense])[] = [
  ['a version', (path, random) => head(random.pick(METHODS.slice(0, 5)), path, random.pick(VERSIONS))],
  ['a method', (path, random) => head(random.pick(METHODS), path)],
  ['CONNECT', (path, random) => head('CONNECT', random.pick(['example.com:443', path, '*', '127.0.0.1:1']))],
  ['an upgrade', (path, random) => head(random.pick(['GET', 'POST', 'PATCH', 'HEAD']), path, 'HTTP/1.1', [
    `Connection: ${random.pick(['Upgrade', 'Upgrade, HTTP2-Settings', 'close, Upgrade'])}`, `Upgrade: ${random.pick(['websocket', 'h2c', 'TLS/1.0', 'x'.repeat(500)])}`,
    'HTTP2-Settings: AAMAAABkAAQAAP__', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13',
  ])],
  ['a target', (path, random) => head(random.pick(['GET', 'HEAD', 'OPTIONS', 'POST', 'PATCH']), random.pick([
    `http://example.com${path}`, `https://user:secret@example.com:99999${path}`, '*', '//', '/..%2f..%2fetc/passwd', `${path}/../..`, `${path}%00`, `${path}?${'q'.repeat(500)}`,
    'http://', 'http://[::1', '/%', '/%ff%fe', `${path}#fragment`, '\u00e9',
  ]))],
  ['a long target', (path, random) => head('GET', `${path}${'x'.repeat(random.integer(1000, 2 * MAX_HEAD_BYTES))}`)],
  ['many headers', (path, random) => head('HEAD', path, 'HTTP/1.1', Array.from({ length: random.integer(100, 3000) }, (_, index) => `x${index}: y`))],
  ['long headers', (path, random) => head('HEAD', path, 'HTTP/1.1', [`x: ${'y'.repeat(random.integer(MAX_HEAD_BYTES - 300, MAX_HEAD_BYTES + 300))}`])],
  ['the protocol of HTTP/2', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['a handshake of TLS', (_, random) => `\u0016\u0003\u0001\u0002\u0000\u0001\u0000${'\u0000'.repeat(random.integer(10, 500))}\r\n\r\n`],
  ['noise', (_, random) => `${Array.from({ length: random.integer(1, 2000) }, () => String.fromCharCode(random.integer(0, 255))).join('')}\r\n\r\n`],
  ['lines in front', (path, random) => `${'\r\n'.repeat(random.integer(1, 2000))}${head('HEAD', path)}`],
  ['a host', (path, random) => `GET ${path} HTTP/1.1\r\n${random.pick(['', 'Host: \r\n', 'Host: a\r\nHost: b\r\n', 'Host: a b\r\n', `Host: ${'x'.repeat(5000)}\r\n`])}\r\n`],
  ['an end of lines', (path, random) => head('HEAD', path).replaceAll('\r\n', random.pick(['\n', '\r', '\r\n\t', '\n\r']))],
  ['an expectation', (path, random) => head('PATCH', path, 'HTTP/1.1', [`Expect: ${random.pick(['100-continue', '200-ok', ''])}`, 'Content-Length: 0'])],
]

campaign('whatever its head, a request is answered or its connection closed, and others are none the worse for it', { short: 20 * HEADS.length, long: 2000 * HEADS.length }, async (campaign) => {
  const { t, random, rounds } = campaign
  const flooded = await startFlooded(t)
  const path = await makeUpload(flooded, 100)
  const statuses = new Map<string, number>()
  const outcome = await measure(flooded, async (others) => {
    const silent = await Promise.all(Array.from({ length: HALF_HEADS }, (_, index) => sendHalf(flooded.port, path, random.fork(-1 - index))))
    await forEachOf(Array.from({ length: rounds }), CONCURRENCY, async (_, round) => {
      const chance = random.fork(round)
      const [name, make] = HEADS[round % HEADS.length]!
      const client = await FloodClient.connect(flooded.port, 'reads')
      const text = make(path, chance)
      await client.send(Buffer.from(text, 'latin1'))
      await Promise.race([client.answers(1), delay(chance.integer(0, MAX_STAY_MS))]) // half a head is answered when no more can come
      client.socket.end()
      await within(client.answers(1), () => `${name} was neither answered nor refused: ${JSON.stringify(text.slice(0, 200))}`)
      for (const status of client.statuses.size > 0 ? client.statuses.keys() : ['closed']) statuses.set(String(status), (statuses.get(String(status)) ?? 0) + 1)
      client.destroy()
    })
    await others.visits(3)
    for (const client of silent) client.destroy()
  })
  t.diagnostic(`answers: ${JSON.stringify(Object.fromEntries(statuses))}`)
  assert.equal(statuses.get('500'), undefined)
  await judge(campaign, flooded, { name: 'heads that make no sense', rounds, outcome, limits: { memoryMiB: 120, descriptors: HALF_HEADS + 3 * CONCURRENCY + 32 } })
})

campaign('halves of heads do not keep a program that is to end', { short: 200, long: 5000 }, async ({ t, random, rounds }) => {
  const flooded = await startFlooded(t)
  const clients = await Promise.all(Array.from({ length: rounds }, (_, index) => sendHalf(flooded.port, '/files/', random.fork(index))))
  await assertEnds(flooded)
  for (const client of clients) client.destroy()
})

function head(method: string, target: string, version = 'HTTP/1.1', headers: readonly string[] = []): string {
  return [`${method} ${target} ${version}`, 'Host: test', 'Tus-Resumable: 1.0.0', ...headers, '', ''].join('\r\n')
}

async function sendHalf(port: number, path: string, random: Random): Promise<FloodClient> {
  const client = await FloodClient.connect(port, 'reads')
  const text = head('GET', path)
  await client.send(text.slice(0, random.integer(0, text.length - 1)))
  return client
}

async function within(work: Promise<void>, tell: () => string): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => (timer = setTimeout(() => reject(new Error(tell())), WAIT_MS).unref()))
  try {
    await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
