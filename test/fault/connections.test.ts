// SPDX-License-Identifier: MIT

/**
 * Clients that do everything wrong that a client can do with a connection, side by side, and partly with
 * the same uploads.
 *
 * @module
 */

import { fileURLToPath } from 'node:url'
import { temporaryFolder } from '../support/temporary.ts'
import { setTheScene } from './attack.ts'
import { ATTACKS } from './attacks.ts'
import { campaign } from './campaign.ts'
import { ConnectionAttack } from './connection-attack.ts'
import { besiege } from './connection-siege.ts'
import { Uploads } from './connection-uploads.ts'
import { Http2Attack } from './http2-attack.ts'
import { HTTP2_ATTACKS } from './http2-attacks.ts'
import { http2Courier } from './http2-client.ts'
import { send } from './process-client.ts'
import { compileLibrary, Subject } from './subject.ts'

/** Far longer than a busy machine keeps a client waiting that means to go on. */
const IDLE_TIMEOUT_MS = 1500
const HTTP2_SERVER = fileURLToPath(new URL('http2-server.mjs', import.meta.url))

campaign('whatever clients do with their connections, nothing is lost, mixed up or left behind', { short: 224, long: 6400 }, async (rounds) => {
  const { t } = rounds
  const directory = temporaryFolder(t)
  const server = await Subject.program(t, await compileLibrary(), directory, ['--idle-timeout', `${IDLE_TIMEOUT_MS}ms`, '--download'])
  await server.start()
  const uploads = new Uploads((message) => send(server.port, message))
  const scene = await setTheScene(directory, uploads, IDLE_TIMEOUT_MS)
  await besiege(rounds, {
    fault: 'connections of HTTP/1.1', server, scene, faults: ATTACKS,
    begin: (random) => new ConnectionAttack(server.port, scene, random),
  })
})

campaign('whatever clients do with sessions and streams of HTTP/2, nothing is lost, mixed up or left behind', { short: 132, long: 2200 }, async (rounds) => {
  const { t } = rounds
  const directory = temporaryFolder(t)
  const server = await Subject.script(t, HTTP2_SERVER, await compileLibrary(), directory, [String(IDLE_TIMEOUT_MS)])
  await server.start()
  const scene = await setTheScene(directory, new Uploads(http2Courier(server.port)), IDLE_TIMEOUT_MS)
  await besiege(rounds, {
    fault: 'sessions and streams of HTTP/2', server, scene, faults: HTTP2_ATTACKS,
    begin: (random) => new Http2Attack(server.port, scene, random),
  })
})
