// SPDX-License-Identifier: MIT

/**
 * WebSockets that are closed well when the server is stopped: each message is saved and acknowledged, or it is neither.
 *
 * Without it: `server.close()` waits for WebSockets for ever, `closeAllConnections()` does not see them, and whatever cuts them
 * leaves clients with 1006 and no idea of what was saved. `ShutdownGroup` waits for the sockets; `group.signal` has each one
 * closed with 1001, "going away", once what came is saved. A client sends again what was not acknowledged.
 */

import { appendFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { ShutdownGroup } from '../../dist/shutdown-group.js'

const GOING_AWAY = 1001
const INTERNAL_ERROR = 1011

const [, , port = '8080', path = 'messages'] = process.argv
const group = new ShutdownGroup()
const webSockets = new WebSocketServer({ noServer: true, maxPayload: 65_536 })

const server = createServer((req, res) => res.writeHead(426, { Upgrade: 'websocket' }).end())
server.on('upgrade', (req, socket, head) => webSockets.handleUpgrade(req, socket, head, serve))
group.add(server).listen()
server.listen(Number(port), '127.0.0.1', () => console.log('listens on', server.address()))

function serve(client) {
  let saved = Promise.resolve()
  const leave = () => void saved.then(() => client.close(GOING_AWAY, 'Come back'))
  client.on('error', () => {}) // 'close' follows
  client.on('close', () => group.signal.removeEventListener('abort', leave))
  client.on('message', (message) => {
    if (group.signal.aborted) return // it was on its way when it was to stop: as it is not acknowledged, it comes again
    saved = group.run(saved.then(() => save(client, message)))
  })
  group.signal.addEventListener('abort', leave)
  if (group.signal.aborted) leave()
}

async function save(client, message) {
  try {
    await appendFile(path, `${JSON.stringify(String(message))}\n`)
    client.send('saved')
  } catch (error) {
    console.log(`${error}`)
    client.close(INTERNAL_ERROR)
  }
}
