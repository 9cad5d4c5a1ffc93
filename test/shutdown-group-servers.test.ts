// SPDX-License-Identifier: MIT

/** Servers that listen late, on a Unix socket, or get connections that no listening made. @module */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { connect as connectTcp, createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { describe, test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ShutdownGroup, type ShutdownServer } from '../lib/shutdown-group.ts'
import { listen } from './support/listen.ts'
import { connectClient, SERVER_KINDS } from './support/server-kinds.ts'
import { DEADLINE_MS, LIMIT, turns } from './support/shutdown.ts'
import { request, WireClient } from './support/wire.ts'

const GET = request('GET /')

describe('ShutdownGroup and servers that are not those of Node', () => {
  test('a server that is not a net.Server, such as that of Bun, is closed by its own close(), and waited for', LIMIT, async () => {
    const server = foreignServer((onClosed) => setImmediate(onClosed))
    const { forced, errors } = await new ShutdownGroup({ deadlineMs: DEADLINE_MS }).add(server).shutdown()
    assert.deepEqual([forced, errors], [undefined, []])
    assert.equal(server.closed, 1)
  })

  test('an error that close() throws is reported, and the other servers are shut down', LIMIT, async (t) => {
    const error = new Error('cannot close')
    const foreign = foreignServer(() => { throw error })
    const server = createServer()
    const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS }).add(foreign).add(server)
    await listen(t, server)
    const { forced, errors } = await group.shutdown()
    assert.deepEqual([forced, errors, server.listening], [undefined, [error], false])
  })

  test('an error that close() throws in a forced shutdown is reported, and the other servers are cut', LIMIT, async (t) => {
    const error = new Error('cannot close')
    const server = createServer()
    const group = new ShutdownGroup({ deadlineMs: 100 }).add(foreignServer(() => { throw error })).add(server)
    const client = await WireClient.connect(await listen(t, server))
    await client.send(GET)
    await once(server, 'request')
    const { forced, forcedConnections, errors } = await group.shutdown()
    assert.deepEqual([forced, forcedConnections, [...new Set(errors)]], ['deadline', 1, [error]])
    assert.equal(await client.closed(), '')
  })

  test('an error that close() throws for a server that listens late is reported', LIMIT, async () => {
    const foreign = foreignServer((onClosed) => {
      if (foreign.closed > 1) throw new Error('cannot close')
      foreign.emit('listening')
      setImmediate(() => setImmediate(onClosed)) // after the second close()
    })
    const { errors } = await new ShutdownGroup({ deadlineMs: DEADLINE_MS }).add(foreign).shutdown()
    assert.equal((errors[0] as Error).message, 'cannot close')
  })
})

describe('ShutdownGroup and servers that listen late', () => {
  for (const { name, newServer } of SERVER_KINDS) {
    for (const state of ['closing', 'closed'] as const) {
      test(`${name}: a server that begins to listen when the group is ${state} closes, and so do its connections`, LIMIT, async (t) => {
        const server = newServer()
        const { group, end } = groupIn(server)
        const report = group.shutdown()
        await once(group.signal, 'abort')
        if (state === 'closed') await end().then(() => report)
        assert.equal(group.state, state)
        const closed = once(server, 'close')
        const port = await listen(t, server as Server)
        assert.ok(port > 0, 'whoever waits for it to listen can still ask for the address')
        const socket = connectTcp(port, '127.0.0.1').on('error', () => {}).resume()
        await Promise.all([closed, once(socket, 'close')])
        await end()
        assert.equal((await report).forced, undefined)
      })
    }
  }

  test('a server that listens again when the group is closing or closed is closed again', LIMIT, async (t) => {
    const server = createServer()
    const { group, end } = groupIn(server)
    await listen(t, server)
    const first = once(server, 'close')
    const report = group.shutdown()
    await first
    for (const state of ['closing', 'closing', 'closed'] as const) {
      if (state === 'closed') await end().then(() => report)
      assert.equal(group.state, state)
      const closed = once(server, 'close')
      server.listen(0, '127.0.0.1')
      await closed
    }
  })

  test('a server that begins to listen during the readiness delay serves until it has passed', LIMIT, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const server = createServer((_req, res) => res.end('served'))
    const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS, readinessDelayMs: 1000 }).add(server)
    const report = group.shutdown()
    const client = await WireClient.connect(await listen(t, server))
    t.after(() => client.destroy())
    await client.send(GET)
    assert.equal((await client.response()).body, 'served')
    const closed = once(server, 'close')
    t.mock.timers.tick(1000)
    await closed
    assert.equal((await report).forced, undefined)
  })

  test('a process that gets SIGTERM before its server listens ends by itself', LIMIT, async (t) => {
    const path = fileURLToPath(new URL('./support/fixtures/shutdown-before-listening.ts', import.meta.url))
    const child = spawn(process.execPath, ['--import', 'tsx', path], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.after(() => child.kill('SIGKILL'))
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk))
    assert.deepEqual(await once(child, 'exit'), [0, null])
    assert.equal(output, 'closed\nlistening 127.0.0.1\n')
  })
})

describe('ShutdownGroup and connections that come late', () => {
  for (const { name, newServer } of SERVER_KINDS) {
    test(`${name}: a connection that comes when the group is closing or has closed is closed`, LIMIT, async (t) => {
      const server = newServer()
      const { group, end } = groupIn(server)
      const report = group.shutdown()
      await once(group.signal, 'abort')
      for (const state of ['closing', 'closed'] as const) {
        if (state === 'closed') await end().then(() => report)
        const [socket, client] = await connectionOf(t)
        server.emit('connection', socket)
        socket.resume()
        await client.closed()
      }
    })
  }

  test('a request on a connection that comes when the group is closing is answered with Connection: close', LIMIT, async (t) => {
    const server = createServer((_req, res) => res.end('served'))
    const { group, end } = groupIn(server)
    const report = group.shutdown()
    await once(group.signal, 'abort')
    const [socket, client] = await connectionOf(t)
    await client.send(GET)
    server.emit('connection', socket)
    socket.resume() // which 'pauseOnConnect' leaves to whoever takes it
    const answer = await client.response()
    assert.equal(answer.headers.get('connection'), 'close')
    assert.equal(await client.closed(), '')
    await end()
    assert.equal((await report).responses, 1)
  })
})

test('a socket that is upgraded in the moment when the group begins to close it stays open', LIMIT, async (t) => {
  const server = createServer()
  const upgraded = once(server.on('upgrade', () => {}), 'upgrade')
  const { group, end } = groupIn(server)
  const report = group.shutdown()
  await once(group.signal, 'abort')
  const [socket, client] = await connectionOf(t)
  await client.send(request('GET /', ['Connection: Upgrade', 'Upgrade: test']))
  server.emit('connection', socket)
  socket.resume()
  await upgraded
  await turns()
  assert.deepEqual([socket.writable, socket.destroyed], [true, false])
  socket.end()
  await client.closed()
  await end()
  assert.equal((await report).forced, undefined)
})

describe('ShutdownGroup and clients without an address', () => {
  for (const kind of SERVER_KINDS.filter(({ secure }) => secure)) {
    test(`${kind.name} on a Unix socket: connections whose handshake never ends are closed at once`, LIMIT, async (t) => {
      const { server, group, path } = await listenOnUnixSocket(t, kind.newServer())
      const clients: WireClient[] = []
      for (const bytes of ['', '', '\x16\x03\x01']) {
        const accepted = once(server, 'connection')
        const client = new WireClient(connectTcp(path))
        t.after(() => client.destroy())
        await accepted
        if (bytes) await client.send(Buffer.from(bytes, 'latin1'))
        clients.push(client)
      }
      const { forced, forcedConnections } = await group.shutdown()
      assert.deepEqual({ forced, forcedConnections }, { forced: undefined, forcedConnections: 0 })
      for (const client of clients) assert.equal(await client.closed(), '')
    })

    test(`${kind.name} on a Unix socket: a response in progress finishes beside handshakes that never end`, LIMIT, async (t) => {
      const { server, group, path } = await listenOnUnixSocket(t, kind.newServer())
      const silent = new WireClient(connectTcp(path))
      await once(server, 'connection')
      const client = await connectClient(t, kind, path)
      const silentToo = new WireClient(connectTcp(path))
      t.after(() => [silent, silentToo].forEach((one) => one.destroy()))
      const requested = once((server as Server).on('request', () => {}), 'request')
      const answer = client.send('GET')
      const [, res] = await requested
      const report = group.shutdown()
      await Promise.all([silent.closed(), silentToo.closed()])
      res.end('finished')
      assert.equal((await answer).body, 'finished')
      assert.equal((await report).forced, undefined)
    })
  }

  for (const kind of SERVER_KINDS) {
    test(`${kind.name}: a response in progress on a stream that is not a socket finishes, and the stream is closed`, LIMIT, async (t) => {
      const server = kind.newServer()
      const requested = once((server as Server).on('request', () => {}), 'request')
      const { group, end } = groupIn(server)
      const [near, far] = duplexPair()
      server.emit('connection', near)
      const client = await connectClient(t, kind, far)
      const answer = client.send('GET')
      const [, res] = await requested
      const report = group.shutdown()
      const closed = once(near, 'close')
      await once(group.signal, 'abort')
      await turns()
      res.end('finished')
      assert.equal((await answer).body, 'finished')
      await closed
      await end()
      assert.equal((await report).forced, undefined)
    })
  }
})

/** A group with one server, which stays `closing` until `end` is called. */
function groupIn(server: ShutdownServer): { readonly group: ShutdownGroup; readonly end: () => Promise<void> } {
  const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS }).add(server)
  let end!: () => void
  const work = group.run(new Promise<void>((resolve) => (end = resolve)))
  return { group, end: () => (end(), work) }
}

async function listenOnUnixSocket(t: TestContext, server: ShutdownServer): Promise<{
  readonly server: ShutdownServer
  readonly group: ShutdownGroup
  readonly path: string
}> {
  const directory = await mkdtemp(join(tmpdir(), 'shutdown-'))
  t.after(() => rm(directory, { recursive: true }))
  const path = join(directory, 'server.sock')
  const group = new ShutdownGroup({ deadlineMs: DEADLINE_MS }).add(server)
  server.listen(path)
  t.after(() => void server.close())
  await once(server, 'listening')
  return { server, group, path }
}

/** An accepted connection that no server of HTTP has been given yet, and its client. */
async function connectionOf(t: TestContext): Promise<[Socket, WireClient]> {
  const acceptor = createTcpServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  t.after(() => acceptor.close())
  await once(acceptor, 'listening')
  const accepted = once(acceptor, 'connection')
  const client = await WireClient.connect((acceptor.address() as AddressInfo).port)
  t.after(() => client.destroy())
  const [socket] = (await accepted) as [Socket]
  return [socket, client]
}

/** Two streams, each of which reads what is written to the other: `duplexPair` of Node 22. */
function duplexPair(): [Duplex, Duplex] {
  const sides: Duplex[] = []
  const newSide = (other: number): Duplex =>
    new Duplex({
      read() {},
      write(chunk, _encoding, callback) {
        sides[other]!.push(chunk)
        callback()
      },
      final(callback) {
        sides[other]!.push(null)
        callback()
      },
    })
  sides.push(newSide(1), newSide(0))
  return sides as [Duplex, Duplex]
}

/** What a server of another runtime has in common with one of Node; it counts how often it was closed. */
function foreignServer(close: (onClosed: () => void) => void): ShutdownServer & { closed: number } {
  const server = new EventEmitter() as ShutdownServer & { closed: number }
  const counted = (onClosed: () => void): void => {
    server.closed++
    close(onClosed)
  }
  return Object.assign(server, { closed: 0, close: counted as unknown as ShutdownServer['close'] })
}
