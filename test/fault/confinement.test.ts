// SPDX-License-Identifier: MIT

/**
 * The program under Node's permission model, with as few rights as it can do with, and under attack.
 *
 * @module
 */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { ROOT } from '../support/examples.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { exchange, request } from '../support/wire.ts'
import { setTheScene } from './attack.ts'
import { ATTACKS } from './attacks.ts'
import { campaign } from './campaign.ts'
import { ConnectionAttack } from './connection-attack.ts'
import { besiege } from './connection-siege.ts'
import { Uploads } from './connection-uploads.ts'
import { send } from './process-client.ts'
import { compileLibrary, confinement, FLUSHES_CONFINED, Subject } from './subject.ts'

/** Far longer than a busy machine keeps a client waiting that means to go on. */
const IDLE_TIMEOUT_MS = 1500
const NODE = Number(process.versions.node.split('.')[0])

campaign('a program that may reach its code and its directory, and nothing else, does all that it promises', { short: 64, long: 1600 }, async (rounds) => {
  const { t } = rounds
  const directory = temporaryFolder(t) // Node allows what is in a directory only if that is there when it starts
  const args = ['--idle-timeout', `${IDLE_TIMEOUT_MS}ms`, '--download', '--expires', '1h', '--sync', 'append']
  const server = await Subject.program(t, await compileLibrary(), directory, args, { confined: true })
  await server.start()
  const { abilities } = await server.inspect()
  assert.deepEqual(abilities, {
    readAnything: false,
    writeAnything: false,
    startProcesses: false,
    makeCode: false,
    changePrototypes: false,
  })
  const scene = await setTheScene(directory, new Uploads((message) => send(server.port, message)), IDLE_TIMEOUT_MS)
  await besiege(rounds, {
    fault: "connections, under Node's permission model", server, scene, faults: ATTACKS,
    begin: (random) => new ConnectionAttack(server.port, scene, random),
  })
})

for (const [what, args, refusal] of [
  ['share its directory', ['--sync', 'none', '--lock', 'file'], /^longhaul: cannot use --lock file: .*symbolic links.*permission/],
  [
    'flush its files',
    ['--sync', 'finish', '--lock', 'memory'],
    FLUSHES_CONFINED ? undefined : /^longhaul: cannot use --sync finish: fsync .*disabled/,
  ],
] as const) {
  test(`a confined program that is to ${what} does, or says at once that it cannot`, async (t) => {
    const directory = temporaryFolder(t)
    const dist = await compileLibrary()
    const child = spawn(process.execPath, [
      ...confinement(dist, directory),
      join(dist, 'cli', 'main.js'),
      '--dir',
      directory,
      '--port',
      '0',
      ...args,
    ])
    t.after(() => child.kill('SIGKILL'))
    const ended = once(child, 'exit')
    const [line] = (await once(createInterface({ input: refusal ? child.stderr : child.stdout }), 'line')) as [string]
    assert.match(line, refusal ?? /^longhaul listening/)
    if (refusal) assert.deepEqual(await ended, [2, null])
  })
}

test('the command of SECURITY.md starts the program, with what it says of Node 20 and 26', async (t) => {
  const folder = dirname(await compileLibrary()) // laid out as the project is
  mkdirSync(join(folder, 'uploads'), { recursive: true })
  const [, block = ''] = /^```sh\n([^]*?)^```$/m.exec(readFileSync(join(ROOT, 'SECURITY.md'), 'utf8')) ?? []
  const [, , command = ''] = /^(npm ci && npm run build && mkdir -p uploads)\n(node [^]*)$/.exec(block) ?? []
  const flags = command.replaceAll('$PWD', folder).replaceAll('\\\n', ' ').trim().split(/\s+/).slice(1)
  const adapted = flags.map((flag) => (flag === '--permission' && NODE < 22 ? '--experimental-permission' : flag))
  const args = [...(NODE < 26 ? [] : ['--allow-net']), ...adapted, ...(FLUSHES_CONFINED ? [] : ['--sync', 'none'])]
  const child = spawn(process.execPath, [...args, '--port', '0', '--allowed-host', 'test'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const [line] = (await Promise.race([once(createInterface({ input: child.stdout }), 'line'), once(child, 'exit')])) as [string]
  assert.match(String(line), /^longhaul listening/)
  const page = await exchange(Number(/:(\d+)\//.exec(line)?.[1]), request('GET /'))
  assert.equal(page.status, 200)
})

test('a header called __proto__ gets its answer with __proto__ taken away as advised', async (t) => {
  const server = "require('node:http').createServer((_, res) => res.end()).listen(0, function () { console.log(`listening ${this.address().port}`) })"
  const child = spawn(process.execPath, ['--disable-proto=delete', '--eval', server], { stdio: ['ignore', 'pipe', 'ignore'] })
  t.after(() => child.kill('SIGKILL'))
  const [line] = await once(createInterface({ input: child.stdout }), 'line')
  const answer = await exchange(Number(/\d+/.exec(line)?.[0]), request('GET /', ['__proto__: x']))
  assert.equal(answer.status, 200) // with --disable-proto=throw it ends the server, in Node before 26.12
})
