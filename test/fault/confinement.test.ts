// SPDX-License-Identifier: MIT

/**
 * The program under Node's permission model, with as few rights as it can do with, and under attack.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { temporaryFolder } from '../support/temporary.ts'
import { setTheScene } from './attack.ts'
import { ATTACKS } from './attacks.ts'
import { campaign } from './campaign.ts'
import { ConnectionAttack } from './connection-attack.ts'
import { besiege } from './connection-siege.ts'
import { Uploads } from './connection-uploads.ts'
import { send } from './process-client.ts'
import { compileLibrary, confinement, Subject } from './subject.ts'

const IDLE_TIMEOUT_MS = 700

campaign('a program that may reach its code and its directory, and nothing else, does all that it promises', { short: 64, long: 1600 }, async (rounds) => {
  const { t } = rounds
  const directory = temporaryFolder(t) // Node allows what is in a directory only if that is there when it starts
  const args = ['--idle-timeout', `${IDLE_TIMEOUT_MS}ms`, '--download', '--expires', '1h', '--sync', 'append']
  const server = await Subject.program(t, await compileLibrary(t), directory, args, { confined: true })
  await server.start()
  const { abilities } = await server.inspect()
  assert.deepEqual(abilities, { readAnything: false, writeAnything: false, startProcesses: false, makeCode: false, changePrototypes: false })
  const scene = await setTheScene(directory, new Uploads((message) => send(server.port, message)), IDLE_TIMEOUT_MS)
  await besiege(rounds, {
    fault: "connections, under Node's permission model", server, scene, faults: ATTACKS,
    begin: (random) => new ConnectionAttack(server.port, scene, random),
  })
})

test('a confined program that is to share its directory says why it cannot, and does not pretend', async (t) => {
  const directory = temporaryFolder(t)
  const dist = await compileLibrary(t)
  const args = [...confinement(dist, directory), join(dist, 'cli', 'main.js'), '--dir', directory, '--port', '0', '--lock', 'file']
  const { code, stderr } = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
    execFile(process.execPath, args, (error, _, stderr) => resolve({ code: error?.code, stderr }))
  })
  assert.equal(code, 2)
  assert.match(stderr, /^longhaul: --lock file cannot be used here: .*symbolic links.*permission.*\n$/)
})
